"""Subnets and links as test data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.dhcp.model import OWN, Reservation, Subnet, by_address
from corral.dhcp.plan import Current
from corral.dhcp.render import configuration, parse
from corral.link.model import Device, Held, Host, Link
from corral.link.route import HeldRoute


def desired(name: str, data: Mapping[str, Any]) -> Subnet:
    return Subnet.declare({"name": name, **data}, f"dhcp.{name}")


def served(subnet: Subnet, *, without: str = "", running: bool | str = True, **reserved: Any) -> Current:
    """Return what is read of a subnet that is served as declared.

    without
        A word: lines that hold it are missing from the configuration.
    reserved
        Reservations of others, by owner.
    """
    lines = [line for line in configuration(subnet).splitlines() if not without or without not in line]
    parsed = parse(subnet.name, "\n".join(lines))
    others = {who: tuple(map(Reservation.declare, mine)) for who, mine in reserved.items()}
    own = {OWN: by_address(subnet.reservations)} if subnet.reservations else {}
    return Current(parsed.fields, parsed.lines, parsed.strays, {**own, **others}, running)


def current(name: str, data: Mapping[str, Any] | None) -> Current:
    """Return what a case calls ``current``: the keys of a declaration, beside those of :func:`served`."""
    if data is None:
        return Current()
    aside = {key: data[key] for key in ("without", "running") if key in data}
    keys = {key: value for key, value in data.items() if key not in (*aside, "reserved")}
    return served(desired(name, keys), **aside, **data.get("reserved", {}))


def devices(data: Mapping[str, Any]) -> dict[str, Device]:
    """Return the devices of a case; an address in angle brackets is one of somebody else."""
    return {
        name: Device(
            mtu=device.get("mtu", 1500),
            addresses=tuple(
                Held(one.strip("<>"), not one.startswith("<")) for one in device.get("addresses", ())
            ),
            up=device.get("up", True),
            routes=tuple(HeldRoute(**one) for one in device.get("routes", ())),
            orphan=device.get("orphan", False),
        )
        for name, device in data.items()
    }


def host(data: Mapping[str, Any], namespaces: Mapping[str, Any]) -> Host:
    """Return the devices of a case, and those of its namespaces, where the loopback is up unless said."""
    inside = {name: {"lo": Device(up=True), **devices(one)} for name, one in namespaces.items()}
    return Host({None: devices(data), **inside})


def link(data: Mapping[str, Any]) -> Link:
    return Link.declare(data, f"links.{data['name']}")

"""A pool as it is on this host, found by what its guests' definitions say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.change import changes
from corral.dhcp import wire as dhcp
from corral.errors import Refused
from corral.guest.host import Found, Host
from corral.guest.wire import Libvirt
from corral.pool.layout import lay_out, macs_of, members
from corral.pool.model import Desired
from corral.pool.plan import plan
from corral.pool.signs import leased
from corral.pool.wire import Declared


def show(name: str) -> dict[str, Any]:
    """Return a pool's guests by name: index, address, state and definition.

    Raises ``Refused`` when no guest of this host is of the pool.
    """
    with Libvirt() as libvirt:
        host = libvirt.read()
    addresses = known_addresses()
    guests = {found.name: _guest(found, index, addresses) for index, found in _members(host, name).items()}
    running = sum(guest["state"] == "running" for guest in guests.values())
    return {"replicas": len(guests), "running": running, "guests": guests}


def _members(host: Host, name: str) -> dict[int, Found]:
    there = members(host, name)
    if not there:
        marks = (found.mark or {} for found in host.guests.values())
        pools = sorted({str(mark["pool"]) for mark in marks if mark.get("pool")})
        known = f" (pools with guests: {', '.join(pools)})" if pools else ""
        raise Refused(f"There is no guest of a pool {name} on this host{known}.")
    return there


def _guest(found: Found, index: int, addresses: Mapping[str, str]) -> dict[str, Any]:
    fields = {key: value for key, value in found.fields.items() if key not in ("name", "corral")}
    return {"index": index, "state": found.state, **_whereabouts(macs_of(found), addresses), **fields}


def _whereabouts(macs: tuple[str, ...], addresses: Mapping[str, str]) -> dict[str, Any]:
    """Return the MAC address and the address that a guest is reached at."""
    mac = next((mac for mac in macs if mac in addresses), macs[0] if macs else None)
    return {"mac": mac, "address": addresses.get(mac or "")}


def known_addresses() -> dict[str, str]:
    """Return the addresses by MAC address that this host's DHCP servers have leased or, else, reserved."""
    reserved: dict[str, str] = {}
    there: dict[str, str] = {}
    for subnet in dhcp.subnets():
        there.update(leased(dhcp.leases(subnet)))
        for reservations in dhcp.all_reservations(subnet).values():
            reserved.update((one.mac, one.address) for one in reservations)
    return {**reserved, **there}  # a guest keeps the lease that it has, whatever is reserved since


def planned(desired: Desired) -> dict[str, Any]:
    """Return the changes that a run of a declared pool would make."""
    with Declared(desired) as wire:
        return changes(plan(wire.read(), desired))


def identity(desired: Desired) -> dict[str, dict[str, Any]]:
    """Return who the guests of a declared pool are or would be, by name."""
    with Declared(desired) as wire:
        current = wire.read()
    layout = lay_out(current.host, current.taken, desired)
    known: dict[str, dict[str, Any]] = {}
    for index, guest in layout.guests.items():
        reserved = {one.mac: one.address for _, one in layout.reservations[index]}
        macs = tuple(nic.mac for nic in guest.nics)
        exists = guest.name in current.host.guests
        known[guest.name] = {
            "index": index,
            "uuid": guest.uuid,
            **_whereabouts(macs, reserved),
            "macs": list(macs),
            "exists": exists,
        }
    return known


def found_identity(name: str) -> dict[str, dict[str, Any]]:
    """Return who the existing guests of a pool are, by name."""
    guests = show(name)["guests"]
    keys = ("index", "uuid", "mac", "address")
    return {
        one: {
            **{key: guest[key] for key in keys},
            "macs": [nic["mac"] for nic in guest.get("nics", ())],
            "exists": True,
        }
        for one, guest in guests.items()
    }

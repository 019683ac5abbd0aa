"""A subnet as text for dnsmasq, and back."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from corral.dhcp import paths
from corral.dhcp.model import Reservation, Subnet, by_address, option_name
from corral.errors import Invalid

HEAD = "# Written by Corral; changes made here are undone."
PING, NO_PING = "# ping_check", "no-ping"  # dnsmasq has a word for one of them only
NAMESPACE = "# namespace "  # it is entered before dnsmasq is started
BARE_VALUE = re.compile(r"[A-Za-z0-9./:_@+-]+")  # anything else needs quotes


@dataclass(frozen=True)
class Parsed:
    """What a configuration says: its fields, all its lines, and the lines that say no field."""

    fields: dict[str, Any]
    lines: tuple[str, ...]
    strays: tuple[str, ...]


def configuration(subnet: Subnet) -> str:
    """Return the whole ``dnsmasq.conf`` of a subnet; its reservations are in files of their own."""
    return "\n".join([*fixed_lines(subnet), *_field_lines(subnet), ""])


def fixed_lines(subnet: Subnet) -> tuple[str, ...]:
    """Return the lines that follow from no declared field but the name and the network."""
    return (
        HEAD,
        "except-interface=lo",
        "bind-interfaces",  # beside other servers on other devices; a device that is gone is an error
        "dhcp-authoritative",  # a guest that asks for an address of another life is told no at once
        "dhcp-ignore-clid",  # clones share a client id: the MAC alone says who it is
        "dhcp-ignore-names",  # clones share a host name: only reservations give names
        "no-hosts",
        # Every lease has an address of the network: dnsmasq's own limit of 1000 is not one of ours.
        f"dhcp-lease-max={subnet.prefix.num_addresses - 2}",
        f"dhcp-leasefile={paths.leases(subnet.name)}",
        # Not dhcp-hostsdir: that one would add what is new at once, and keep what is gone until SIGHUP.
        f"dhcp-hostsfile={paths.hosts(subnet.name)}",
        f"pid-file={paths.pid(subnet.name)}",
    )


def _field_lines(subnet: Subnet) -> list[str]:
    network = subnet.prefix
    ends = subnet.range.replace("-", ",") if subnet.range else f"{network.network_address},static"
    lines = [
        f"interface={subnet.interface}",
        f"dhcp-range={ends},{network.netmask},{network.broadcast_address},{subnet.lease_time}",
        # dnsmasq announces itself as router unless told otherwise: an empty option says "none".
        "dhcp-option=option:router" + (f",{subnet.router}" if subnet.router else ""),
        f"port={53 if subnet.dns else 0}",
    ]
    if subnet.namespace:
        lines.append(f"{NAMESPACE}{subnet.namespace}")
    if subnet.mtu:
        # Few clients ask for it, and none of them knows better.
        lines.append(f"dhcp-option-force=option:mtu,{subnet.mtu}")
    if subnet.domain:
        lines.append(f"domain={subnet.domain}")
    if subnet.dns_servers:
        lines.append(f"dhcp-option=option:dns-server,{','.join(subnet.dns_servers)}")
    lines.append(PING if subnet.ping_check else NO_PING)
    for name, values in sorted(subnet.options.items()):
        said = name if name.isdigit() else f"option:{name}"
        lines.append(f"dhcp-option={said},{','.join(map(_quoted, values))}")
    return lines


def _quoted(value: str) -> str:
    return value if BARE_VALUE.fullmatch(value) else f'"{value}"'


def parse(name: str, text: str) -> Parsed:
    """Read the configuration of the subnet ``name`` back."""
    fields: dict[str, Any] = {"name": name}
    lines = text.splitlines()
    return Parsed(fields, tuple(lines), tuple(line for line in lines if not _take(fields, line)))


def _take(fields: dict[str, Any], line: str) -> bool:
    """Add what a line says to the fields; False if it says no field, or one that was said before."""
    key, _, value = line.partition("=")
    if line.startswith(NAMESPACE):
        key, value = NAMESPACE, line.removeprefix(NAMESPACE)
    found = _READERS[key](value) if key in _READERS else {}
    if "options" in found:
        before = fields.get("options", {})
        found = {} if found["options"].keys() & before else {"options": {**before, **found["options"]}}
    elif found.keys() & fields.keys():
        found = {}
    fields.update(found)
    return bool(found)


def _range(value: str) -> dict[str, Any]:
    *ends, mask, broadcast, lease = (value.split(",") + [""] * 5)[:5] if value.count(",") == 4 else [""] * 5
    try:
        network = ipaddress.IPv4Network((ends[0], mask), strict=False)
    except ValueError:
        return {}
    found: dict[str, Any] = {"network": str(network)}
    if ends[1] != "static":
        found["range"] = "-".join(ends)
    ours = broadcast == str(network.broadcast_address) and lease.isdecimal()
    return {**found, "lease_time": int(lease)} if ours else {}


def _option(value: str) -> dict[str, Any]:
    said, _, rest = value.partition(",")
    name = said.removeprefix("option:")
    if name == "router":
        return {"router": rest or None}
    if name == "dns-server":
        return {"dns_servers": rest.split(",")}
    try:
        name = option_name(name)
    except ValueError:
        return {}
    if not rest:
        return {}
    return {"options": {name: [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^,"]+)', rest)]}}


def _forced(value: str) -> dict[str, Any]:
    said, _, rest = value.partition(",")
    return {"mtu": int(rest)} if said == "option:mtu" and rest.isdecimal() else {}


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    PING: lambda _: {"ping_check": True},
    NO_PING: lambda _: {"ping_check": False},
    NAMESPACE: lambda value: {"namespace": value},
    "interface": lambda value: {"interface": value},
    "port": lambda value: {"dns": value == "53"} if value in ("0", "53") else {},
    "domain": lambda value: {"domain": value},
    "dhcp-range": _range,
    "dhcp-option": _option,
    "dhcp-option-force": _forced,
}


def hosts(reservations: Iterable[Reservation]) -> str:
    """Return the text of a ``dhcp-hostsfile``."""
    lines = (",".join(filter(None, (one.mac, one.address, one.name))) for one in by_address(reservations))
    return "".join(f"{line}\n" for line in (HEAD, *lines))


def parse_hosts(text: str) -> tuple[tuple[Reservation, ...], tuple[str, ...]]:
    """Return the reservations of a ``dhcp-hostsfile`` and the lines that are none of ours."""
    found: dict[str, Reservation] = {}
    strange = []
    for line in text.splitlines():
        mac, _, rest = line.partition(",")
        address, _, label = rest.partition(",")
        try:
            one = Reservation.declare({"mac": mac, "address": address, "name": label or None})
        except Invalid:
            strange += [line] if line != HEAD else []
            continue
        if found.setdefault(one.mac, one) is not one:
            strange.append(line)
    return by_address(found.values()), tuple(strange)

"""The DHCP servers of this host: Corral's subnets, served or not, and whoever else listens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from corral.dhcp import leases
from corral.dhcp import wire as dhcp
from corral.dhcp.model import OWN
from corral.dhcp.plan import Current
from corral.dhcp.status import bound_devices
from corral.diagnose.facts import Addresses
from corral.diagnose.places import inside
from corral.errors import NotInstalled, Unavailable
from corral.kinds import range_ends


@dataclass(frozen=True)
class Found:
    """A server, or what is to be one.

    device
        Its name; empty for a server that is bound to none.
    """

    namespace: str
    device: str
    process: str = ""
    subnet: str | None = None
    running: bool | str = True
    current: Current = field(default_factory=Current)


def servers(namespaces: Iterable[str]) -> list[Found]:
    """Return the servers in these network namespaces, Corral's first."""
    ours = [_ours(name) for name in dhcp.subnets()]
    places = {(one.namespace, one.device) for one in ours}
    return ours + [
        one for place in namespaces for one in _listening(place) if (place, one.device) not in places
    ]


def _ours(name: str) -> Found:
    current = dhcp.look(name)
    fields = current.fields or {}
    return Found(
        fields.get("namespace") or "", fields.get("interface", ""), "dnsmasq", name, current.running, current
    )


def _listening(namespace: str) -> list[Found]:
    try:
        status, text = inside(namespace, lambda: dhcp.run(["ss", "-Hulnp", "sport", "=", ":67"]))
    except NotInstalled:
        return []
    if status:
        raise Unavailable(f"The DHCP servers of this host cannot be listed: ss: {text}")
    return [Found(namespace, device, _process(pid)) for pid, device in bound_devices(text).items()]


def _process(pid: int) -> str:
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text().strip()} (process {pid})"
    except OSError:
        return f"process {pid}"


def expects(found: Found, mac: str) -> bool:
    """Whether a subnet has a reservation, or a lease, for a guest."""
    return found.subnet is not None and _own(found, mac) is not None


def _own(found: Found, mac: str) -> str | None:
    reserved = (one for ones in found.current.reservations.values() for one in ones)
    known = {one.mac: one.address for one in reserved}
    leased = {lease.mac: lease.address for lease in _leases(found)}
    return known.get(mac) or leased.get(mac)


def _leases(found: Found) -> list[leases.Lease]:
    now = time.time()
    ours = leases.leases(found.subnet or "")
    return [lease for lease in ours if not 0 < lease.expires < now]


def addresses(found: Found, mac: str) -> Addresses | None:
    """Return what a subnet of Corral's has left for a guest; None for somebody else's server."""
    fields = found.current.fields
    if found.subnet is None or not fields:
        return None
    span = fields.get("range")
    first, last = range_ends(span)[1:] if span else (0, -1)
    reserved = {one.address for ones in found.current.reservations.values() for one in ones}
    held = {int(IPv4Address(one)) for one in reserved | {lease.address for lease in _leases(found)}}
    total = last - first + 1
    free = total - sum(first <= one <= last for one in held)
    return Addresses(_own(found, mac), free, total, wider(fields, held) if free <= 0 else None)


def wider(fields: Mapping[str, Any], held: set[int]) -> str | None:
    """Return a range with more addresses: up to the network's end, or else from its beginning.

    The router stays outside, since a guest could be given its address.
    """
    network = IPv4Network(fields["network"])
    low, high = int(network.network_address) + 1, int(network.broadcast_address) - 1
    routers = {int(IPv4Address(fields["router"]))} if fields.get("router") else set()
    if not fields.get("range"):
        low = max({low, *(one + 1 for one in routers | held if low <= one <= high)})
        return _span(low, high) if low <= high else None
    _, first, last = range_ends(fields["range"])
    end = min([high, *(one - 1 for one in routers if one > last)])
    start = max([low, *(one + 1 for one in routers if one < first)])
    if end > last:
        return _span(first, end)
    return _span(start, last) if start < first else None


def _span(first: int, last: int) -> str:
    return f"{IPv4Address(first)}-{IPv4Address(last)}"


def declaration(found: Found) -> dict[str, Any]:
    """Return a subnet's configuration in the words of its state."""
    own = [one.model_dump(exclude_none=True) for one in found.current.reservations.get(OWN, ())]
    fields = {key: value for key, value in (found.current.fields or {}).items() if key != "name"}
    return {**fields, **({"reservations": own} if own else {})}

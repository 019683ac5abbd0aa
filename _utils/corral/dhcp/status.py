"""What dnsmasq writes while it runs, as values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from typing import Any

from corral.dhcp.model import Reservation, by_address

NOT_READ = "(not read by dnsmasq yet)"


@dataclass(frozen=True)
class Lease:
    """One line of dnsmasq's lease file.

    expires
        Seconds since the epoch; 0 is never.
    name
        The name of the reservation; ``None`` when there is none.
    client_id
        The client identifier (RFC 2132, option 61) that the guest sent; ``None`` when it is not looked at.
    """

    expires: int
    mac: str
    address: str
    name: str | None
    client_id: str | None

    def shown(self) -> dict[str, Any]:
        return asdict(self)


def parse_leases(text: str) -> tuple[Lease, ...]:
    """Return the IPv4 leases of a lease file, by address; a line that is cut off is not taken for a lease."""
    found = []
    for line in text[: text.rfind("\n") + 1].splitlines():
        with contextlib.suppress(ValueError):  # of IPv6, or no lease at all
            expires, mac, address, name, client = line.split()
            # A MAC of another hardware type than Ethernet is written with the type before it: 06-aa:bb:…
            where = str(IPv4Address(address))
            found.append(Lease(int(expires), mac.lower(), where, _said(name), _said(client)))
    return tuple(sorted(found, key=lambda lease: int(IPv4Address(lease.address))))


def _said(word: str) -> str | None:
    return None if word == "*" else word


def settled(written: Iterable[Reservation], read: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """Return what may be taken as reserved while dnsmasq has read other reservations than are written.

    A MAC about which the two disagree appears under the name ``NOT_READ``, which nothing declared can
    equal: whatever is declared for it, there is something left to do.
    """
    on_disk = {one.mac: one for one in written}
    served = {one.mac: one for one in read}
    agreed = [one for mac, one in on_disk.items() if served.get(mac) == one]
    # What dnsmasq has of it goes first: that is what a guest would be given now.
    doubtful = {mac: one for mac, one in {**on_disk, **served}.items() if on_disk.get(mac) != served.get(mac)}
    return by_address([*agreed, *(one.model_copy(update={"name": NOT_READ}) for one in doubtful.values())])


def bound_devices(text: str) -> dict[int, str]:
    """Return by process id the device that its DHCP socket is bound to, from the output of ``ss -Hulnp``.

    A device that is gone appears as ``if`` and its number. A socket that is bound to none is ``""``.
    """
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 5 and "pid=" in words[5]:
            address, _, _ = words[3].rpartition(":")
            process = words[5].partition("pid=")[2].partition(",")[0]
            found[int(process)] = address.partition("%")[2]
    return found

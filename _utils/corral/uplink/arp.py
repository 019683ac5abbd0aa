"""Telling the neighbours who has an address, without being asked (RFC 5227, section 2.3)."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable

ARP, ETHERNET, IPV4, REQUEST = 0x0806, 1, 0x0800, 1
EVERYBODY = b"\xff" * 6
BODY = struct.Struct("!HHBBH6s4s6s4s")


def announce(device: str, addresses: Iterable[str]) -> None:
    """Announce IPv4 addresses of a device: who has another MAC address in mind for one learns this one.

    Nobody depends on it, since what is in mind goes stale in a minute or so: a device that does not take the
    frame is no failure.
    """
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ARP)) as told,
    ):
        told.bind((device, ARP))
        mac = told.getsockname()[4]
        for address in map(socket.inet_aton, addresses):
            body = BODY.pack(ETHERNET, IPV4, 6, 4, REQUEST, mac, address, bytes(6), address)
            told.sendto(body, (device, ARP, 0, 0, EVERYBODY))

"""Whether somebody answers this host: by ICMP, ARP and TCP, of its own sockets alone."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ONCE = 1.0  # seconds that one question may take
ROUNDS = 3  # in a row that all must answer: for a moment the old way may still be open
PAUSE = 0.3  # seconds between rounds
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ECHO = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (socket.IPPROTO_ICMPV6, 128, 129)}  # protocol, request, reply
ARP = 0x0806
ARP_BODY = struct.Struct("!HHBBH6s4s6s4s")
ETHERNET, IPV4 = 1, 0x0800
REQUEST, REPLY = 1, 2
RTF_UP, RTF_GATEWAY = 0x1, 0x2
ROUTES, ROUTES6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")


@dataclass(frozen=True)
class Target:
    """One that is to answer.

    how
        ``ping``, ``arp`` or ``tcp``.
    address
        Its address; a link-local one with its device, ``fe80::1%eth0``.
    port
        For ``tcp``.
    word
        What it was declared by, if not by its address: ``gateway`` or ``salt_master``. A gateway's address is
        the one before the change; another one may have been declared, and is to answer then.
    """

    how: str
    address: str
    port: int = 0
    word: str = ""

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address and self.port else self.address
        where = f"{address}:{self.port}" if self.port else address
        return f"{self.word or self.how} {where}"

    def answers(self, seconds: float = ONCE) -> bool:
        """Ask it once; that nothing can be sent, as where there is no way, is no answer and no error."""
        if self.word != "gateway":
            return self._answers(self.how, seconds)
        routers = [replace(self, address=way.address) for way in preferred(self.version)]
        return any(
            router._answers(how, seconds)
            for router in routers
            for how in ((self.how,) if router.address == self.address else ("ping", "arp"))
        )

    def _answers(self, how: str, seconds: float) -> bool:
        with contextlib.suppress(OSError):
            return not self.is_this_host() and ASK[how](self, seconds)
        return False

    @property
    def version(self) -> int:
        """The version of IP."""
        return 6 if ":" in self.address else 4

    def is_this_host(self) -> bool:
        """Whether the address is this host's own, by mistake perhaps: it answers itself then."""
        return self.source() == self.address.partition("%")[0]

    def source(self) -> str:
        """Return the address of this host from which it would speak to this one."""
        family = FAMILY[self.version]
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect(_place(self, 9))
            return str(asked.getsockname()[0]).partition("%")[0]


def unanswered(
    targets: tuple[Target, ...], left: Callable[[], float], over: Callable[[], bool]
) -> tuple[Target, ...]:
    """Ask until all have answered some times in a row; return who has not when the time is up.

    left
        Returns the seconds that are left.
    over
        Returns whether nobody waits for the answers any more.
    """
    rounds = 0
    while True:
        silent = tuple(one for one in targets if not one.answers(min(ONCE, max(left(), 0.1))))
        rounds = 0 if silent else rounds + 1
        if rounds == ROUNDS or left() <= 0 or over():
            return silent
        time.sleep(PAUSE)


@dataclass(frozen=True)
class Way:
    """A default route that leads to a router."""

    address: str
    device: str
    metric: int


def gateways() -> dict[str, Way]:
    """Return the routers that default routes of this host lead to, by address."""
    ways = [*_ways4(), *_ways6()]
    return {way.address: way for way in sorted(ways, key=lambda way: way.metric, reverse=True)}


def preferred(version: int) -> list[Way]:
    """Return the ways by which this host sends what is for elsewhere: those with the least metric."""
    ways = list(_ways4() if version == 4 else _ways6())
    least = min((way.metric for way in ways), default=0)
    return [way for way in ways if way.metric == least]


def _ways4() -> Iterator[Way]:
    for line in _lines(ROUTES)[1:]:
        device, destination, gateway, flags, _, _, metric, mask, *_ = line.split()
        if {destination, mask} == {"00000000"} and int(flags, 16) & RTF_GATEWAY:
            address = str(ipaddress.IPv4Address(struct.pack("=I", int(gateway, 16))))
            yield Way(address, device, int(metric))


def _ways6() -> Iterator[Way]:
    for line in _lines(ROUTES6):
        destination, length, _, _, gateway, metric, _, _, flags, device = line.split()
        default = length == "00" and int(destination, 16) == 0
        if default and int(flags, 16) & RTF_GATEWAY and int(flags, 16) & RTF_UP:
            address = ipaddress.IPv6Address(int(gateway, 16))
            scope = f"%{device}" if address.is_link_local else ""
            yield Way(f"{address}{scope}", device, int(metric, 16))


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []


def _ping(target: Target, seconds: float) -> bool:
    """Send an ICMP echo request and wait for its reply (RFC 792, RFC 4443)."""
    version = target.version
    protocol, request, reply = ECHO[version]
    ours = struct.pack("!HH", os.getpid() & 0xFFFF, 1) + os.urandom(16)
    body = struct.pack("!BBH", request, 0, 0) + ours
    if version == 4:
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    with socket.socket(FAMILY[version], socket.SOCK_RAW, protocol) as asked:
        asked.connect(_place(target, 0))
        asked.send(body)
        return _heard(asked, seconds, lambda data: _is_reply(data, version, reply, ours))


def _is_reply(data: bytes, version: int, reply: int, ours: bytes) -> bool:
    start = (data[0] & 0xF) * 4 if version == 4 else 0  # only IPv4 gives its header, too
    return data[start : start + 1] == bytes([reply]) and data[start + 4 :] == ours


def checksum(data: bytes) -> int:
    """Return the Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _arp(target: Target, seconds: float) -> bool:
    """Ask a router for its MAC address, past what the kernel remembers of it (RFC 826)."""
    if target.version != 4:
        return False
    device, source = gateways()[target.address].device, target.source()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ARP)) as asked:
        asked.bind((device, ARP))
        mac = asked.getsockname()[4]
        here, there = socket.inet_aton(source), socket.inet_aton(target.address)
        body = ARP_BODY.pack(ETHERNET, IPV4, 6, 4, REQUEST, mac, here, bytes(6), there)
        asked.sendto(body, (device, ARP, 0, 0, b"\xff" * 6))
        return _heard(asked, seconds, lambda data: _is_arp_reply(data, there, here))


def _is_arp_reply(data: bytes, there: bytes, here: bytes) -> bool:
    if len(data) < ARP_BODY.size:
        return False
    _, _, _, _, kind, _, sender, _, asker = ARP_BODY.unpack_from(data)
    return bool((kind, sender, asker) == (REPLY, there, here))


def _tcp(target: Target, seconds: float) -> bool:
    with socket.create_connection((target.address, target.port), seconds):
        return True


ASK = {"ping": _ping, "arp": _arp, "tcp": _tcp}


def _heard(asked: socket.socket, seconds: float, is_reply: Callable[[bytes], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        asked.settimeout(left)
        if is_reply(asked.recv(2048)):
            return True
    return False


def _place(target: Target, port: int) -> Any:
    """Return where a socket is to be connected to, which for a link-local address has the device in it."""
    found = socket.getaddrinfo(target.address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    return found[0][4]

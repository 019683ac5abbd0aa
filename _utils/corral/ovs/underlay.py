"""The network that tunnels run over: routes, neighbours and devices by ip(8), and a bounded ICMP echo."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corral.errors import Unavailable
from corral.ovs.ask import run

Facts = dict[str, Any]
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # ip(7); not in every Python's socket
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE = 23, 3
ECHO = {4: (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0), 6: (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129)}
HEADS = {4: 20 + 8, 6: 40 + 8}  # bytes of the IP and the ICMP header
SMALL = 16  # bytes of payload


def routes(remotes: Iterable[str], timeout: float) -> dict[str, Facts]:
    """Return the way to each address that there is one to: device, gateway, source, MTU, up, carrier."""
    wanted = sorted(remotes)
    if not wanted:
        return {}
    links = {link["ifname"]: link for link in _read(run(timeout, "ip", "-json", "link", "show"))}
    lines = "".join(f"route get {remote}\n" for remote in wanted)
    # One that has no route fails, and the next ones are looked up all the same.
    answers = run(timeout, "ip", "-json", "-force", "-batch", "-", stdin=lines, lenient=True)
    by_address = {ipaddress.ip_address(remote): remote for remote in wanted}
    found = {}
    for route in _read(answers):
        link = links.get(route.get("dev", ""), {})
        metrics = (route.get("metrics") or [{}])[0]
        found[by_address[ipaddress.ip_address(route["dst"])]] = {
            "device": route.get("dev"),
            "gateway": route.get("gateway"),
            "source": route.get("prefsrc"),
            "mtu": metrics.get("mtu", link.get("mtu")),
            "up": "UP" in link["flags"] if link else None,
            "carrier": "NO-CARRIER" not in link["flags"] if link else None,
        }
    return found


def neighbours(ways: Mapping[str, Facts], timeout: float) -> dict[str, Facts]:
    """Return what the kernel knows of the next hop on each way, by the address at its end."""
    if not ways:
        return {}
    listed = _read(run(timeout, "ip", "-json", "neigh", "show"))
    known = {(one["dev"], one["dst"]): one for one in listed if "dev" in one}
    found = {}
    for remote, way in ways.items():
        hop = way["gateway"] or remote
        entry = known.get((way["device"], hop))
        if entry:
            state = " ".join(entry.get("state", ()))
            found[remote] = {"address": hop, "mac": entry.get("lladdr"), "state": state}
    return found


def _read(text: str) -> list[Facts]:
    """Return the objects of the JSON lists that follow each other in a text."""
    found: list[Facts] = []
    text = text.strip()
    while text:
        try:
            part, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            raise Unavailable(f"ip has said something that is not JSON: {text.splitlines()[0]}") from None
        found += part
        text = text[end:].lstrip()
    return [one for one in found if one]


def echoes(ways: Mapping[str, Facts], seconds: float) -> dict[str, Facts]:
    """Ask each address for an ICMP echo, of few bytes and of the way's MTU unfragmented, all at once.

    seconds
        After how long no answer is none; a question is asked three times within it.
    """
    pending: dict[tuple[int, int], tuple[str, bool, bytes]] = {}
    found = {remote: {"answers": False, "full_size": False, "milliseconds": None} for remote in ways}
    with contextlib.ExitStack() as stack:
        versions = {_version(one) for one in ways}
        sockets = {version: stack.enter_context(_socket(version)) for version in versions}
        number = int.from_bytes(os.urandom(2), "big")
        for sequence, (remote, full, size) in enumerate(_questions(ways)):
            pending[_version(remote), sequence] = (remote, full, bytes(size))
        _converse(sockets, pending, found, number, seconds)
    return found


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version


def _questions(ways: Mapping[str, Facts]) -> Iterator[tuple[str, bool, int]]:
    for remote, way in ways.items():
        yield remote, False, SMALL
        if way["mtu"]:
            yield remote, True, max(way["mtu"] - HEADS[_version(remote)], SMALL)


def _socket(version: int) -> socket.socket:
    family, protocol, _, _ = ECHO[version]
    one = socket.socket(family, socket.SOCK_RAW, protocol)
    if version == 4:
        one.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    else:
        one.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
    one.setblocking(False)
    return one


def _converse(
    sockets: Mapping[int, socket.socket],
    pending: dict[tuple[int, int], tuple[str, bool, bytes]],
    found: dict[str, Facts],
    number: int,
    seconds: float,
) -> None:
    start = time.monotonic()
    for attempt in (1, 2, 3):
        asked = time.monotonic()
        for (version, sequence), (remote, _, payload) in pending.items():
            packet = _request(version, number, sequence, payload)
            with contextlib.suppress(OSError):  # no way there: as good as no answer
                sockets[version].sendto(packet, (remote, 0))
        while pending and (left := start + attempt * seconds / 3 - time.monotonic()) > 0:
            ready, _, _ = select.select(list(sockets.values()), [], [], left)
            for version, one in sockets.items():
                if one in ready and (key := _reply(version, one, number)) in pending:
                    remote, full, _ = pending.pop(key)
                    found[remote]["full_size" if full else "answers"] = True
                    if not full:
                        found[remote]["milliseconds"] = round((time.monotonic() - asked) * 1000, 3)


def _request(version: int, number: int, sequence: int, payload: bytes) -> bytes:
    kind = ECHO[version][2]
    packet = struct.pack("!BBHHH", kind, 0, 0, number, sequence) + payload
    if version == 6:
        return packet  # the kernel fills in its checksum (RFC 3542, 3.1)
    padded = packet + bytes(len(packet) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:2] + struct.pack("!H", ~total & 0xFFFF) + packet[4:]


def _reply(version: int, one: socket.socket, number: int) -> tuple[int, int]:
    """Return which question an answer is to; one that is none of ours has no such number."""
    with contextlib.suppress(OSError, struct.error):
        packet = one.recv(65536)
        if version == 4:
            packet = packet[(packet[0] & 0xF) * 4 :]
        kind, _, _, theirs, sequence = struct.unpack_from("!BBHHH", packet)
        if (kind, theirs) == (ECHO[version][3], number):
            return version, sequence
    return version, -1

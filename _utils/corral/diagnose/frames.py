"""DHCP on the wire: the frame of a DHCPDISCOVER, and what a captured frame says (RFC 2131); pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

KINDS = {1: "DISCOVER", 2: "OFFER", 3: "REQUEST", 4: "DECLINE", 5: "ACK", 6: "NAK", 7: "RELEASE", 8: "INFORM"}
ASKED = ("DISCOVER", "REQUEST")
ANSWERED = ("OFFER", "ACK")
COOKIE = bytes((99, 130, 83, 99))
BROADCAST = "ff:ff:ff:ff:ff:ff"
SERVER, CLIENT = 67, 68  # UDP ports
ETHERNET, UDP = 0x0800, 17
TAGS = (0x8100, 0x88A8)
_BOOTP = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")


@dataclass(frozen=True)
class Seen:
    """One DHCP message.

    mac
        The guest that it is from, or for.
    number
        The transaction (``xid``) that the guest has chosen.
    address
        What the guest is given; None in what it asks.
    server
        Who gives it, as far as it says so.
    intact
        Whether the UDP checksum fits; one that is 0 was left out on purpose (RFC 768).
    """

    kind: str
    mac: str
    number: int
    address: str | None = None
    server: str | None = None
    intact: bool = True


def discover(mac: str, number: int) -> bytes:
    """Return the frame of a DHCPDISCOVER of a guest (RFC 2131, 4.4.1)."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    nobody = bytes(4)
    head = _BOOTP.pack(1, 1, 6, 0, number, 0, 0, *[nobody] * 4, hardware, b"", b"", COOKIE)
    wanted = bytes((55, 3, 1, 3, 6))  # parameters: mask, router, name servers
    payload = (head + bytes((53, 1, 1)) + wanted + b"\xff").ljust(300, b"\0")
    datagram = struct.pack("!HHHH", CLIENT, SERVER, 8 + len(payload), 0) + payload
    return bytes.fromhex("ff" * 6) + hardware + struct.pack("!H", ETHERNET) + _packet(datagram)


def _packet(datagram: bytes) -> bytes:
    """Return an IPv4 packet from nobody to everybody, with the checksum of its header (RFC 791)."""
    size = 20 + len(datagram)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, UDP, 0, bytes(4), b"\xff" * 4)
    return head[:10] + struct.pack("!H", ~_sum(head) & 0xFFFF) + head[12:] + datagram


def _sum(words: bytes) -> int:
    """Return the ones' complement sum of 16-bit words (RFC 1071)."""
    padded = words + bytes(len(words) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return (total & 0xFFFF) + (total >> 16)


def parse(frame: bytes) -> Seen | None:
    """Return the DHCP message in a frame, tagged or not; None if it is something else, or cut off."""
    try:
        datagram, intact = _datagram(frame)
        return replace(_message(datagram[8:]), intact=intact)
    except (struct.error, IndexError, ValueError):
        return None


def _datagram(frame: bytes) -> tuple[bytes, bool]:
    """Return the UDP datagram of a frame, and whether its checksum fits."""
    at = 12
    (kind,) = struct.unpack_from("!H", frame, at)
    while kind in TAGS:
        at += 4
        (kind,) = struct.unpack_from("!H", frame, at)
    packet = frame[at + 2 :]
    if kind != ETHERNET or packet[0] >> 4 != 4 or packet[9] != UDP:
        raise ValueError
    datagram = packet[(packet[0] & 0xF) * 4 :]
    source, destination, size, checksum = struct.unpack_from("!HHHH", datagram)
    if {source, destination} - {SERVER, CLIENT}:
        raise ValueError
    pseudo = packet[12:20] + struct.pack("!HH", UDP, size)
    return datagram, checksum == 0 or _sum(pseudo + datagram[:size]) == 0xFFFF


def _message(payload: bytes) -> Seen:
    _, _, _, _, number, _, _, _, yours, _, _, hardware, _, _, cookie = _BOOTP.unpack_from(payload)
    options = _options(payload[_BOOTP.size :]) if cookie == COOKIE else {}
    given, server = IPv4Address(yours), options.get(54)
    return Seen(
        KINDS[options[53][0]] if 53 in options and options[53][0] in KINDS else "BOOTP",
        ":".join(f"{byte:02x}" for byte in hardware[:6]),
        number,
        str(given) if int(given) else None,
        str(IPv4Address(server)) if server and len(server) == 4 else None,
    )


def _options(text: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(text) and text[at] != 255:
        if text[at] == 0:  # padding
            at += 1
            continue
        size = text[at + 1]
        found[text[at]] = text[at + 2 : at + 2 + size]
        at += 2 + size
    return found

"""Netlink (netlink(7), rtnetlink(7)) by the standard library: messages as the kernel gives and takes them.

What it tells of addresses and routes can be given back to it as it is, the way ``ip route save`` and
``restore`` do, with all that it says of them whether we know the word for it or not.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from corral.errors import Unavailable

SECONDS = 10.0
DUMPS = 3  # of a list that changes while it is read

NEWLINK, GETLINK = 16, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
REQUEST, ACK, DUMP, EXCL, CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
INTERRUPTED = 0x10  # of a dump whose list changed meanwhile
ERROR, DONE = 2, 3
TYPE = 0x3FFF  # of an attribute, without its flags
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type

Attributes = dict[int, bytes]


class Netlink:
    """A socket of the routing family."""

    def __init__(self) -> None:
        self.sequence = 0

    def __enter__(self) -> Netlink:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self.socket.settimeout(SECONDS)
        self.socket.bind((0, 0))
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def dump(self, kind: int, request: bytes) -> list[bytes]:
        """Return the bodies of all messages that answer a question; ``Unavailable`` without an answer."""
        for _ in range(DUMPS):
            bodies, whole = [], True
            self._send(kind, DUMP, request)
            for number, flags, body in self._answers():
                whole = whole and not flags & INTERRUPTED
                if number == ERROR:
                    raise Unavailable(f"netlink: {os.strerror(_error(body))}.")
                if number == DONE:
                    break
                bodies.append(body)
            if whole:
                return bodies
        raise Unavailable("netlink: what the kernel lists changes too fast to be read.")

    def do(self, kind: int, body: bytes, flags: int = 0) -> int:
        """Have the kernel do something; return 0, or why it does not, as a number of errno(3)."""
        self._send(kind, ACK | flags, body)
        for number, _, answer in self._answers():
            if number == ERROR:
                return _error(answer)
        return 0

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self.sequence += 1
        length = HEADER.size + len(body)
        try:
            self.socket.send(HEADER.pack(length, kind, REQUEST | flags, self.sequence, 0) + body)
        except OSError as failed:
            raise Unavailable(f"netlink: {failed.strerror or failed}.") from failed

    def _answers(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield type, flags and body of each message that answers the last question."""
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except TimeoutError:
                raise Unavailable(f"netlink: no answer of the kernel for {SECONDS:g} s.") from None
            except OSError as failed:
                raise Unavailable(f"netlink: {failed.strerror or failed}.") from failed
            while data:
                length, number, flags, sequence, _ = HEADER.unpack_from(data)
                if sequence == self.sequence:
                    yield number, flags, data[HEADER.size : length]
                data = data[_aligned(length) :]


def _error(body: bytes) -> int:
    return -int(struct.unpack_from("=i", body)[0])


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def attributes(body: bytes, start: int) -> Attributes:
    """Return the attributes that follow the fixed part of a message."""
    return {kind: body[first:end] for kind, first, end in places(body, start)}


def places(body: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Yield type, start and end of the value of each attribute."""
    while start + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        if length < ATTRIBUTE.size:
            return
        yield kind & TYPE, start + ATTRIBUTE.size, start + length
        start += _aligned(length)


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as it goes into a message."""
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def replaced(body: bytes, first: int, layout: str, value: Any) -> bytes:
    """Return a message with another value at a place."""
    new = struct.pack(layout, value)
    return body[:first] + new + body[first + len(new) :]

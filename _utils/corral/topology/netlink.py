"""The devices of a network namespace with addresses and neighbours, asked of the kernel (rtnetlink(7)).

Standard library only: what this asks is little, and pyroute2 is not on every minion. All of a namespace
is asked on one socket, which stays in the namespace in which it was opened.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from corral.errors import Unavailable

Record = dict[str, Any]
Attributes = dict[int, bytes]

DUMPS = 3  # of a list that changes while it is read
NETLINK_ROUTE = 0
ERROR, DONE = 2, 3  # NLMSG_ERROR, NLMSG_DONE
REQUEST, DUMP, INTERRUPTED = 0x1, 0x300, 0x10
GETLINK, GETADDR, GETNEIGH, GETNSID = 18, 22, 30, 90
AF_BRIDGE = 7
UP, LOOPBACK, CARRIER = 0x1, 0x8, 0x10000  # net_device_flags: IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP
# NUD_INCOMPLETE, NUD_FAILED: nobody has answered; NUD_NOARP: a group, whose address is computed.
NOBODY = 0x1 | 0x20 | 0x40
HEADER, LINK, ADDRESS, NEIGHBOUR = (
    struct.Struct(form) for form in ("=IHHII", "=BxHiII", "=BBBBi", "=BxxxiHBB")
)
ATTRIBUTE = struct.Struct("=HH")


class Netlink:
    """One socket in one network namespace.

    opened
        A netlink socket that was opened there; it is closed with this object.
    seconds
        How long the kernel may take for an answer.
    """

    def __init__(self, opened: socket.socket, seconds: float) -> None:
        self._socket = opened
        self._socket.settimeout(seconds)
        self._calls = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def devices(self) -> list[Record]:
        """Return the devices but loopback, each with its addresses."""
        held: dict[int, list[str]] = {}
        for body in self._dump(GETADDR, ADDRESS.pack(0, 0, 0, 0, 0)):
            _, prefix, _, _, index = ADDRESS.unpack_from(body)
            found = attributes(body[ADDRESS.size :])
            packed = found.get(2) or found.get(1)  # IFA_LOCAL, or IFA_ADDRESS where there is no peer
            address = ip_address(packed) if packed else None
            if address and not address.is_link_local:
                held.setdefault(index, []).append(f"{address}/{prefix}")
        links = self._dump(GETLINK, LINK.pack(0, 0, 0, 0, 0))
        return [one | {"addresses": held.get(one["index"], [])} for body in links if (one := device(body))]

    def neighbours(self) -> list[Record]:
        """Return who is known by address: ``{"address", "mac", "index"}``."""
        found = []
        for index, state, known in self._known(0):
            if 1 in known and 2 in known and not state & NOBODY:  # NDA_DST, NDA_LLADDR
                found.append({"address": str(ip_address(known[1])), "mac": mac(known[2]), "index": index})
        return found

    def forwarding(self) -> list[Record]:
        """Return what Linux bridges have learned: ``{"mac", "index"}``, the port at which a MAC is."""
        return [
            {"mac": mac(known[2]), "index": index} for index, _, known in self._known(AF_BRIDGE) if 2 in known
        ]

    def namespace_id(self, descriptor: int) -> int | None:
        """Return the number under which this namespace knows another, given as an open file."""
        body = struct.pack("=Bxxx", 0) + ATTRIBUTE.pack(8, 3) + struct.pack("=i", descriptor)  # NETNSA_FD
        for answer in self._ask(GETNSID, body, 0):
            number = attributes(answer[4:]).get(1)  # NETNSA_NSID
            if number is not None:
                known = int(struct.unpack("=i", number)[0])
                return None if known < 0 else known
        return None

    def _known(self, family: int) -> Iterator[tuple[int, int, Attributes]]:
        for body in self._dump(GETNEIGH, NEIGHBOUR.pack(family, 0, 0, 0, 0)):
            _, index, state, _, _ = NEIGHBOUR.unpack_from(body)
            yield index, state, attributes(body[NEIGHBOUR.size :])

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        for _ in range(DUMPS):
            try:
                return list(self._ask(kind, body, DUMP))
            except InterruptedError:
                continue
        raise Unavailable("netlink: the devices of this host change faster than they can be read.")

    def _ask(self, kind: int, body: bytes, flags: int) -> Iterator[bytes]:
        self._calls += 1
        header = HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, self._calls, 0)
        try:
            self._socket.sendall(header + body)
            while True:
                for seen, marks, number, answer in messages(self._socket.recv(1 << 18)):
                    if number != self._calls:
                        continue  # of a dump that was given up
                    if seen == DONE:
                        return
                    if marks & INTERRUPTED:
                        raise InterruptedError
                    if seen == ERROR:
                        raise _failure(answer)
                    yield answer
                    if not flags & DUMP:
                        return
        except InterruptedError:
            raise
        except TimeoutError:
            raise Unavailable("netlink: no answer of the kernel.") from None
        except OSError as failed:
            raise Unavailable(f"netlink: {failed.strerror or failed}.") from None


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Return type, flags, sequence number and body of each message (netlink(7))."""
    while len(data) >= HEADER.size:
        length, kind, flags, number, _ = HEADER.unpack_from(data)
        if length < HEADER.size:
            return
        yield kind, flags, number, data[HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def attributes(data: bytes) -> Attributes:
    """Return attributes by number; the two high bits of the number are flags (NLA_TYPE_MASK)."""
    found = {}
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        if length < ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def device(body: bytes) -> Record | None:
    """Return one device of a dump; nothing for loopback."""
    _, hardware, index, flags, _ = LINK.unpack_from(body)
    if flags & LOOPBACK:
        return None
    found = attributes(body[LINK.size :])
    about = attributes(found.get(18, b""))  # IFLA_LINKINFO
    kind = _text(about.get(1, b""))  # IFLA_INFO_KIND
    one: Record = {
        "index": index,
        "name": _text(found.get(3, b"")),
        "kind": kind or ("nic" if hardware in (1, 32) else "other"),  # ARPHRD_ETHER, ARPHRD_INFINIBAND
        "mac": mac(found.get(1, b"")),
        "mtu": _number(found.get(4)),
        "up": bool(flags & UP),
        "carrier": bool(flags & CARRIER),
        "master": _number(found.get(10)),
        "link": _number(found.get(5)),
        "link_namespace": _number(found.get(37)),  # IFLA_LINK_NETNSID
    }
    if kind == "vlan":
        one["vlan"] = _number(attributes(about.get(2, b"")).get(1))  # IFLA_INFO_DATA, IFLA_VLAN_ID
    return one


def mac(packed: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in packed)


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="replace")


def _number(packed: bytes | None) -> int | None:
    return int.from_bytes(packed, "little" if struct.pack("=H", 1)[0] else "big") if packed else None


def _failure(answer: bytes) -> OSError:
    number = -struct.unpack_from("=i", answer)[0]
    return OSError(number, os.strerror(number))

"""The devices of a network namespace with addresses and neighbours, asked of the kernel (rtnetlink(7)).

All of a namespace is asked on one socket, which stays in the namespace in which it was opened.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from corral.guard.netlink import ERROR, GETADDR, GETLINK, Attributes, attribute, attributes
from corral.guard.netlink import Netlink as Socket

Record = dict[str, Any]

GETNEIGH, GETNSID = 30, 90
AF_BRIDGE = 7
UP, LOOPBACK, CARRIER = 0x1, 0x8, 0x10000  # net_device_flags: IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP
# NUD_INCOMPLETE, NUD_FAILED: nobody has answered; NUD_NOARP: a group, whose address is computed.
NOBODY = 0x1 | 0x20 | 0x40
LINK = struct.Struct("=BxHiII")  # ifinfomsg
ADDRESS, NEIGHBOUR = struct.Struct("=BBBBi"), struct.Struct("=BxxxiHBB")  # ifaddrmsg, ndmsg


class Netlink(Socket):
    """One socket in one network namespace, that of the thread which opens it."""

    def devices(self) -> list[Record]:
        """Return the devices but loopback, each with its addresses."""
        held: dict[int, list[str]] = {}
        for body in self.dump(GETADDR, ADDRESS.pack(0, 0, 0, 0, 0)):
            _, prefix, _, _, index = ADDRESS.unpack_from(body)
            found = attributes(body, ADDRESS.size)
            packed = found.get(2) or found.get(1)  # IFA_LOCAL, or IFA_ADDRESS where there is no peer
            address = ip_address(packed) if packed else None
            if address and not address.is_link_local:
                held.setdefault(index, []).append(f"{address}/{prefix}")
        links = self.dump(GETLINK, LINK.pack(0, 0, 0, 0, 0))
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
        asked = struct.pack("=Bxxx", 0) + attribute(3, struct.pack("=i", descriptor))  # NETNSA_FD
        self._send(GETNSID, 0, asked)
        kind, _, answer = next(self._answers())
        number = None if kind == ERROR else attributes(answer, 4).get(1)  # NETNSA_NSID
        known = -1 if number is None else int(struct.unpack("=i", number)[0])
        return None if known < 0 else known

    def _known(self, family: int) -> Iterator[tuple[int, int, Attributes]]:
        for body in self.dump(GETNEIGH, NEIGHBOUR.pack(family, 0, 0, 0, 0)):
            _, index, state, _, _ = NEIGHBOUR.unpack_from(body)
            yield index, state, attributes(body, NEIGHBOUR.size)


def device(body: bytes) -> Record | None:
    """Return one device of a dump; nothing for loopback."""
    _, hardware, index, flags, _ = LINK.unpack_from(body)
    if flags & LOOPBACK:
        return None
    found = attributes(body, LINK.size)
    about = attributes(found.get(18, b""), 0)  # IFLA_LINKINFO
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
        one["vlan"] = _number(attributes(about.get(2, b""), 0).get(1))  # IFLA_INFO_DATA, IFLA_VLAN_ID
    return one


def mac(packed: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in packed)


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode(errors="replace")


def _number(packed: bytes | None) -> int | None:
    return int.from_bytes(packed, "little" if struct.pack("=H", 1)[0] else "big") if packed else None

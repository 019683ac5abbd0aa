"""Addresses and routes of some devices, as they were: to put back what a change took with it.

Linux takes the addresses with a device, and the routes with an address or a device, whoever made them. What
is kept are the kernel's own messages about them, so that labels, lifetimes, marks and metrics come back too.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from corral.guard import netlink
from corral.guard.netlink import Netlink

IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, which flags
IFADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, …, protocol, scope, type, flags
NEXT_HOP = struct.Struct("=HBBi")  # length, flags, hops, index
INDEX_AT = 4  # the index in IFINFO and in IFADDR
PROTOCOL_AT, ROUTE_FLAGS_AT = 5, 8
IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU = 1, 3, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_TEMPORARY = 0x1  # of IPv6; of IPv4 the same bit says that the address is not the first of its network
RTA_OIF, RTA_PREFSRC, RTA_MULTIPATH, RTA_CACHEINFO = 4, 7, 9, 12
RTN_UNICAST = 1
BY_THE_KERNEL = (2, 9)  # protocols of routes that come with an address or from a router, by themselves
RTM_F_CLONED, RTNH_F_ONLINK = 0x200, 0x4

Snapshot = dict[str, Any]


@dataclass(frozen=True)
class Device:
    """A network device of this host: its number, whether it is up, its MAC address and MTU."""

    index: int
    up: bool
    mac: str
    mtu: int


def devices(kernel: Netlink) -> dict[str, Device]:
    """Return the network devices of this host by name."""
    found = {}
    for body in kernel.dump(netlink.GETLINK, bytes(IFINFO.size)):
        _, _, index, flags, _ = IFINFO.unpack_from(body)
        given = netlink.attributes(body, IFINFO.size)
        (mtu,) = struct.unpack("=I", given[IFLA_MTU])
        name = given[IFLA_IFNAME].rstrip(b"\0").decode()
        found[name] = Device(index, bool(flags & IFF_UP), given.get(IFLA_ADDRESS, b"").hex(), mtu)
    return found


def change(kernel: Netlink, index: int, *, up: bool | None = None, mtu: int = 0, mac: str = "") -> int:
    """Set what is given of a device; return 0 or a number of errno(3)."""
    flags, which = (IFF_UP if up else 0, 0 if up is None else IFF_UP)
    body = IFINFO.pack(0, 0, index, flags, which)
    if mac:
        body += netlink.attribute(IFLA_ADDRESS, bytes.fromhex(mac))
    if mtu:
        body += netlink.attribute(IFLA_MTU, struct.pack("=I", mtu))
    return kernel.do(netlink.NEWLINK, body)


def snapshot(names: Collection[str]) -> Snapshot:
    """Return what these devices have, as values that JSON holds; those that are not there have nothing."""
    with Netlink() as kernel:
        here = {name: one for name, one in devices(kernel).items() if name in names}
        indexes = {one.index for one in here.values()}
        addresses = [body for body in _addresses(kernel) if _index(body) in indexes]
        routes = _routes(kernel, indexes, {_local(body) for body in addresses})
    return {
        "devices": {name: {"index": one.index, "up": one.up, "mac": one.mac} for name, one in here.items()},
        "addresses": [body.hex() for body in addresses],
        "routes": [body.hex() for body in routes],
    }


def restore(was: Snapshot) -> list[str]:
    """Put back what is missing of a snapshot; return a sentence for what could not be put back.

    What these devices have beyond it stays. A device that was made anew meanwhile comes up, with its MAC.
    """
    with Netlink() as kernel:
        here = devices(kernel)
        gone = [f"the device {name} is gone" for name in was["devices"] if name not in here]
        indexes = {}
        for name, device in was["devices"].items():
            if name in here:
                indexes[device["index"]] = here[name].index
                _bring_back(kernel, device, here[name])
        return gone + _put_back(kernel, was, indexes)


def _bring_back(kernel: Netlink, was: Mapping[str, Any], device: Device) -> None:
    if was["index"] != device.index and was["mac"] not in ("", device.mac):
        change(kernel, device.index, mac=was["mac"])
    if was["up"] and not device.up:
        change(kernel, device.index, up=True)


def _put_back(kernel: Netlink, was: Snapshot, indexes: Mapping[int, int]) -> list[str]:
    lost = []
    for body in map(bytes.fromhex, was["addresses"]):
        if _index(body) in indexes:
            number = _add(kernel, netlink.NEWADDR, _with_index(body, indexes))
            if number:
                lost.append(f"{shown(body)}: {os.strerror(number)}")
    missing = [route_of(bytes.fromhex(one), indexes) for one in was["routes"]]
    while missing:  # a route by way of a router needs the one that leads to it
        failed = [body for body in missing if _add(kernel, netlink.NEWROUTE, body)]
        if len(failed) == len(missing):
            lost.append("a route" if len(failed) == 1 else f"{len(failed)} routes")
            break
        missing = failed
    return lost


def _add(kernel: Netlink, kind: int, body: bytes) -> int:
    number = kernel.do(kind, body, netlink.CREATE | netlink.EXCL)
    return 0 if number == errno.EEXIST else number


def remove(kernel: Netlink, body: bytes) -> int:
    """Take an address away; return 0, also when it is gone already, or a number of errno(3)."""
    number = kernel.do(netlink.DELADDR, body)
    return 0 if number == errno.EADDRNOTAVAIL else number


def remove_route(kernel: Netlink, body: bytes) -> int:
    """Take a route away; return 0, also when it is gone already, or a number of errno(3)."""
    number = kernel.do(netlink.DELROUTE, route_of(body, {}))
    return 0 if number == errno.ESRCH else number


def routes_beyond(was: Snapshot, now: Snapshot, maker: int) -> list[str]:
    """Return the routes with a maker's mark (their protocol) that a later snapshot has beyond an earlier."""
    there = {route_of(bytes.fromhex(body), {}) for body in was["routes"]}
    return [
        one
        for one in now["routes"]
        if (body := bytes.fromhex(one))[PROTOCOL_AT] == maker and route_of(body, {}) not in there
    ]


def shown(body: bytes) -> str:
    """Return the address of a message with its prefix length, as it is declared."""
    family, length, *_ = IFADDR.unpack_from(body)
    return f"{ipaddress.ip_address(_local(body))}/{length}" if family in _FAMILIES else "an address"


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _addresses(kernel: Netlink) -> list[bytes]:
    return [
        body
        for body in kernel.dump(netlink.GETADDR, bytes(IFADDR.size))
        if body[0] in _FAMILIES and not (body[0] == socket.AF_INET6 and body[2] & IFA_F_TEMPORARY)
    ]


def _index(body: bytes) -> int:
    return int(IFADDR.unpack_from(body)[4])


def _local(body: bytes) -> bytes:
    given = netlink.attributes(body, IFADDR.size)
    return given.get(IFA_LOCAL) or given.get(IFA_ADDRESS, b"")


def _with_index(body: bytes, indexes: Mapping[int, int]) -> bytes:
    return netlink.replaced(body, INDEX_AT, "=I", indexes[_index(body)])


def _routes(kernel: Netlink, indexes: Container[int], locals_: Container[bytes]) -> list[bytes]:
    """Return the routes that would go with some devices and addresses and not come back by themselves."""
    return [
        body
        for body in kernel.dump(netlink.GETROUTE, bytes(RTMSG.size))
        if _made(body) and (_sent_from(body, locals_) or any(one in indexes for one in _leads_to(body)))
    ]


def _made(body: bytes) -> bool:
    family, _, _, _, _, protocol, _, kind, flags = RTMSG.unpack_from(body)
    by_somebody = protocol not in BY_THE_KERNEL and not flags & RTM_F_CLONED
    return family in _FAMILIES and kind == RTN_UNICAST and by_somebody


def _sent_from(body: bytes, addresses: Container[bytes]) -> bool:
    return netlink.attributes(body, RTMSG.size).get(RTA_PREFSRC) in addresses


def _leads_to(body: bytes) -> list[int]:
    return [struct.unpack_from("=i", body, place)[0] for place in _index_places(body)]


def _index_places(body: bytes) -> Iterable[int]:
    """Yield where the numbers of devices are in a route."""
    for kind, first, end in netlink.places(body, RTMSG.size):
        if kind == RTA_OIF:
            yield first
        hop = first
        while kind == RTA_MULTIPATH and hop + NEXT_HOP.size <= end:
            yield hop + INDEX_AT
            hop += (NEXT_HOP.unpack_from(body, hop)[0] + 3) & ~3


def route_of(body: bytes, indexes: Mapping[int, int]) -> bytes:
    """Return a route as the kernel takes it: without its state, with the numbers that devices have now."""
    flags = RTMSG.unpack_from(body)[8] & RTNH_F_ONLINK
    said = [(kind, body[first:end]) for kind, first, end in netlink.places(body, RTMSG.size)]
    kept = [netlink.attribute(kind, value) for kind, value in said if kind != RTA_CACHEINFO]
    body = netlink.replaced(body[: RTMSG.size] + b"".join(kept), ROUTE_FLAGS_AT, "=I", flags)
    for place, was in zip(list(_index_places(body)), _leads_to(body), strict=True):
        body = netlink.replaced(body, place, "=i", indexes.get(was, was))
    return body

"""What the network cards of this host are to others: their masters, what is on top of them, DHCP clients."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from corral.guard import netlink
from corral.guard.netlink import Netlink
from corral.guard.network import IFINFO, IFLA_ADDRESS, IFLA_IFNAME
from corral.uplink.plan import Card

DATAPATH = "ovs-system"  # the master of every port of Open vSwitch in the kernel
ON_TOP = (b"vlan", b"macvlan", b"macvtap", b"ipvlan", b"ipvtap")  # kinds of devices that are made on a card
CLIENTS = ("dhclient", "dhcpcd", "udhcpc")
LEASES = Path("/run/systemd/netif/leases")  # of networkd, by the number of the device
MANAGED = Path("/run/NetworkManager/devices")  # what NetworkManager does with each, by its number
IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_INFO_KIND = 5, 10, 18, 1


def cards(names: Collection[str]) -> dict[str, Card]:
    """Return those of these devices that are there, by name."""
    with Netlink() as kernel:
        bodies = kernel.dump(netlink.GETLINK, bytes(IFINFO.size))
    found = {IFINFO.unpack_from(body)[2]: netlink.attributes(body, IFINFO.size) for body in bodies}
    called = {index: given[IFLA_IFNAME].rstrip(b"\0").decode() for index, given in found.items()}
    processes = list(_processes())
    return {
        called[index]: Card(
            mac=given.get(IFLA_ADDRESS, b"").hex(":"),
            master=called.get(_number(given, IFLA_MASTER), "").removeprefix(DATAPATH),
            upper=tuple(
                called[number]
                for number, other in found.items()
                if _number(other, IFLA_LINK) == index and _kind(other) in ON_TOP
            ),
            clients=(*_clients(called[index], processes), *_managers(index)),
        )
        for index, given in found.items()
        if called[index] in names
    }


def _number(given: netlink.Attributes, kind: int) -> int:
    return int(struct.unpack("=I", given[kind])[0]) if kind in given else 0


def _kind(given: netlink.Attributes) -> bytes:
    info = netlink.attributes(given.get(IFLA_LINKINFO, b""), 0)
    return info.get(IFLA_INFO_KIND, b"").rstrip(b"\0")


def _processes() -> Iterator[tuple[str, list[str]]]:
    """Yield the DHCP clients that run: their process ids and arguments."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            program, *words = (folder / "cmdline").read_text(errors="replace").replace("\0", " ").split() or [
                ""
            ]
            if program.rpartition("/")[2].rstrip(":") in CLIENTS:
                yield folder.name, [program.rpartition("/")[2].rstrip(":"), *words]


def _clients(name: str, processes: list[tuple[str, list[str]]]) -> Iterator[str]:
    for pid, (program, *words) in processes:
        if name in words:
            yield f"{program} (process {pid})"


def _managers(index: int) -> Iterator[str]:
    if (LEASES / str(index)).exists():
        yield "systemd-networkd, which has a lease of DHCP,"
    with suppress(OSError):
        if "\nmanaged=true" in (MANAGED / str(index)).read_text(errors="replace"):
            yield "NetworkManager"

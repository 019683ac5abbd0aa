"""A far end for tunnels: another network namespace, whose kernel speaks VXLAN, behind an underlay."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterator
from types import ModuleType

from corral import netns

SPACE = "tovs-far"
HERE, THERE = "192.168.61.1", "192.168.61.2"
UNDERLAY, OVERLAY = "brt-ovs-phy", "brt-ovs-tun"  # bridges
CABLE = "brt-ovs-u0"  # the port of the underlay
TUNNEL, KEY = "brt-ovs-vx0", 1001


def compute_checksums(space: str, device: str) -> None:
    """Have the kernel compute the checksums of what a device sends, as ``ethtool -K DEVICE tx off`` does."""

    def switch() -> None:
        order = ctypes.create_string_buffer(struct.pack("=II", 0x17, 0))  # ETHTOOL_STXCSUM, off
        request = struct.pack("16sP", device.encode(), ctypes.addressof(order))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            fcntl.ioctl(one, 0x8946, request)  # SIOCETHTOOL

    netns.inside(space, switch)


@contextlib.contextmanager
def far_end(switch: ModuleType) -> Iterator[ModuleType]:
    """``TUNNEL`` on the bridge ``OVERLAY`` leads to ``vx`` in the namespace ``SPACE``."""
    ip = ("ip", "-n", SPACE)
    switch.run("ip", "netns", "add", SPACE)
    try:
        switch.run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", "u1", "netns", SPACE)
        switch.run(*ip, "address", "add", f"{THERE}/24", "dev", "u1")
        remote = ("remote", HERE, "local", THERE, "dstport", "4789")
        switch.run(*ip, "link", "add", "vx", "type", "vxlan", "id", str(KEY), *remote)
        for device in ("lo", "u1", "vx"):
            switch.run(*ip, "link", "set", device, "up")
        for device in ("u1", "vx"):  # Open vSwitch in user space takes no packet without its checksums
            compute_checksums(SPACE, device)
        switch.run("ip", "link", "set", CABLE, "up")
        switch.vsctl(
            *("add-br", UNDERLAY, "--", "set", "bridge", UNDERLAY, "datapath_type=netdev"),
            *("--", "add-port", UNDERLAY, CABLE),
            *("--", "add-br", OVERLAY, "--", "set", "bridge", OVERLAY, "datapath_type=netdev"),
            *("--", "add-port", OVERLAY, TUNNEL, "--", "set", "interface", TUNNEL, "type=vxlan"),
            *(f"options:remote_ip={THERE}", f"options:local_ip={HERE}", f"options:key={KEY}"),
        )
        switch.run("ip", "address", "add", f"{HERE}/24", "dev", UNDERLAY)
        switch.run("ip", "link", "set", UNDERLAY, "up")
        yield switch
    finally:
        switch.clean()
        switch.run("ip", "link", "delete", CABLE)  # the kernel takes its time to empty a namespace
        switch.run("ip", "netns", "delete", SPACE)

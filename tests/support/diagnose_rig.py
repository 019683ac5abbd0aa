"""A switch with a DHCP server and a guest, both of which are namespaces or devices that tests can break."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.support.dhcp_net import forget

BRIDGE, OTHER_BRIDGE = "brt-ovs-dg", "brt-ovs-dg2"
SPACE = "tdiag"  # the guest's network namespace
PORT, MAC = "brt-dg-guest", "52:60:2f:73:00:01"
SERVER, VLAN = "brt-dg-dhcp", 5
SUBNET = "tdiag"
SERVED: dict[str, Any] = {
    "interface": SERVER,
    "network": "10.73.0.0/24",
    "range": "10.73.0.100-10.73.0.109",
    "router": "10.73.0.1",
}


def lease(ovs: ModuleType, space: str = SPACE, device: str = "eth0") -> bool:
    """Ask for a lease as the guest would, with a real client, and return whether there was one."""
    client = ("busybox", "udhcpc", "-f", "-n", "-q", "-i", device, "-t", "4", "-T", "2", "-s", "/bin/true")
    done = subprocess.run(
        ["ip", "netns", "exec", space, *client], check=False, capture_output=True, text=True, timeout=60
    )
    return done.returncode == 0


@contextlib.contextmanager
def guest(ovs: ModuleType, space: str = SPACE, port: str = PORT, mac: str = MAC) -> Iterator[None]:
    """A namespace with a network card, whose other end is ``port``."""
    ovs.run("ip", "netns", "add", space)
    try:
        ends = ("type", "veth", "peer", "name", "eth0", "netns", space, "address", mac)
        ovs.run("ip", "link", "add", port, *ends)
        ovs.run("ip", "-n", space, "link", "set", "eth0", "up")
        ovs.run("ip", "link", "set", port, "up")
        yield
    finally:
        ovs.run("ip", "link", "delete", port)  # the kernel takes its time to empty a namespace
        ovs.run("ip", "netns", "delete", space)


@contextlib.contextmanager
def switched(ovs: ModuleType) -> Iterator[None]:
    """The guest's port and the server's, in one VLAN of one bridge."""
    with guest(ovs):
        ovs.vsctl(
            *("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"),
            *("--", "add-port", BRIDGE, PORT, f"tag={VLAN}"),
            *(
                "--",
                "add-port",
                BRIDGE,
                SERVER,
                f"tag={VLAN}",
                "--",
                "set",
                "interface",
                SERVER,
                "type=internal",
            ),
        )
        address(ovs)
        try:
            yield
        finally:
            forget(SUBNET)
            ovs.clean()


def address(ovs: ModuleType) -> None:
    ovs.run("ip", "address", "replace", "10.73.0.1/24", "dev", SERVER)
    ovs.run("ip", "link", "set", SERVER, "up")

"""S2.5, S3.7: a DHCP server behind a tunnel, behind a Linux bridge, or in a network namespace of its own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.diagnose_rig import (
    BRIDGE,
    MAC,
    PORT,
    SPACE,
    VLAN,
    guest,
    lease,
    switched,
)
from tests.support.ovs_far import HERE, KEY, OVERLAY, THERE, TUNNEL, UNDERLAY, compute_checksums, far_end
from tests.support.ovs_far import SPACE as FAR

SERVER_SPACE, LINUX_BRIDGE, SERVER_PORT = "tdiag-srv", "brt-dgl", "brt-dg-srv"
CALL = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@contextlib.contextmanager
def dnsmasq(ovs: ModuleType, space: str, device: str, *bind: str) -> Iterator[None]:
    """Serve DHCP in a network namespace by a dnsmasq that is not Corral's.

    bind
        How it is bound to its device; by default to all, as dnsmasq does by itself.
    """
    ovs.run("ip", "-n", space, "address", "add", "10.74.0.1/24", "dev", device)
    words = [
        *(
            "ip",
            "netns",
            "exec",
            space,
            "dnsmasq",
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--port=0",
        ),
        *(f"--interface={device}", *bind, "--except-interface=lo", "--no-ping"),
        *("--dhcp-range=10.74.0.100,10.74.0.150", f"--dhcp-leasefile=/run/{space}.leases", "--pid-file="),
        "--log-facility=-",
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as served:
        try:
            assert served.stderr
            while "IP range" not in (line := served.stderr.readline()):
                assert line, "dnsmasq has ended"
            yield
        finally:
            served.terminate()


@pytest.fixture
def tunnelled(switch: ModuleType) -> Iterator[ModuleType]:
    """The guest is here, the server at the far end of a tunnel."""
    with far_end(switch), guest(switch):
        switch.vsctl("add-port", OVERLAY, PORT)
        with dnsmasq(switch, FAR, "vx"):
            yield switch


def hop(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["hops"] if one["hop"] == name)


def test_a_server_behind_a_tunnel(salt: Any, tunnelled: ModuleType) -> None:
    assert lease(tunnelled)
    found = salt.cmd("ovs.diagnose", PORT)
    assert found["healthy"] is True, found
    assert hop(found, "tunnel") == {"hop": "tunnel", "ok": True, "seen": f"healthy: {TUNNEL}"}
    assert hop(found, "server")["ok"] is True
    assert "one elsewhere answers" in hop(found, "server")["seen"]
    assert "by 10.74.0.1 arrives at the guest" in hop(found, "offer")["seen"]


def test_a_tunnel_whose_far_end_is_gone(salt: Any, tunnelled: ModuleType) -> None:
    tunnelled.run("ip", "-n", FAR, "address", "flush", "dev", "u1")
    tunnelled.run("ip", "neighbour", "flush", "dev", UNDERLAY)
    found = salt.cmd("ovs.diagnose", PORT, seconds=1)
    assert found["broken"] == "tunnel", found
    assert found["reason"] in (
        f"the tunnel {TUNNEL}: {THERE} does not answer on {UNDERLAY}.",
        f"the tunnel {TUNNEL}: {THERE} does not answer an ICMP echo.",
    )


def test_a_tunnel_with_another_key_at_its_far_end(salt: Any, tunnelled: ModuleType) -> None:
    tunnelled.vsctl("set", "interface", TUNNEL, "options:key=1002")
    told = {"type": "vxlan", "key": str(KEY), "local_ip": THERE, "remote_ip": HERE, "mtu": 1450}
    found = salt.cmd("ovs.diagnose", PORT, seconds=1, mine={"far-host": {"vx": told}})
    assert (found["broken"], found["reason"]) == (
        "tunnel",
        f"the tunnel {TUNNEL}: its key is 1002, that of far-host's vx is {KEY}.",
    ), found


def test_nobody_serves_behind_a_healthy_tunnel(salt: Any, switch: ModuleType) -> None:
    with far_end(switch), guest(switch):
        switch.vsctl("add-port", OVERLAY, PORT)
        found = salt.cmd("ovs.diagnose", PORT, seconds=1)
    assert (found["broken"], found["reason"]) == (
        "server",
        f"no DHCP server of this host serves this switch, and none behind {TUNNEL} has answered.",
    ), found


@contextlib.contextmanager
def server_space(ovs: ModuleType) -> Iterator[None]:
    """A namespace with the card ``eth0``, whose other end is ``SERVER_PORT``."""
    with guest(ovs, SERVER_SPACE, SERVER_PORT, "52:60:2f:73:00:fe"):
        yield


@pytest.mark.parametrize("bind", [("--bind-interfaces",), ()], ids=["bound", "on all devices"])
def test_a_server_in_a_namespace(salt: Any, switch: ModuleType, bind: tuple[str, ...]) -> None:
    """S3.6: it is found by the veth pair that leads to it, and its end there may be down.

    A bridge in user space forwards frames as they come, also those whose checksum a card was to compute.
    """
    with switched(switch), server_space(switch):
        switch.vsctl("add-port", BRIDGE, SERVER_PORT, f"tag={VLAN}")
        with dnsmasq(switch, SERVER_SPACE, "eth0", *bind):
            found = salt.cmd("ovs.diagnose", PORT)
            assert found["broken"] == "offer", found
            assert (
                "an OFFER arrives at the guest with a wrong checksum, so it is thrown away" in found["reason"]
            )
            assert not lease(switch)

            compute_checksums(SERVER_SPACE, "eth0")
            found = salt.cmd("ovs.diagnose", PORT)
            assert found["healthy"] is True, found
            assert f"eth0 in the namespace {SERVER_SPACE}" in hop(found, "server")["seen"]
            assert hop(found, "server port")["seen"] == f"{SERVER_PORT} on {BRIDGE}, in VLAN {VLAN}"

            switch.run("ip", "-n", SERVER_SPACE, "link", "set", "eth0", "down")
            found = salt.cmd("ovs.diagnose", PORT, seconds=1)
            assert (found["broken"], found["reason"]) == (
                "server port",
                f"eth0 in the namespace {SERVER_SPACE} is down.",
            ), found
            (mended,) = salt.cmd("state.single", found["fix"]["state"], **found["fix"]["arguments"]).values()
            assert mended["result"] is True, mended
            assert lease(switch)
            assert salt.cmd("ovs.diagnose", PORT)["healthy"] is True


@contextlib.contextmanager
def asking(ovs: ModuleType) -> Iterator[None]:
    """The guest asks for an address, again and again; on a Linux bridge nobody can ask in its stead."""
    once = "busybox udhcpc -f -n -q -i eth0 -t 1 -T 1 -s /bin/true"
    words = ["ip", "netns", "exec", SPACE, "sh", "-c", f"while :; do {once}; done"]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as asks:
        try:
            yield
        finally:
            asks.terminate()


@pytest.fixture
def linux_bridge(switch: ModuleType) -> Iterator[ModuleType]:
    """Guest and server hang on a Linux bridge; what is forwarded is dropped, if it passes netfilter."""
    before = CALL.read_text()
    with guest(switch), server_space(switch):
        switch.run("ip", "link", "add", LINUX_BRIDGE, "type", "bridge", "forward_delay", "0")
        try:
            for device in (PORT, SERVER_PORT):
                switch.run("ip", "link", "set", device, "master", LINUX_BRIDGE)
            switch.run("ip", "link", "set", LINUX_BRIDGE, "up")
            rules = "add table inet tdiag; add chain inet tdiag forward"
            switch.run("nft", rules + " { type filter hook forward priority 0; policy drop; }")
            with dnsmasq(switch, SERVER_SPACE, "eth0"):
                yield switch
        finally:
            CALL.write_text(before)
            switch.run("nft", "delete", "table", "inet", "tdiag")
            switch.run("ip", "link", "delete", LINUX_BRIDGE)


def test_netfilter_on_a_linux_bridge(salt: Any, linux_bridge: ModuleType) -> None:
    """S2.5: the offer that never reached the guest across the bridge."""
    CALL.write_text("1")
    with asking(linux_bridge):
        found = salt.cmd("ovs.diagnose", PORT, seconds=3)
    assert (found["broken"], found["reason"]) == (
        "netfilter",
        f"bridge-nf-call-iptables is 1, so frames on the Linux bridge {LINUX_BRIDGE} pass the chain forward"
        " of the table inet tdiag, whose policy is to drop them.",
    ), found
    (mended,) = salt.cmd("state.single", found["fix"]["state"], **found["fix"]["arguments"]).values()
    assert mended["result"] is True, mended
    assert CALL.read_text().strip() == "0"
    with asking(linux_bridge):
        found = salt.cmd("ovs.diagnose", MAC, seconds=30)
    assert found["healthy"] is True, found
    assert hop(found, "offer")["ok"] is True
    assert hop(found, "path")["seen"] == f"both are on the Linux bridge {LINUX_BRIDGE}"
    assert lease(linux_bridge)

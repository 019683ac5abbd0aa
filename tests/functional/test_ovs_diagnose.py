"""S2.5, S3.5–S3.7: each fault between a guest and its DHCP server is named, and what is named mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corral.dhcp import process
from tests.support.dhcp_net import kill
from tests.support.diagnose_rig import (
    BRIDGE,
    MAC,
    OTHER_BRIDGE,
    PORT,
    SERVED,
    SERVER,
    SPACE,
    SUBNET,
    VLAN,
    address,
    guest,
    lease,
    switched,
)
from tests.support.guest_rig import hung

Fault = Callable[[ModuleType], object]
State = Callable[..., dict[str, Any]]


@pytest.fixture
def rig(switch: ModuleType, state: State) -> Iterator[ModuleType]:
    with switched(switch):
        served = state("dhcp.subnet_managed", SUBNET, **SERVED)
        assert served["result"] is True, served
        yield switch


def hops(found: dict[str, Any]) -> dict[str, Any]:
    return {hop["hop"]: hop["ok"] for hop in found["hops"]}


@pytest.mark.parametrize("name", [PORT, SPACE, MAC, MAC.upper().replace(":", "-")])
def test_a_guest_that_gets_its_address(salt: Any, rig: ModuleType, name: str) -> None:
    assert lease(rig)
    found = salt.cmd("ovs.diagnose", name)
    assert (found["healthy"], found["broken"], found["reason"], found["fix"]) == (True, None, "", None), found
    assert found["mac"] == MAC
    assert hops(found) == dict.fromkeys(
        ["guest", "tap", "port", "server", "server port", "path", "reply", "addresses", "offer"], True
    )
    assert f"{PORT} on {BRIDGE}, in VLAN {VLAN}" in [hop["seen"] for hop in found["hops"]]
    kinds = {place: [one["kind"] for one in seen] for place, seen in found["captured"].items()}
    assert kinds["tap"] == ["OFFER"], "the DISCOVER was put into the switch, not sent by the guest"
    assert kinds["server port"][:1] == ["DISCOVER"]


def mend(salt: Any, found: dict[str, Any]) -> None:
    """Apply the state that the diagnosis names."""
    (mended,) = salt.cmd("state.single", found["fix"]["state"], **found["fix"]["arguments"]).values()
    assert mended["result"] is True, mended


def gone_and_back(ovs: ModuleType) -> None:
    """The server's device is made anew: what had the old one open hears nothing."""
    ovs.vsctl("del-port", SERVER)
    ovs.vsctl(*("add-port", BRIDGE, SERVER, f"tag={VLAN}", "--", "set", "interface", SERVER, "type=internal"))
    address(ovs)


def on_another_bridge(ovs: ModuleType) -> None:
    ovs.vsctl(
        *("add-br", OTHER_BRIDGE, "--", "set", "bridge", OTHER_BRIDGE, "datapath_type=netdev"),
        *("--", "del-port", PORT, "--", "add-port", OTHER_BRIDGE, PORT, f"tag={VLAN}"),
    )


def served_no_more(ovs: ModuleType) -> None:
    running = process.find(SUBNET)
    assert running
    kill(running)


@pytest.mark.parametrize(
    ("fault", "hop", "reason", "fix"),
    [
        pytest.param(
            lambda ovs: ovs.run("ip", "-n", SPACE, "link", "set", "eth0", "down"),
            "guest",
            f"the guest's own end, eth0 in the namespace {SPACE}, is down.",
            {"state": "link.managed", "name": "eth0", "namespace": SPACE, "up": True},
            id="card down",
        ),
        pytest.param(
            lambda ovs: ovs.run("ip", "link", "set", PORT, "down"),
            "tap",
            f"{PORT} is down.",
            {"state": "link.managed", "name": PORT, "up": True},
            id="tap down",
        ),
        pytest.param(
            lambda ovs: ovs.vsctl("del-port", PORT),
            "port",
            f"{PORT} is no port of a switch.",
            {"state": "ovs.port_present", "name": PORT, "bridge": BRIDGE, "tag": VLAN},
            id="no port",
        ),
        pytest.param(
            served_no_more,
            "server",
            f"dnsmasq of the subnet {SUBNET} does not run.",
            {"state": "dhcp.subnet_managed", "name": SUBNET, **SERVED},
            id="server dead",
        ),
        pytest.param(
            gone_and_back,
            "server",
            f"dnsmasq of the subnet {SUBNET} runs on a device that is gone.",
            {"state": "dhcp.subnet_managed", "name": SUBNET, **SERVED},
            id="server deaf",
        ),
        pytest.param(
            lambda ovs: ovs.run("ip", "link", "set", SERVER, "down"),
            "server port",
            f"{SERVER} is down.",
            {"state": "link.managed", "name": SERVER, "up": True},
            id="server's device down, as after a restart (S3.6)",
        ),
        pytest.param(
            lambda ovs: ovs.vsctl("set", "port", PORT, "tag=9"),
            "path",
            f"{PORT} is in VLAN 9, but {SERVER} is in VLAN {VLAN}: a broadcast does not leave its VLAN.",
            {"state": "ovs.port_present", "name": PORT, "bridge": BRIDGE, "tag": VLAN},
            id="two VLANs (S3.5)",
        ),
        pytest.param(
            on_another_bridge,
            "path",
            f"{PORT} is on {OTHER_BRIDGE}, from where nothing comes to {BRIDGE}.",
            {"state": "ovs.port_present", "name": PORT, "bridge": BRIDGE, "tag": VLAN},
            id="two bridges",
        ),
    ],
)
def test_a_fault_and_the_state_that_mends_it(
    salt: Any, rig: ModuleType, fault: Fault, hop: str, reason: str, fix: dict[str, Any]
) -> None:
    fault(rig)
    fix = dict(fix)
    found = salt.cmd("ovs.diagnose", PORT, seconds=1, subnet=SUBNET)
    assert (found["broken"], found["reason"]) == (hop, reason), found
    assert found["healthy"] is False
    assert found["fix"]["state"] == fix.pop("state")
    assert found["fix"]["arguments"].items() >= fix.items()
    mend(salt, found)
    assert lease(rig)
    again = salt.cmd("ovs.diagnose", PORT)
    assert again["healthy"] is True, again


def test_a_full_range(salt: Any, rig: ModuleType, state: State) -> None:
    """All addresses are leased to others."""
    tight = {**SERVED, "range": "10.73.0.100-10.73.0.100"}
    assert state("dhcp.subnet_managed", SUBNET, **tight)["result"] is True
    with guest(rig, "tdiag-other", "brt-dg-other", "52:60:2f:73:00:02"):
        rig.vsctl("add-port", BRIDGE, "brt-dg-other", f"tag={VLAN}")
        assert lease(rig, "tdiag-other")
        found = salt.cmd("ovs.diagnose", PORT, seconds=1)
        assert (found["broken"], found["reason"]) == (
            "addresses",
            f"all 1 addresses of the range of the subnet {SUBNET} are taken.",
        ), found
        assert found["fix"]["state"] == "dhcp.subnet_managed"
        assert found["fix"]["arguments"]["range"] == "10.73.0.100-10.73.0.254"
        assert salt.cmd("ovs.diagnose", "brt-dg-other")["healthy"] is True, "who has a lease needs no other"
        mend(salt, found)
        assert lease(rig)


@pytest.mark.parametrize(
    ("flow", "hop", "reason"),
    [
        (
            "cookie=0x7,priority=100,udp,tp_dst=67,actions=drop",
            "path",
            f"a flow in table 0 of {BRIDGE} drops a DISCOVER: udp,tp_dst=67, priority 100"
            " (cookie 0x7, not Corral's).",
        ),
        (
            "cookie=0x636f726c00000001,priority=100,udp,tp_dst=68,actions=drop",
            "reply",
            f"a flow in table 0 of {BRIDGE} drops an OFFER: udp,tp_dst=68, priority 100"
            " (cookie 0x636f726c00000001, Corral's own).",
        ),
        (
            "priority=100,udp,tp_dst=67,actions=resubmit(,7)",
            "path",
            f"table 7 of {BRIDGE} has no flow for a DISCOVER, and so drops it.",
        ),
    ],
    ids=["there", "back", "no flow"],
)
def test_flows_in_the_way(salt: Any, rig: ModuleType, flow: str, hop: str, reason: str) -> None:
    """S3.4: whose they are is said; no state of ours removes flows of others."""
    rig.run("ovs-ofctl", "add-flow", BRIDGE, flow)
    found = salt.cmd("ovs.diagnose", PORT, seconds=1)
    assert (found["broken"], found["reason"], found["fix"]) == (hop, reason, None), found
    rig.run("ovs-ofctl", "del-flows", BRIDGE, "udp")
    assert salt.cmd("ovs.diagnose", PORT)["healthy"] is True


def test_a_firewall_before_the_server(salt: Any, rig: ModuleType) -> None:
    rules = "add table inet tdiag; add chain inet tdiag input { type filter hook input priority 0; };"
    rig.run("nft", rules + " add rule inet tdiag input udp dport 67 drop")
    try:
        found = salt.cmd("ovs.diagnose", PORT, seconds=2)
    finally:
        rig.run("nft", "delete", "table", "inet", "tdiag")
    assert (found["broken"], found["fix"]) == ("offer", None), found
    assert found["reason"] == (
        f"a DISCOVER arrives at {SERVER}, but dnsmasq of the subnet {SUBNET} has not answered it within 2 s:"
        " a firewall or its own configuration keeps it from that."
    )


def test_a_port_that_the_switch_cannot_set_up(salt: Any, rig: ModuleType) -> None:
    rig.vsctl("--", "add-port", BRIDGE, "brt-dg-none", "--", "set", "interface", "brt-dg-none", "type=system")
    found = salt.cmd("ovs.diagnose", "brt-dg-none", seconds=1)
    assert (found["broken"], found["fix"]) == ("tap", None), found
    assert found["reason"] == "there is no device brt-dg-none on this host to carry its frames."


def test_nothing_is_sent_when_nobody_is_to_be_asked(salt: Any, rig: ModuleType) -> None:
    """Without a probe only the guest's own questions are seen, and it asks none."""
    found = salt.cmd("ovs.diagnose", PORT, seconds=1, probe=False)
    assert hops(found)["offer"] is None
    assert found["healthy"] is True


def test_libvirt_does_not_answer(salt: Any, rig: ModuleType) -> None:
    """Whether there is such a guest cannot be known then; a port needs no libvirt."""
    with hung():
        assert salt.cmd("ovs.diagnose", PORT, timeout=2)["healthy"] is True
        with pytest.raises(CommandExecutionError, match=r"no guest.*The guests could not be looked at"):
            salt.cmd("ovs.diagnose", "web0", timeout=1)


def test_nobody_of_that_name(salt: Any, rig: ModuleType) -> None:
    with pytest.raises(CommandExecutionError, match="There is no guest, no port, no address and no network"):
        salt.cmd("ovs.diagnose", "brt-nobody")
    with pytest.raises(CommandExecutionError, match=r"seconds: 90 is not a number of seconds from 0 to 60"):
        salt.cmd("ovs.diagnose", PORT, seconds=90)
    with pytest.raises(CommandExecutionError, match=r"dhcp\.nosuch: there is no such subnet"):
        salt.cmd("ovs.diagnose", PORT, subnet="nosuch")

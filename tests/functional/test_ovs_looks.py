"""Looks at a real Open vSwitch: learned addresses, flows, controllers, and tunnels with a far end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.ovs_far import CABLE, HERE, KEY, OVERLAY, SPACE, THERE, TUNNEL, UNDERLAY, far_end

A = "brt-ovs-a"
Look = Callable[[], dict[str, Any]]


@pytest.fixture
def bridge(switch: ModuleType) -> ModuleType:
    switch.vsctl("add-br", A, "--", "set", "bridge", A, "datapath_type=netdev")
    return switch


@pytest.fixture
def far(switch: ModuleType) -> Iterator[ModuleType]:
    with far_end(switch):
        yield switch


def awaited(look: Look, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look until something is true of what is seen: what the switch learns it tells nobody."""
    deadline = time.monotonic() + 30
    while not true(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


def test_learned_addresses(salt: Any, bridge: ModuleType) -> None:
    """One that was made by hand stays; the ports have names, and a bond's members the bond's."""
    bridge.vsctl(
        *("add-bond", A, "brt-bond0", "eth1", "eth2", "bond_mode=active-backup"),
        *("--", "add-port", A, "brt-p0", "tag=7", "--", "set", "interface", "brt-p0", "type=internal"),
    )
    for port, vlan, mac in (("brt-p0", 7, 1), ("eth1", 0, 2), (A, 0, 3)):
        bridge.run("ovs-appctl", "fdb/add", A, port, str(vlan), f"50:54:00:00:00:0{mac}")
    learned = {one["mac"]: one for one in salt.cmd("ovs.fdb", A)[A]}
    assert learned["50:54:00:00:00:01"] == {
        "mac": "50:54:00:00:00:01",
        "vlan": 7,
        "port": "brt-p0",
        "age": None,
        "static": True,
    }
    assert learned["50:54:00:00:00:02"]["port"] == "brt-bond0"
    assert learned["50:54:00:00:00:03"]["port"] == A
    assert A in salt.cmd("ovs.fdb")


def test_flows_of_a_bridge_that_speaks_only_one_version(salt: Any, bridge: ModuleType) -> None:
    """S3.4: an OpenFlow version that is not ovs-ofctl's own is no obstacle, and ports are named."""
    bridge.vsctl(
        *("add-port", A, "brt-p0", "--", "set", "interface", "brt-p0", "type=internal", "ofport_request=7"),
        *("--", "set", "bridge", A, "protocols=OpenFlow15"),
    )
    ofctl = ("ovs-ofctl", "-O", "OpenFlow15", "add-flow", A)
    bridge.run(*ofctl, "cookie=0x636f726c00000001,table=3,priority=9,udp,in_port=7,actions=output:7,LOCAL")
    bridge.run(*ofctl, "table=3,priority=5,send_flow_rem,actions=drop")
    found = [flow for flow in salt.cmd("ovs.flows", A)[A] if flow["table"] == 3]
    assert [(flow["priority"], flow["ours"], flow["n_packets"], flow["flags"]) for flow in found] == [
        (9, True, 0, []),
        (5, False, 0, ["send_flow_rem"]),
    ]
    assert found[0]["match"] == {"udp": True, "in_port": "brt-p0"}
    assert found[0]["actions"] == ["output:brt-p0", f"output:{A}"]
    assert found[1]["actions"] == ["drop"]
    assert found[0]["duration"] >= 0
    assert A in salt.cmd("ovs.flows")


@pytest.mark.parametrize("function", ["ovs.fdb", "ovs.flows"])
def test_no_such_bridge(salt: Any, bridge: ModuleType, function: str) -> None:
    with pytest.raises(CommandExecutionError, match="There is no such bridge as brt-none on this host"):
        salt.cmd(function, "brt-none")


def test_a_switch_that_hangs_is_told_within_the_timeout(salt: Any, bridge: ModuleType) -> None:
    with bridge.stopped("ovs-vswitchd"):
        for function in ("ovs.flows", "ovs.fdb", "ovs.tunnel_status"):
            with pytest.raises(CommandExecutionError, match=r"no answer within 1 s"):
                salt.cmd(function, timeout=1, **({"mine": {}} if function == "ovs.tunnel_status" else {}))
    with bridge.stopped("ovsdb-server"), pytest.raises(CommandExecutionError, match="no answer within 1 s"):
        salt.cmd("ovs.controllers", timeout=1)


def test_controllers_and_managers(salt: Any, bridge: ModuleType) -> None:
    """One connects, one is refused; Open vSwitch says so some seconds later."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        targets = [f"tcp:127.0.0.1:{listener.getsockname()[1]}", "tcp:127.0.0.1:9"]
        bridge.vsctl("set-controller", A, targets[1], "--", "set-manager", *targets, "ptcp:0:127.0.0.1")
        try:
            seen = awaited(
                lambda: salt.cmd("ovs.controllers"),
                lambda seen: (
                    all(one["last_error"] for one in seen["controllers"][A])
                    and {one["target"] for one in seen["managers"] if one["healthy"]}
                    == {targets[0], "ptcp:0:127.0.0.1"}
                ),
            )
        finally:
            bridge.vsctl("del-manager")
    assert seen["healthy"] is False
    assert f"{A}: {targets[1]} is not connected (" in seen["reason"]
    assert "Connection refused" in seen["reason"]
    assert targets[0] not in seen["reason"]


def far_side(**fields: Any) -> dict[str, Any]:
    end = {"type": "vxlan", "key": str(KEY), "local_ip": THERE, "remote_ip": HERE, "mtu": 1450}
    return {"far-host": {"vx-back": {**end, **fields}}}


def test_a_healthy_tunnel(salt: Any, far: ModuleType) -> None:
    found = salt.cmd("ovs.tunnel_status", TUNNEL, probe=True, mine=far_side())[TUNNEL]
    assert (found["healthy"], found["reason"]) == (True, ""), found
    assert (found["type"], found["key"], found["remote_ip"]) == ("vxlan", str(KEY), THERE)
    assert found["mtu"] == {"own": None, "egress": 1500, "guest": 1450}
    assert found["peer"]["route"]["device"] == UNDERLAY
    assert found["peer"]["echo"]["full_size"] is True
    assert found["peer"]["neighbour"]["address"] == THERE
    assert found["far"] == {"minion": "far-host", "port": "vx-back", "key": str(KEY), "mtu": 1450}
    assert (found["bfd"], found["cfm"]) == (None, None)
    assert salt.cmd("ovs.tunnels")[TUNNEL] == {
        "type": "vxlan",
        "key": str(KEY),
        "remote_ip": THERE,
        "local_ip": HERE,
        "mtu": 1450,
    }


def test_the_other_end_is_found_in_the_mine(salt: Any, far: ModuleType) -> None:
    """The only minion here tells its own ends; a tunnel from this host to itself has both of them."""
    far.vsctl(
        *("add-port", OVERLAY, "brt-ovs-vx1", "--", "set", "interface", "brt-ovs-vx1", "type=vxlan"),
        *(f"options:remote_ip={HERE}", f"options:local_ip={THERE}", "options:key=1002"),
    )
    assert salt.cmd("ovs.tunnel_status", TUNNEL)[TUNNEL]["far"] is None
    assert salt.cmd("mine.send", "ovs.tunnels")
    found = salt.cmd("ovs.tunnel_status", TUNNEL)[TUNNEL]
    assert found["far"]["port"] == "brt-ovs-vx1"
    assert "its key is 1001" in found["reason"]
    assert salt.cmd("mine.flush")


def ipv4(far: ModuleType, *words: str) -> None:
    far.run("ip", "-n", SPACE, *words)


@pytest.mark.parametrize(
    ("fault", "mine", "reason"),
    [
        (
            lambda far: None,
            far_side(key="1002", mtu=1400),
            "its key is 1001, that of far-host's vx-back is 1002;"
            " it takes packets of 1450 bytes, far-host's vx-back of 1400",
        ),
        (
            lambda far: far.run("ip", "address", "flush", "dev", UNDERLAY),
            {},
            f"there is no route to {THERE}",
        ),
        (
            lambda far: ipv4(far, "address", "flush", "dev", "u1"),
            {},
            f"{THERE} does not answer on {UNDERLAY}",
        ),
        (
            lambda far: ipv4(far, "link", "set", "u1", "mtu", "1400"),
            {},
            f"{THERE} does not answer an ICMP echo of 1500 bytes: something on the way has a smaller MTU",
        ),
        (
            lambda far: far.vsctl("remove", "interface", TUNNEL, "options", "remote_ip"),
            {},
            f"{TUNNEL}: vxlan type requires valid 'remote_ip' argument",
        ),
    ],
    ids=["another key", "no route", "nobody there", "a narrow way", "refused"],
)
def test_what_is_wrong_with_a_tunnel(
    salt: Any, far: ModuleType, fault: Callable[[ModuleType], None], mine: Any, reason: str
) -> None:
    fault(far)
    found = awaited(
        lambda: salt.cmd("ovs.tunnel_status", TUNNEL, probe=True, mine=mine)[TUNNEL],
        lambda seen: (not seen["healthy"] and "ICMP echo" not in seen["reason"]) or "1500" in seen["reason"],
    )
    assert found["reason"] == reason


def test_bfd_and_cfm_of_a_far_end_that_does_not_speak_them(salt: Any, far: ModuleType) -> None:
    far.vsctl(
        "set",
        "interface",
        TUNNEL,
        "bfd:enable=true",
        "bfd:min_tx=100",
        "cfm_mpid=7",
        "other_config:cfm_interval=100",
    )
    found = awaited(
        lambda: salt.cmd("ovs.tunnel_status", TUNNEL)[TUNNEL],
        lambda seen: bool(seen["bfd"]) and bool(seen["cfm"]) and seen["cfm"]["fault"] is not None,
    )
    assert found["bfd"]["state"] == "down"
    assert found["reason"] == "BFD is down (No Diagnostic); CFM has a fault (recv)"


def test_no_such_tunnel(salt: Any, far: ModuleType) -> None:
    with pytest.raises(CommandExecutionError, match=f"There is no such tunnel as {CABLE} on this host"):
        salt.cmd("ovs.tunnel_status", CABLE)

"""OpenFlow flows of a bridge: owned by cookie, compared by ovs-ofctl, written in one bundle."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed

A = "brt-ovs-a"


@pytest.fixture
def flows(switch: ModuleType) -> Callable[[], list[str]]:
    """A bridge with two ports, and a look at its flows."""
    switch.vsctl("add-br", A, "--", "set", "bridge", A, "datapath_type=netdev")
    for port in ("brt-p1", "brt-p2"):
        switch.vsctl("add-port", A, port, "--", "set", "interface", port, "type=internal")

    def look() -> list[str]:
        return sorted(switch.run("ovs-ofctl", "--no-stats", "--names", "dump-flows", A).splitlines())

    return look


def test_flows(four_ways: Any, flows: Callable[[], list[str]], switch: ModuleType) -> None:
    """Written as people write them, compared in Open vSwitch's normal form; those of others stay."""
    switch.run("ovs-ofctl", "add-flow", A, "table=9,priority=3,udp,actions=drop")
    made = four_ways(
        "ovs.bridge_present",
        A,
        flows=[
            "table=0, priority=10, in_port=brt-p1, tcp, tp_dst=0x50, actions=output:brt-p2",
            "priority=0,actions=NORMAL",
            "table=2,dl_vlan=5,idle_timeout=0,actions=strip_vlan,set_tunnel:1001,resubmit(,3)",
        ],
        look=flows,
        disturb=lambda: switch.run("ovs-ofctl", "-OOpenFlow13", "mod-flows", A, "table=2,actions=drop"),
        drift={
            f"{A}.flows.table=2,dl_vlan=5": {
                "old": "actions=drop",
                "new": "actions=pop_vlan,set_field:0x3e9->tun_id,resubmit(,3)",
            }
        },
    )
    assert made[f'{A}.flows.priority=10,tcp,in_port="brt-p1",tp_dst=80'] == {
        "old": None,
        "new": 'actions=output:"brt-p2"',
    }
    assert any("udp actions=drop" in flow for flow in flows()), "a flow of somebody else"
    assert f"{A}.flows.priority=0" not in made, "ovs-vswitchd's own flow does the same"


def test_the_flow_of_a_standalone_bridge_gives_way(state: Any, flows: Callable[[], list[str]]) -> None:
    run = state("ovs.bridge_present", A, fail_mode="secure", flows=["priority=0,actions=drop"])
    assert run["changes"] == {
        f"{A}.fail_mode": {"old": None, "new": "secure"},
        f"{A}.flows.priority=0": {"old": "actions=NORMAL", "new": "actions=drop"},
    }, run
    assert [flow.strip().split(" ", 1)[1] for flow in flows()] == ["priority=0 actions=drop"]


def test_only_our_flows_are_purged(state: Any, flows: Callable[[], list[str]], switch: ModuleType) -> None:
    switch.run("ovs-ofctl", "add-flow", A, "table=9,priority=3,udp,actions=drop")
    declared = {A: {"datapath_type": "netdev", "flows": ["table=5,actions=drop", "table=6,actions=drop"]}}
    assert state("ovs.switch_managed", "switch", bridges=declared)["result"] is True
    declared[A]["flows"] = ["table=6,actions=drop"]
    run = state("ovs.switch_managed", "switch", bridges=declared)
    assert (run["result"], run["changes"]) == (
        True,
        {f"{A}.flows.table=5": {"old": "actions=drop", "new": None}},
    ), run
    assert [flow for flow in flows() if "udp" in flow]
    declared[A]["flows"] = []
    run = state("ovs.switch_managed", "switch", bridges=declared)
    assert list(run["changes"]) == [f"{A}.flows.table=6"]
    again = state("ovs.switch_managed", "switch", bridges={A: {"datapath_type": "netdev"}})
    assert again["changes"] == {}


def test_a_bridge_its_ports_and_their_flows_in_one_run(state: Any, switch: ModuleType, salt: Any) -> None:
    """A flow may name ports that the same declaration makes, and go together with one of them."""
    declared = {
        A: {
            "datapath_type": "netdev",
            "fail_mode": "secure",
            "protocols": ["OpenFlow13"],
            "ports": {"brt-p1": {"type": "internal"}, "brt-p2": {"type": "internal"}},
            "flows": ["in_port=brt-p1,actions=brt-p2", "in_port=brt-p2,actions=brt-p1"],
        }
    }
    preview = state("ovs.switch_managed", "switch", bridges=declared, test=True)
    run = state("ovs.switch_managed", "switch", bridges=declared)
    assert (run["result"], run["changes"]) == (True, preview["changes"]), run
    assert run["changes"][f'{A}.flows.in_port="brt-p1"'] == {"old": None, "new": 'actions=output:"brt-p2"'}
    assert state("ovs.switch_managed", "switch", bridges=declared)["changes"] == {}
    declared[A]["ports"] = {"brt-p1": {"type": "internal"}, "brt-p3": {"type": "internal"}}
    declared[A]["flows"] = ["in_port=brt-p1,actions=brt-p3"]
    preview = state("ovs.switch_managed", "switch", bridges=declared, test=True)
    run = state("ovs.switch_managed", "switch", bridges=declared)
    assert (run["result"], run["changes"]) == (True, preview["changes"]), run
    assert state("ovs.switch_managed", "switch", bridges=declared)["changes"] == {}
    shown = switch.run("ovs-ofctl", "-OOpenFlow13", "--no-stats", "--names", "dump-flows", A)
    assert shown.count("actions=") == 1, shown


WRONG = [
    (["in_port=brt-none,actions=drop"], f"bridges.{A}.flows: 'in_port=brt-none,actions=drop' is not a flow"),
    (["tpc,actions=drop"], f"bridges.{A}.flows: 'tpc,actions=drop' is not a flow"),
    (["cookie=5,actions=drop"], f"bridges.{A}.flows[0]: has a cookie"),
    (["strip_vlan,actions=drop"], f"bridges.{A}.flows: 'strip_vlan,actions=drop' is not a flow"),
    (["actions=strip_vlan,output:brt-p1"], "OpenFlow14 has no such actions for what it matches"),
    (["in_port=brt-p1"], f"bridges.{A}.flows[0]: 'in_port=brt-p1' is not a flow"),
    (["udp,actions=drop"], f"bridges.{A}.flows: udp is there already with actions=NORMAL and cookie 0x7"),
    (["tcp,actions=drop"] * 2, f"bridges.{A}.flows[1]: stands there twice"),
]


@pytest.mark.parametrize(("declared", "sentence"), WRONG, ids=[one[1] for one in WRONG])
def test_wrong_flows(
    state: Any, flows: Callable[[], list[str]], switch: ModuleType, declared: list[str], sentence: str
) -> None:
    switch.run("ovs-ofctl", "add-flow", A, "cookie=7,udp,actions=NORMAL")
    before = flows(), switch.configuration()
    assert_failed(state("ovs.bridge_present", A, flows=declared, external_ids={"a": "b"}), sentence)
    assert (flows(), switch.configuration()) == before


def test_a_bridge_learns_another_version_with_its_flows(
    state: Any, flows: Callable[[], list[str]], switch: ModuleType
) -> None:
    """Before that it cannot be asked for them in the version that is declared."""
    switch.vsctl("set", "bridge", A, "protocols=OpenFlow10")
    declared = {"protocols": ["OpenFlow13"], "flows": ["in_port=brt-p1,actions=drop"]}
    preview = state("ovs.bridge_present", A, test=True, **declared)
    run = state("ovs.bridge_present", A, **declared)
    assert (run["result"], run["changes"]) == (True, preview["changes"]), run
    assert state("ovs.bridge_present", A, **declared)["changes"] == {}
    assert "in_port" in switch.run("ovs-ofctl", "-OOpenFlow13", "dump-flows", A)


def test_a_bridge_without_a_version_for_bundles(
    state: Any, flows: Callable[[], list[str]], switch: ModuleType
) -> None:
    switch.vsctl("set", "bridge", A, "protocols=OpenFlow10")
    before = switch.configuration()
    answer = state("ovs.bridge_present", A, flows=["tcp,actions=drop"])
    assert_failed(
        answer, f"bridges.{A}.flows: OpenFlow14, OpenFlow13 or OpenFlow15 must be among its protocols"
    )
    assert switch.configuration() == before

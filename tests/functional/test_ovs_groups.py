"""OpenFlow groups of a bridge: owned by what its external_ids say, read and written in one go."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed

A = "brt-ovs-a"
NETDEV = {"datapath_type": "netdev"}
PORTS = {"brt-p1": {"type": "internal"}, "brt-p2": {"type": "internal"}}
NINE = "type=all,bucket=bucket_id:0,actions=LOCAL"  # how somebody else's group reads


@pytest.fixture
def look(switch: ModuleType) -> Callable[[], Any]:
    """A bridge with two ports and somebody else's group, and a look at all of it."""
    switch.vsctl("add-br", A, "--", "set", "bridge", A, "datapath_type=netdev")
    for port in PORTS:
        switch.vsctl("add-port", A, port, "--", "set", "interface", port, "type=internal")
    ofctl(switch, "add-group", A, "group_id=9,type=all,bucket=LOCAL")
    return lambda: (groups(switch), switch.configuration())


def ofctl(switch: ModuleType, *words: str) -> str:
    return str(switch.run("ovs-ofctl", "-O", "OpenFlow15", "--names", *words))


def groups(switch: ModuleType) -> dict[str, str]:
    found = (line.strip() for line in ofctl(switch, "dump-groups", A).splitlines()[1:])
    return {line.removeprefix("group_id=").partition(",")[0]: line.partition(",")[2] for line in found}


def flows(switch: ModuleType) -> list[str]:
    shown = ofctl(switch, "--no-stats", "dump-flows", A).splitlines()
    return sorted(line.strip() for line in shown if "actions=" in line)


def owned(switch: ModuleType) -> dict[str, str]:
    found = json.loads(switch.vsctl("--format=json", "--columns=external_ids", "list", "Bridge", A))
    return {key: value for key, value in found["data"][0][0][1] if key.startswith("corral-groups")}


def test_groups(four_ways: Any, look: Callable[[], Any], switch: ModuleType, salt: Any) -> None:
    """Written as people write them, shown as Open vSwitch reads them; those of others stay."""
    failover = (
        'type=ff,bucket=bucket_id:0,watch_port:"brt-p1",actions=output:"brt-p1",'
        'bucket=bucket_id:1,watch_port:"brt-p2",actions=pop_vlan,output:"brt-p2"'
    )
    made = four_ways(
        "ovs.bridge_present",
        A,
        groups=[
            "group_id=0x1, type=select, bucket=output:brt-p1, bucket=weight:50,actions=strip_vlan,brt-p2",
            "group_id=2,type=ff,bucket=watch_port:brt-p1,brt-p1,bucket=watch_port=brt-p2,strip_vlan,output=brt-p2",
            "type=select,selection_method=hash,fields(nw_dst,tp_dst=0xff),group_id=3,bucket=group:1,bucket=drop",
            f"group_id=4,type=indirect,bucket=set_tunnel:5,output:{A}",
            "group_id=9,type=all,bucket=LOCAL",
        ],
        look=look,
        disturb=lambda: ofctl(switch, "mod-group", A, "group_id=2,type=all,bucket=drop"),
        drift={
            f"{A}.groups.2": {"old": "type=all,bucket=bucket_id:0,actions=drop", "new": failover},
        },
    )
    assert {path.removeprefix(f"{A}.groups."): change["new"] for path, change in made.items()} == {
        "1": 'type=select,bucket=bucket_id:0,actions=output:"brt-p1",'
        'bucket=bucket_id:1,weight:50,actions=pop_vlan,output:"brt-p2"',
        "2": failover,
        "3": "type=select,selection_method=hash,fields(ip_dst,tcp_dst=255),"
        "bucket=bucket_id:0,actions=group:1,bucket=bucket_id:1,actions=drop",
        "4": "type=indirect,bucket=bucket_id:0,actions=set_field:0x5->tun_id,LOCAL",
    }
    assert owned(switch) == {"corral-groups/ovs.bridge_present": "1 2 3 4"}
    assert "external_ids" not in salt.cmd("ovs.show")["bridges"][A], "Corral's own notes are not shown"
    assert groups(switch)["9"] == NINE


def test_only_our_groups_are_purged(state: Any, look: Callable[[], Any], switch: ModuleType) -> None:
    """Exact under switch_managed; what it made counts, not what another state made, or nobody of us."""
    assert state("ovs.bridge_present", A, groups=["group_id=8,type=all,bucket=drop"])["result"] is True
    one, two = "group_id=1,type=all,bucket=brt-p1", "group_id=2,type=all,bucket=brt-p2"
    declared: dict[str, Any] = {A: {**NETDEV, "groups": [one, two]}}
    assert state("ovs.switch_managed", "switch", bridges=declared)["result"] is True
    declared[A]["groups"] = [two]
    gone = {f"{A}.groups.1": {"old": 'type=all,bucket=bucket_id:0,actions=output:"brt-p1"', "new": None}}
    preview = state("ovs.switch_managed", "switch", bridges=declared, test=True)
    run = state("ovs.switch_managed", "switch", bridges=declared)
    assert (run["result"], run["changes"], preview["changes"]) == (True, gone, gone), run
    assert owned(switch)["corral-groups/ovs.switch_managed"] == "2"
    assert groups(switch).keys() == {"2", "8", "9"}
    unmentioned = state("ovs.switch_managed", "switch", bridges={A: NETDEV})
    assert unmentioned["changes"] == {}
    declared[A]["groups"] = []
    assert state("ovs.switch_managed", "switch", bridges=declared)["result"] is True
    assert state("ovs.switch_managed", "switch", bridges=declared)["changes"] == {}
    assert groups(switch).keys() == {"8", "9"}
    assert owned(switch) == {"corral-groups/ovs.bridge_present": "8"}


def test_a_group_that_is_gone_is_nobodys(state: Any, look: Callable[[], Any], switch: ModuleType) -> None:
    """Open vSwitch forgets groups when it stops: an id that somebody else then takes is not ours."""
    declared: dict[str, Any] = {A: {**NETDEV, "groups": ["group_id=1,type=all,bucket=brt-p1"]}}
    assert state("ovs.switch_managed", "switch", bridges=declared)["result"] is True
    ofctl(switch, "del-groups", A, "group_id=1")
    run = state("ovs.switch_managed", "switch", bridges={A: {**NETDEV, "groups": []}})
    assert run["changes"] == {f"{A}.groups.1": {"old": "not on the bridge", "new": None}}, run
    assert owned(switch) == {}
    assert state("ovs.switch_managed", "switch", bridges={A: {**NETDEV, "groups": []}})["changes"] == {}


def test_a_bridge_its_ports_groups_and_flows_in_one_run(state: Any, switch: ModuleType) -> None:
    """On a bridge that is not there yet, a flow uses a group that uses a port; later all are replaced."""
    bridge: dict[str, Any] = {
        **NETDEV,
        "fail_mode": "secure",
        "ports": PORTS,
        "groups": ["group_id=5,type=select,bucket=brt-p2"],
        "flows": ["in_port=brt-p1,actions=group:5"],
    }
    for again in (
        {},
        {"ports": {"brt-p1": {"type": "internal"}, "brt-p3": {"type": "internal"}}}
        | {"groups": ["group_id=6,type=all,bucket=brt-p3"], "flows": ["in_port=brt-p1,actions=group:6"]},
        {"protocols": ["OpenFlow13"], "groups": ["group_id=6,type=all,bucket=brt-p1"]},
    ):
        bridge |= again
        preview = state("ovs.switch_managed", "switch", bridges={A: bridge}, test=True)
        run = state("ovs.switch_managed", "switch", bridges={A: bridge})
        assert (run["result"], run["changes"]) == (True, preview["changes"]), run
        assert state("ovs.switch_managed", "switch", bridges={A: bridge})["changes"] == {}
    shown = switch.run("ovs-ofctl", "-O", "OpenFlow13", "--names", "dump-groups", A)
    assert shown.count("group_id") == 1 and 'group_id=6,type=all,bucket=actions=output:"brt-p1"' in shown


def test_flows_that_use_a_group_stay_while_it_changes(
    state: Any, look: Callable[[], Any], switch: ModuleType
) -> None:
    """Somebody else's flow to our group: it goes on in place, as OpenFlow removes flows with their group."""
    one = {A: {**NETDEV, "groups": ["group_id=5,type=select,bucket=brt-p2"]}}
    assert state("ovs.switch_managed", "switch", bridges=one)["result"] is True
    ofctl(switch, "add-flow", A, "in_port=brt-p1,actions=group:5")
    one[A]["groups"] = ["group_id=5,type=all,bucket=brt-p2,bucket=LOCAL"]
    assert state("ovs.switch_managed", "switch", bridges=one)["result"] is True
    assert 'in_port="brt-p1" actions=group:5' in flows(switch)


WRONG = [
    (["type=all,bucket=drop"], f"bridges.{A}.groups[0]: 'type=all,bucket=drop' is not a group"),
    (["group_id=4294967200,type=all"], f"bridges.{A}.groups[0]: 4294967200 is not the id of a group"),
    (["delete group_id=5,type=all"], f"bridges.{A}.groups[0]: 'group_id=5,delete"),
    (["group_id=5,bucket=drop"], f"bridges.{A}.groups[0]: 'group_id=5,bucket=drop' is not a group: must"),
    (["group_id=5,type=al"], "is not a group: invalid group type al"),
    (["group_id=5,type=all", "group_id=6,type=all,bucket=brt-none"], f"bridges.{A}.groups[1]: 'group_id=6"),
    (["group_id=5,type=ff,bucket=brt-p1"], "fast failover bucket requires watch_port or watch_group"),
    (["group_id=5,type=all,bucket=output:nope:"], f"bridges.{A}.groups[0]: 'group_id=5,type=all,bucket="),
    (["group_id=5,type=all", "group_id=0x5,type=ff"], f"bridges.{A}.groups[1]: group_id=5 is that of groups"),
    (
        ["group_id=9,type=select,bucket=drop"],
        f"bridges.{A}.groups: group 9 is there already with {NINE}, which is not Corral's",
    ),
]


@pytest.mark.parametrize(("declared", "sentence"), WRONG, ids=[one[1] for one in WRONG])
def test_wrong_groups(state: Any, look: Callable[[], Any], declared: list[str], sentence: str) -> None:
    before = look()
    answer = state("ovs.bridge_present", A, groups=declared, other_config={"a": "b"})
    assert_failed(answer, sentence)
    assert look() == before


def test_a_group_that_another_state_made(state: Any, look: Callable[[], Any]) -> None:
    assert state("ovs.bridge_present", A, groups=["group_id=5,type=all,bucket=drop"])["result"] is True
    before = look()
    declared = {A: {**NETDEV, "groups": ["group_id=5,type=all"]}}
    answer = state("ovs.switch_managed", "switch", bridges=declared)
    assert_failed(answer, "bucket_id:0,actions=drop, which ovs.bridge_present made")
    assert look() == before


RECORD = "corral-groups/ovs.switch_managed"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"bridges": {A: {"external_ids": {RECORD: "1"}}}},
            f"bridges.{A}.external_ids.{RECORD}: is Corral's own mark",
        ),
        (
            {"db": {"Bridge": {A: {"external_ids": {RECORD: "1"}}}}},
            f"db.Bridge.{A}.external_ids.{RECORD}: is Corral's own mark",
        ),
        (
            {
                "bridges": {
                    A: NETDEV,
                    "brt-ovs-f": {"parent": A, "vlan": 5, "groups": ["group_id=1,type=all"]},
                }
            },
            "bridges.brt-ovs-f.groups: a fake bridge has none of its own",
        ),
    ],
)
def test_what_is_not_declared(
    state: Any, look: Callable[[], Any], arguments: dict[str, Any], sentence: str
) -> None:
    before = look()
    assert_failed(state("ovs.switch_managed", "switch", **arguments), sentence)
    assert look() == before


@pytest.mark.parametrize(
    ("protocols", "declared", "sentence"),
    [
        (
            "OpenFlow10",
            "group_id=1,type=all",
            "OpenFlow15, OpenFlow14 or OpenFlow13 must be among its protocols",
        ),
        (
            "OpenFlow13",
            "group_id=1,type=select,selection_method=hash,fields=ip_dst,bucket=drop",
            "has a selection_method, for which OpenFlow15 must be among",
        ),
    ],
)
def test_versions_without_words_for_a_group(
    state: Any, look: Callable[[], Any], switch: ModuleType, protocols: str, declared: str, sentence: str
) -> None:
    switch.vsctl("set", "bridge", A, f"protocols={protocols}")
    before = switch.configuration()
    assert_failed(state("ovs.bridge_present", A, groups=[declared]), f"bridges.{A}.groups: ", sentence)
    assert switch.configuration() == before

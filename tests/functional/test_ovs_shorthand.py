"""Fake bridges and patch pairs on a real Open vSwitch."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed

A, B, FAKE = "brt-ovs-a", "brt-ovs-b", "brt-mgmt0"
NETDEV = ("datapath_type=netdev",)


@pytest.fixture
def bridges(switch: ModuleType) -> ModuleType:
    for name in (A, B):
        switch.vsctl("add-br", name, "--", "set", "bridge", name, *NETDEV)
    return switch


def test_a_fake_bridge(four_ways: Any, state: Any, bridges: ModuleType) -> None:
    """S1.7: ``add-br mgmt0 cloudbr0 123``; with another VLAN it is changed, and its guests go with it."""
    made = four_ways(
        "ovs.bridge_present",
        FAKE,
        parent=A,
        vlan=123,
        external_ids={"role": "mgmt"},
        ports={"brt-p1": {"type": "internal"}},
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("set", "port", "brt-p1", "tag=5"),
        drift={f"{A}.ports.brt-p1.tag": {"old": 5, "new": 123}},
    )
    assert set(made) == {f"{A}.ports.{FAKE}", f"{A}.ports.brt-p1"}
    assert bridges.vsctl("br-to-parent", FAKE) == A
    assert bridges.vsctl("br-to-vlan", FAKE) == "123"
    assert bridges.vsctl("list-ports", FAKE) == "brt-p1"
    assert bridges.vsctl("br-get-external-id", FAKE, "role") == "mgmt"

    bridges.vsctl("add-port", FAKE, "vnet91", "--", "set", "interface", "vnet91", "type=internal")
    moved = state("ovs.bridge_present", FAKE, parent=A, vlan=124, ports={"brt-p1": {}})
    assert moved["result"] is True, moved
    assert bridges.vsctl("list-ports", FAKE).split() == ["brt-p1", "vnet91"]
    assert bridges.vsctl("br-to-vlan", FAKE) == "124"
    bridges.vsctl("add-port", A, "brt-p2", "tag=9", "--", "set", "interface", "brt-p2", "type=internal")
    gone = state("ovs.bridge_absent", FAKE)
    assert gone["result"] is True, gone
    assert bridges.vsctl("list-ports", A) == "brt-p2"


def test_a_fake_bridge_and_its_parent_in_one_declaration(state: Any, switch: ModuleType) -> None:
    declared = {
        A: {"datapath_type": "netdev", "ports": {"brt-p1": {"type": "internal"}}},
        FAKE: {
            "parent": A,
            "vlan": 7,
            "ports": {"brt-p2": {"type": "internal"}, "brt-p3": {"type": "internal"}},
        },
    }
    run = state("ovs.switch_managed", "switch", bridges=declared)
    assert run["result"] is True, run
    assert state("ovs.switch_managed", "switch", bridges=declared)["changes"] == {}
    del declared[FAKE]["ports"]["brt-p3"]
    purged = state("ovs.switch_managed", "switch", bridges=declared)
    assert list(purged["changes"]) == [f"{A}.ports.brt-p3"], purged
    del declared[FAKE]
    purged = state("ovs.switch_managed", "switch", bridges=declared)
    assert set(purged["changes"]) == {f"{A}.ports.{FAKE}", f"{A}.ports.brt-p2"}, purged


def test_a_patch_pair_is_declared_once(four_ways: Any, bridges: ModuleType) -> None:
    """S3.2."""
    made = four_ways(
        "ovs.port_present",
        "brt-patch-a",
        bridge=A,
        peer="brt-patch-b",
        peer_bridge=B,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("del-port", "brt-patch-b"),
        drift={
            f"{B}.ports.brt-patch-b": {
                "old": None,
                "new": {"type": "patch", "options": {"peer": "brt-patch-a"}},
            }
        },
    )
    assert set(made) == {f"{A}.ports.brt-patch-a", f"{B}.ports.brt-patch-b"}
    assert bridges.vsctl("get", "interface", "brt-patch-a", "options:peer") == "brt-patch-b"


WRONG = [
    (
        {FAKE: {"parent": A}},
        f"bridges.{FAKE}.vlan: is required: a fake bridge has a parent and a vlan",
    ),
    ({FAKE: {"parent": A, "vlan": 5000}}, f"bridges.{FAKE}.vlan: 5000 is not a VLAN id (1–4094)"),
    (
        {FAKE: {"parent": A, "vlan": 5, "stp": True}},
        f"bridges.{FAKE}.stp: a fake bridge has none of its own, declare it for {A}",
    ),
    (
        {FAKE: {"parent": A, "vlan": 5, "ports": {"brt-p1": {"tag": 6}}}},
        f"bridges.{FAKE}.ports.brt-p1.tag: is that of the fake bridge and cannot be declared",
    ),
    (
        {FAKE: {"parent": A, "vlan": 5}, "brt-mgmt1": {"parent": FAKE, "vlan": 6}},
        f"bridges.brt-mgmt1.parent: {FAKE} is a fake bridge itself",
    ),
    ({FAKE: {"parent": "brt-none", "vlan": 5}}, "bridges.brt-none: there is no bridge brt-none on this host"),
    (
        {A: {"ports": {"brt-pa": {"peer": "brt-pb"}}}},
        f"bridges.{A}.ports.brt-pa.peer_bridge: is required",
    ),
    (
        {A: {"ports": {"brt-pa": {"peer": "brt-pb", "peer_bridge": A}}}},
        f"bridges.{A}.ports.brt-pa.peer_bridge: is the bridge that the port is on",
    ),
    (
        {A: {"ports": {"brt-pa": {"peer": "brt-pb", "peer_bridge": "brt-none"}}}},
        "bridges.brt-none: there is no bridge brt-none on this host",
    ),
    (
        {A: {"ports": {"brt-pa": {"type": "vxlan", "peer": "brt-pb", "peer_bridge": B}}}},
        f"bridges.{A}.ports.brt-pa.peer: a port of type vxlan has none, only a patch has",
    ),
    (
        {A: {"ports": {"brt-pb": {}, "brt-pa": {"peer": "brt-pb", "peer_bridge": B}}}},
        f"bridges.{A}.ports.brt-pa.peer: 'brt-pb' is already used by bridges.{A}.ports.brt-pb",
    ),
    ({"Port": {}}, "bridges.Port: Port is a table of the database, no name for a bridge"),
]


@pytest.mark.parametrize(("declared", "sentence"), WRONG, ids=[one[1] for one in WRONG])
def test_wrong_shorthand(state: Any, bridges: ModuleType, declared: dict[str, Any], sentence: str) -> None:
    before = bridges.configuration()
    assert_failed(state("ovs.switch_managed", "switch", bridges=declared), sentence)
    assert bridges.configuration() == before


def test_a_fake_bridge_gets_another_parent(state: Any, bridges: ModuleType) -> None:
    """With what is on it: a guest's port keeps its row, and so its number in the statistics."""
    bridges.vsctl("add-br", FAKE, A, "5")
    bridges.vsctl("add-port", FAKE, "vnet92", "--", "set", "interface", "vnet92", "type=internal")
    kept = bridges.uuid("Port", "vnet92")
    moved = state("ovs.bridge_present", FAKE, parent=B, vlan=7)
    assert moved["result"] is True, moved
    assert (bridges.vsctl("br-to-parent", FAKE), bridges.vsctl("br-to-vlan", FAKE)) == (B, "7")
    assert bridges.vsctl("list-ports", FAKE) == "vnet92"
    assert bridges.uuid("Port", "vnet92") == kept

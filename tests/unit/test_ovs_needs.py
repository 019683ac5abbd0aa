"""What a plan needs of the host and what it touches there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corral.change import Change
from corral.ovs.model import Switch
from corral.ovs.needs import interfaces_made, interfaces_needed, interfaces_touched, lacking
from corral.ovs.plan import plan
from tests.support import switches


def test_a_bond_that_is_made_and_then_gives_members_away_is_touched() -> None:
    current = switches.host({"br0": {"bonds": {"one": {"members": ["e1", "e2", "e3"]}}}, "br1": {}}, {})
    todo = (
        Change(("br0", "bonds", "one"), current.bridges["br0"]["bonds"]["one"], None),
        Change(("br1", "bonds", "one"), None, {"members": ["e1", "e2", "e3"]}),
        Change(("br1", "bonds", "one", "members"), ["e1", "e2", "e3"], ["e1", "e2"]),
        Change(("br1", "bonds", "two"), None, {"members": ["e3", "e4"]}),
    )
    assert interfaces_touched(todo, current) == {"e1", "e2", "e3", "e4"}


def test_what_is_touched_of_a_bridge_a_port_and_a_bond_that_goes() -> None:
    current = switches.host({"br0": {"bonds": {"one": {"members": ["e1", "e2"]}}}, "br1": {}}, {})
    todo = (
        Change(("br0", "bonds", "one"), current.bridges["br0"]["bonds"]["one"], None),
        Change(("br0", "ports", "p0", "tag"), None, 5),
        Change(("br1", "external_ids", "a"), None, "1"),
    )
    assert interfaces_touched(todo, current) == {"p0", "br1"}, "members of no bond are no part of the switch"


def test_interfaces_are_needed_or_made_by_the_type_of_their_port() -> None:
    todo = (
        Change(("br0",), None, {"datapath_type": "netdev"}),
        Change(("br1",), {"datapath_type": "netdev"}, None),
        Change(("br0", "ports", "p0"), None, {"type": "internal", "tag": 5}),
        Change(("br0", "ports", "p1", "type"), "system", "internal"),
        Change(("br0", "ports", "p2", "type"), "internal", "system"),
        Change(("br0", "ports", "p3"), None, {"tag": 5}),
        Change(("br0", "ports", "p4"), {"type": "internal"}, None),
        Change(("br0", "bonds", "b0"), None, {"members": ["e1", "e2"]}),
    )
    assert interfaces_made(todo) == {
        "br0": ("br0",),
        "p0": ("br0", "ports", "p0"),
        "p1": ("br0", "ports", "p1", "type"),
    }
    assert interfaces_needed(todo) == {
        "p2": ("br0", "ports", "p2", "type"),
        "p3": ("br0", "ports", "p3"),
        "e1": ("br0", "bonds", "b0", "members"),
        "e2": ("br0", "bonds", "b0", "members"),
    }


OF_TYPE = "{} is of type {} in Open vSwitch, not a network interface of this host."
NOT_OURS = "there is already a network interface {} on this host that Open vSwitch did not make."
CURRENT = {
    "br0": {
        "ports": {
            "vx0": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7"}},
            "eth1": {},
            "in0": {"type": "internal"},
        },
        "bonds": {"bond0": {"members": ["eth2", "gone0"]}},
    }
}


@pytest.mark.parametrize(
    ("declared", "sentences"),
    [
        ({"br0": {"ports": {"eth3": {}, "vx0": {"tag": 5}}, "bonds": {"bond0": {"tag": 6}}}}, []),
        (
            {"br0": {"ports": {"eth9": {}}}},
            ["bridges.br0.ports.eth9: there is no network interface eth9 on this host."],
        ),
        (
            {"br0": {"ports": {"vx0": {"type": None}}}},
            ["bridges.br0.ports.vx0.type: " + OF_TYPE.format("vx0", "vxlan")],
        ),
        (
            {"br1": {"ports": {"in0": {"type": "system"}}}},
            ["bridges.br1.ports.in0: " + OF_TYPE.format("in0", "internal")],
        ),
        ({"br0": {"bonds": {"bond0": {"members": ["eth2", "in0", "vx0"]}}}}, []),
        (
            {"br0": {"bonds": {"bond1": {"members": ["eth3", "eth9"]}}}},
            ["bridges.br0.bonds.bond1.members: there is no network interface eth9 on this host."],
        ),
        ({"docker0": {}}, ["bridges.docker0: " + NOT_OURS.format("docker0")]),
        (
            {"br0": {"ports": {"eth3": {"type": "internal"}}}},
            ["bridges.br0.ports.eth3: " + NOT_OURS.format("eth3")],
        ),
        (
            {"br0": {"ports": {"eth1": {"type": "internal"}}}},
            ["bridges.br0.ports.eth1.type: " + NOT_OURS.format("eth1")],
        ),
        ({"br1": {"ports": {"in0": {"tag": 4}}}}, []),
        ({"gone1": {}}, []),
        ({"br0": {"ports": {"in0": None}}, "in0": {}}, []),
    ],
)
def test_what_stands_in_the_way_is_said(declared: dict[str, Any], sentences: list[str]) -> None:
    devices = {"lo", "docker0", "br0", "eth1", "eth2", "eth3", "in0"}
    current = replace(switches.host(CURRENT, {}), devices=devices | {"gone1"})
    assert list(lacking(plan(current, Switch.declare({"bridges": declared})), current, devices)) == sentences


def test_a_bridge_that_is_to_be_filled_must_be_there() -> None:
    desired = Switch.declare({"bridges": {"br7": {"ports": {"eth1": {}}}}})
    todo = plan(switches.host({}, {}), desired, within=True)
    assert list(lacking(todo, switches.host({}, {}), {"eth1"})) == [
        "bridges.br7: there is no bridge br7 on this host."
    ]

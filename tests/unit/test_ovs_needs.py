"""What a plan needs of the host and what it touches there."""

from __future__ import annotations

from corral.change import Change
from corral.ovs.needs import interfaces_made, interfaces_needed, interfaces_touched
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

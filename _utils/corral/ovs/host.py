"""A host's switch as it is, in the words of the declaration, complete with Open vSwitch's defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change

Spec = dict[str, Any]
Bridges = dict[str, Spec]
Row = Mapping[str, Any]

# What a key that is not in a row's Spec means; ovs-vswitchd.conf.db(5) gives the defaults.
DEFAULTS: dict[str, Spec] = {
    "bridges": {"datapath_type": "system", "stp": False, "rstp": False, "mcast_snooping": False},
    "ports": {"type": "system"},
    "bonds": {"mode": "active-backup", "lacp": "off", "lacp_time": "slow", "up_delay": 0, "down_delay": 0},
}
MAPS = ("options", "external_ids", "other_config")
CHILDREN = ("ports", "bonds")


@dataclass(frozen=True)
class Rows:
    """The database's own rows by name, as read: what a write is guarded with."""

    bridges: Mapping[str, Row] = field(default_factory=dict)
    ports: Mapping[str, Row] = field(default_factory=dict)
    interfaces: Mapping[str, Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Host:
    """One look at the switch.

    bridges
        ``{name: {…, "ports": {…}, "bonds": {…}}}``; a bridge's local port is among its ports.
        ``error`` in a spec is what ovs-vswitchd says is wrong there.
    owners
        Who of Corral made a bridge or port, by name; what is not in it was made by somebody else.
    devices
        The network interfaces that the host had just before the look.
    """

    bridges: Bridges
    owners: Mapping[str, str] = field(default_factory=dict)
    rows: Rows = field(default_factory=Rows, compare=False, repr=False)
    devices: frozenset[str] = field(default_factory=frozenset, compare=False)


def made(kind: str, declared: Mapping[str, Any], name: str = "") -> Spec:
    """Return what an object is once it was made from what a declaration says about it."""
    spec = {**DEFAULTS[kind], **copied(declared)}
    if kind == "bridges":
        spec["ports"] = {name: {"type": "internal"}}
        spec["bonds"] = {}
    return spec


def advance(bridges: Mapping[str, Spec], todo: Iterable[Change]) -> Bridges:
    """Return what a switch is after a plan was carried out; the given one stays as it is."""
    after = copied(bridges)
    for change in todo:
        step(after, change)
    return after


def step(bridges: Bridges, change: Change) -> None:
    """Carry out one change on a switch in memory."""
    *way, last = change.path
    node = bridges
    for part in way:
        node = node.setdefault(part, {})
    if change.new is None:
        node.pop(last, None)
        if not node and way and way[-1] in MAPS:
            del _at(bridges, way[:-1])[way[-1]]
    elif len(way) == 0:
        node[last] = made("bridges", change.new, last)
    elif len(way) == 2 and way[1] in CHILDREN:
        node[last] = made(way[1], change.new)
    else:
        node[last] = change.new


def _at(bridges: Bridges, way: list[str]) -> Spec:
    node: Spec = bridges
    for part in way:
        node = node[part]
    return node


def copied(node: Mapping[str, Any]) -> Spec:
    """Return a copy that shares no mapping with the original."""
    return {key: copied(value) if isinstance(value, dict) else value for key, value in node.items()}


def declarable(bridges: Mapping[str, Spec]) -> Bridges:
    """Return a switch as one would declare it: without local ports that have nothing of their own."""
    shown = copied(bridges)
    for name, bridge in shown.items():
        if bridge["ports"].get(name) == {"type": "internal"}:
            del bridge["ports"][name]
    return shown

"""A host's switch as it is, in the words of the declaration, complete with Open vSwitch's defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change, Path
from corral.ovs.columns import Record
from corral.ovs.flows import Difference
from corral.ovs.groups import Groups
from corral.ovs.own import TABLES
from corral.ovs.parts import HANGS, PARTS, ROOT

Spec = dict[str, Any]
Bridges = dict[str, Spec]
Row = Mapping[str, Any]

# What a key that is not in a row's Spec means; ovs-vswitchd.conf.db(5) gives the defaults.
DEFAULTS: dict[str, Spec] = {
    "bridges": {"datapath_type": "system", "stp": False, "rstp": False, "mcast_snooping": False},
    "ports": {"type": "system"},
    "bonds": {"mode": "active-backup", "lacp": "off", "lacp_time": "slow", "up_delay": 0, "down_delay": 0},
}
# What is not even said where it is so.
QUIET: Spec = {
    "protected": False,
    "fake_bridge": False,
    "ingress_policing_rate": 0,
    "ingress_policing_burst": 0,
}
MAPS = ("options", "external_ids", "other_config", "bfd", "cfm", "lldp")
CHILDREN = ("ports", "bonds")
NESTED = frozenset({*MAPS, *PARTS})  # keys whose value is compared part by part


@dataclass(frozen=True)
class Rows:
    """The database's own rows by name, as read: what a write is guarded with."""

    bridges: Mapping[str, Row] = field(default_factory=dict)
    ports: Mapping[str, Row] = field(default_factory=dict)
    interfaces: Mapping[str, Row] = field(default_factory=dict)
    root: Row = field(default_factory=dict)
    parts: Mapping[Path, Row] = field(default_factory=dict)  # by the path of their specification
    shared: frozenset[str] = frozenset()  # UUIDs of parts that hang on more than one row


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
    switch
        What is set for the switch as a whole, in the table Open_vSwitch.
    makers
        Who of Corral made what hangs on the switch, a bridge or a port, by its path.
    flows
        How the flows of a bridge differ from the declared ones, by bridge.
    groups
        The groups of a bridge beside the declared ones, by bridge.
    columns
        The records that ``db`` speaks of, by table and name.
    types
        The types of interfaces that ovs-vswitchd knows; empty if it does not say.
    """

    bridges: Bridges
    owners: Mapping[str, str] = field(default_factory=dict)
    rows: Rows = field(default_factory=Rows, compare=False, repr=False)
    devices: frozenset[str] = field(default_factory=frozenset, compare=False)
    switch: Spec = field(default_factory=dict)
    makers: Mapping[Path, str] = field(default_factory=dict)
    flows: Mapping[str, Difference] = field(default_factory=dict)
    groups: Mapping[str, Groups] = field(default_factory=dict)
    columns: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    types: frozenset[str] = field(default_factory=frozenset, compare=False)


def made(kind: str, declared: Mapping[str, Any], name: str = "") -> Spec:
    """Return what an object is once it was made from what a declaration says about it."""
    spec = {**DEFAULTS[kind], **copied(declared)}
    if kind == "bridges":
        spec["ports"] = {name: {"type": "internal"}}
        spec["bonds"] = {}
    return spec


def advance(bridges: Mapping[str, Spec], todo: Iterable[Change]) -> Bridges:
    """Return what the bridges are after a plan was carried out; the given ones stay as they are."""
    after = copied(bridges)
    for change in todo:
        if of_bridges(change):
            step(after, change)
    _forget_ports(after)
    return after


def _forget_ports(bridges: Bridges) -> None:
    """Take out of the mirrors what is on no bridge any more: the database's references to it are weak."""
    mirrors = [mirror for bridge in bridges.values() for mirror in bridge.get("mirrors", {}).values()]
    there = (
        {name for bridge in bridges.values() for kind in CHILDREN for name in bridge[kind]} if mirrors else ()
    )
    for mirror in mirrors:
        for key in PARTS["mirrors"].ports & mirror.keys():
            left = (
                [name for name in mirror[key] if name in there]
                if isinstance(mirror[key], list)
                else mirror[key]
            )
            if left and (isinstance(left, list) or left in there):
                mirror[key] = left
            else:
                del mirror[key]


def advanced(switch: Spec, todo: Iterable[Change]) -> Spec:
    """Return what is set for the switch as a whole after a plan was carried out."""
    after = {ROOT: copied(switch)}
    for change in todo:
        if of_switch(change):
            _set(after, change)
    return after[ROOT]


def of_bridges(change: Change) -> bool:
    """Whether a change is one of bridges or of what is on them, as the database has it."""
    return change.path[0] not in TABLES and change.path[1:2] not in (("flows",), ("groups",))


def of_flows(change: Change) -> bool:
    """Whether a change is one of a bridge's flows, which the database does not have."""
    return change.path[0] not in TABLES and change.path[1:2] == ("flows",)


def of_groups(change: Change) -> bool:
    """Whether a change is one of a bridge's groups, of which the database has only whose they are."""
    return change.path[0] not in TABLES and change.path[1:2] == ("groups",)


def of_switch(change: Change) -> bool:
    """Whether a change is one of the switch as a whole."""
    return change.path[0] == ROOT and (change.path[1] in HANGS[ROOT] or change.path[1] in MAPS)


def of_columns(change: Change) -> bool:
    """Whether a change is one of a column that is declared as it is."""
    return change.path[0] in TABLES and not of_switch(change)


def step(bridges: Bridges, change: Change) -> None:
    """Carry out one change of bridges on a switch in memory."""
    path, new = change.path, change.new
    if len(path) == 1 and new is not None:
        bridges[path[0]] = made("bridges", new, path[0])
    elif len(path) == 3 and path[1] in CHILDREN and new is not None:
        # What is declared of a bridge that is not there has no bridge to be put on.
        bridges.setdefault(path[0], {}).setdefault(path[1], {})[path[2]] = made(path[1], new)
    else:
        _set(bridges, change)


def _set(tree: Spec, change: Change) -> None:
    """Set or remove one value; a mapping that is compared part by part goes with its last part."""
    way = [tree]
    for part in change.path[:-1]:
        way.append(way[-1].setdefault(part, {}))
    if change.new is not None:
        way[-1][change.path[-1]] = copied({"": change.new})[""]
        return
    way[-1].pop(change.path[-1], None)
    for depth in range(len(way) - 1, 0, -1):
        if way[depth] or change.path[depth - 1] not in NESTED:
            break
        del way[depth - 1][change.path[depth - 1]]


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

"""Switches in memory for the tests of the ovs planner: from cases, and drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from corral.errors import Invalid
from corral.ovs import rows
from corral.ovs.host import Host, made
from corral.ovs.model import MARK, Switch
from corral.ovs.plan import MANAGED


def host(bridges: Mapping[str, Any], owners: Mapping[str, str]) -> Host:
    """Return a host whose bridges are written without Open vSwitch's defaults."""
    complete = {}
    for name, bridge in bridges.items():
        spec = made("bridges", {}, name)
        local = spec["ports"]
        spec |= bridge
        for kind in ("ports", "bonds"):
            spec[kind] = {child: made(kind, settings) for child, settings in spec[kind].items()}
        complete[name] = spec | {"ports": local | spec["ports"]}
    return Host(complete, owners, rows.host(*tables(complete, owners)).rows)


def tables(bridges: Mapping[str, Any], owners: Mapping[str, str]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the rows of Bridge, Port and Interface of a switch, as ovsdb-server sends them."""
    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    for name, bridge in bridges.items():
        children = bridge["ports"] | bridge["bonds"]
        own = {"name": name, "ports": _references("Port", children), "_uuid": _uuid("Bridge", name)}
        found[0].append(own | _columns(bridge, rows.BRIDGE, rows.SETTINGS, owners.get(name)))
        for child, spec in children.items():
            members = spec.get("members", [child])
            own = {
                "name": child,
                "interfaces": _references("Interface", members),
                "_uuid": _uuid("Port", child),
            }
            columns = {**rows.PORT, **rows.BOND}
            mark = owners.get(child) if child != name else None
            found[1].append(own | _columns(spec, columns, rows.SETTINGS, mark))
            for member in members:
                interface = {
                    "name": member,
                    "ofport": 1,
                    "error": ["set", []],
                    "_uuid": _uuid("Interface", member),
                }
                settings = spec if member == child else {}
                found[2].append(interface | _columns(settings, rows.INTERFACE, rows.OPTIONS, None))
    return found


def _uuid(table: str, name: str) -> list[str]:
    return ["uuid", f"{table}-{name}"]


def _references(table: str, names: Iterable[str]) -> list[Any]:
    return ["set", [_uuid(table, name) for name in names]]


def _columns(spec: Any, columns: Mapping[str, str], maps: Iterable[str], mark: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, column in columns.items():
        value = spec.get(key)
        row[column] = ["set", value or []] if value is None or isinstance(value, list) else value
    for column in maps:
        settings = dict(spec.get(column, {}))
        if column == "other_config" and spec.get("lacp_time") == "fast":
            settings["lacp-time"] = "fast"
        if column == "external_ids" and mark is not None:
            settings[MARK] = mark
        row[column] = ["map", [list(pair) for pair in settings.items()]]
    return row


BRIDGES = ("br0", "br1", "br2")
NAMES = ("p0", "p1", "p2", "p3", "b0", "b1", "br2")
MEMBERS = ("n0", "n1", "n2", "n3", "p0", "p1")

maps = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"]), max_size=2)
nullable_maps = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", None]), max_size=2)


def _some(settings: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=settings)


def _attached(settings: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return {"tag": st.integers(1, 3), "external_ids": settings, "other_config": settings}


def _port(settings: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return _some(
        _attached(settings)
        | {"type": st.sampled_from(["system", "internal"]), "options": settings, "mtu": st.just(1400)}
    )


def _bond(settings: st.SearchStrategy[Any], required: bool) -> st.SearchStrategy[Any]:
    members = {"members": st.lists(st.sampled_from(MEMBERS), min_size=2, max_size=3, unique=True).map(sorted)}
    optional = _attached(settings) | {
        "mode": st.sampled_from(["active-backup", "balance-slb"]),
        "lacp": st.sampled_from(["active", "off"]),
        "lacp_time": st.sampled_from(["fast", "slow"]),
        "up_delay": st.sampled_from([0, 100]),
    }
    if required:
        return st.fixed_dictionaries(members, optional=optional)
    return st.fixed_dictionaries({}, optional=members | optional)


def _bridge(settings: st.SearchStrategy[Any], current: bool) -> st.SearchStrategy[Any]:
    child = (lambda one: one) if current else (lambda one: st.none() | one)
    names = st.sampled_from(NAMES)
    children = {
        "ports": st.dictionaries(names, child(_port(settings)), max_size=3),
        "bonds": st.dictionaries(names, child(_bond(settings, current)), max_size=2),
    }
    own = {"fail_mode": st.just("secure"), "stp": st.booleans(), "external_ids": settings}
    if current:
        return st.fixed_dictionaries(children, optional=own)
    return st.none() | st.fixed_dictionaries({}, optional=children | own)


def _filled(spec: Any) -> Any:
    """Drop the empty maps, which no switch has."""
    if not isinstance(spec, dict):
        return spec
    kept = {key: _filled(value) for key, value in spec.items()}
    return {key: value for key, value in kept.items() if value != {} or key not in ("external_ids", *_MAPS)}


_MAPS = ("options", "other_config")


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """Draw a switch in which no name is used twice, some of it made by ``switch_managed``."""
    drawn = draw(st.dictionaries(st.sampled_from(BRIDGES), _bridge(maps, True), max_size=3))
    used = set(drawn)
    for bridge in drawn.values():
        for kind in ("ports", "bonds"):
            for name, child in list(bridge[kind].items()):
                names = {name, *child.get("members", ())}
                if names & used or len(names) != 1 + len(child.get("members", ())):
                    del bridge[kind][name]
                used |= names
    owned = draw(st.sets(st.sampled_from([*BRIDGES, *NAMES])))
    return host(_filled(drawn), dict.fromkeys(sorted(owned), MANAGED))


@st.composite
def declarations(draw: st.DrawFn) -> Switch:
    declared = draw(st.dictionaries(st.sampled_from(BRIDGES), _bridge(nullable_maps, False), max_size=3))
    gone = draw(st.sets(st.sampled_from(["p0", "p1", "b0"]), max_size=1))
    try:
        return Switch.declare({"bridges": declared, "ports": dict.fromkeys(gone)})
    except Invalid:
        assume(False)
        raise

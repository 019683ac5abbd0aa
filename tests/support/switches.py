"""Switches in memory for the tests of the ovs planner: from cases, and drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from corral.change import Path
from corral.errors import Invalid
from corral.ovs import rows
from corral.ovs.host import NESTED, Host, made
from corral.ovs.model import Switch
from corral.ovs.own import MARK
from corral.ovs.parts import HANGS, PARTS, each
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
    return Host(complete, owners, rows.host(tables(complete, owners)).rows)


def tables(bridges: Mapping[str, Any], owners: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the rows of a switch, as ovsdb-server sends them."""
    hanging = _Hanging()
    found = hanging.tables
    for name, bridge in bridges.items():
        children = bridge["ports"] | bridge["bonds"]
        own = {"name": name, "ports": _references("Port", children), "_uuid": _uuid("Bridge", name)}
        own |= hanging.columns("bridges", (name,), bridge, owners)
        found["Bridge"].append(own | _columns(bridge, rows.BRIDGE, rows.SETTINGS, owners.get(name)))
        for child, spec in children.items():
            members = spec.get("members", [child])
            own = {
                "name": child,
                "interfaces": _references("Interface", members),
                "_uuid": _uuid("Port", child),
            }
            kind = "bonds" if "members" in spec else "ports"
            own |= hanging.columns(kind, (name, kind, child), spec, owners)
            columns = {**rows.PORT, **rows.BOND}
            mark = owners.get(child) if child != name else None
            found["Port"].append(own | _columns(spec, columns, rows.SETTINGS, mark))
            for member in members:
                interface = {
                    "name": member,
                    "ofport": 1,
                    "error": ["set", []],
                    "cfm_mpid": ["set", []],
                    "other_config": ["map", []],
                    "_uuid": _uuid("Interface", member),
                }
                settings = spec if member == child else {}
                watched = dict(settings.get("cfm", {}))
                if "mpid" in watched:
                    interface["cfm_mpid"] = int(watched.pop("mpid"))
                interface["other_config"] = ["map", [[f"cfm_{key}", value] for key, value in watched.items()]]
                found["Interface"].append(interface | _columns(settings, rows.INTERFACE, rows.OPTIONS, None))
    return found


class _Hanging:
    """The rows of what hangs on a bridge or a port."""

    def __init__(self) -> None:
        names = ("Bridge", "Port", "Interface", *(part.table for part in PARTS.values()))
        self.tables: dict[str, list[Any]] = {name: [] for name in names}

    def columns(self, kind: str, path: Path, spec: Any, owners: Mapping[str, str]) -> dict[str, Any]:
        """Make the rows, and return the columns that refer to them."""
        found: dict[str, Any] = {}
        for key in HANGS[kind]:
            part = PARTS[key]
            rows = {
                step: self._row(key, (*path, key, *step), one, owners)
                for step, one in each(key, spec.get(key))
            }
            found[part.column] = ["set", list(rows.values())]
            if part.key == "number":
                found[part.column] = ["map", [[int(step[0]), uuid] for step, uuid in rows.items()]]
        return found

    def _row(self, key: str, path: Path, spec: Any, owners: Mapping[str, str]) -> list[str]:
        part, identity = PARTS[key], _uuid(PARTS[key].table, ".".join(path))
        row: dict[str, Any] = {"_uuid": identity}
        if part.key not in ("", "number"):
            row[part.key] = path[-1]
        for name, column in part.columns.items():
            value = spec.get(name, part.defaults.get(name))
            if name in part.ports and value:
                value = [_uuid("Port", one) for one in (value if isinstance(value, list) else [value])]
            row[column] = ["set", value or []] if value is None or isinstance(value, list) else value
        for column in part.maps:
            settings = dict(spec.get(column, {}))
            if column == "external_ids" and ".".join(path) in owners:
                settings[MARK] = owners[".".join(path)]
            row[column] = ["map", [list(pair) for pair in settings.items()]]
        row |= self.columns(key, path, spec, owners) if key in HANGS else {}
        self.tables[part.table].append(row)
        return identity


def _uuid(table: str, name: str) -> list[str]:
    return ["uuid", f"{table}-{name}"]


def _references(table: str, names: Iterable[str]) -> list[Any]:
    return ["set", [_uuid(table, name) for name in names]]


def _columns(spec: Any, columns: Mapping[str, str], maps: Iterable[str], mark: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, column in columns.items():
        value = spec.get(key, rows.QUIET.get(key))
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


def _attached(settings: st.SearchStrategy[Any], current: bool) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "tag": st.integers(1, 3),
        "protected": st.just(True),
        "qos": _gone(_qos(settings, current), current),
        "external_ids": settings,
        "other_config": settings,
    }


def _gone(one: st.SearchStrategy[Any], current: bool) -> st.SearchStrategy[Any]:
    """Draw ``None`` as well where something is declared: it must be absent."""
    return one if current else st.none() | one


def _qos(settings: st.SearchStrategy[Any], current: bool) -> st.SearchStrategy[Any]:
    queue = _some({"dscp": st.sampled_from([0, 10]), "other_config": settings})
    queues = st.dictionaries(st.sampled_from(["0", "7"]), _gone(queue, current), max_size=2)
    kind = {"type": st.sampled_from(["linux-htb", "linux-sfq"])}
    return st.fixed_dictionaries(kind, optional={"other_config": settings, "queues": queues})


def _hanging(settings: st.SearchStrategy[Any], current: bool) -> dict[str, st.SearchStrategy[Any]]:
    """Return what hangs on a bridge, by key."""
    controller = _some({"inactivity_probe": st.sampled_from([0, 5000]), "other_config": settings})
    mirror = st.fixed_dictionaries(
        {"output_vlan": st.integers(1, 3)},
        optional={
            "select_all": st.just(True),
            "select_src_port": st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(
                sorted
            ),
            "external_ids": settings,
        },
    )
    targets = st.lists(st.sampled_from(["192.0.2.1:5", "192.0.2.2:5"]), min_size=1, unique=True).map(sorted)
    netflow = {"engine_id": st.sampled_from([0, 7])}
    return {
        "protocols": st.lists(st.sampled_from(["OpenFlow10", "OpenFlow13"]), min_size=1, unique=True).map(
            sorted
        ),
        "controllers": st.dictionaries(
            st.sampled_from(["tcp:192.0.2.1:6653", "ptcp:6633"]), _gone(controller, current), max_size=2
        ),
        "mirrors": st.dictionaries(st.sampled_from(["m0", "m1"]), _gone(mirror, current), max_size=2),
        "netflow": _gone(st.fixed_dictionaries({"targets": targets}, optional=netflow), current),
    }


def _port(settings: st.SearchStrategy[Any], current: bool) -> st.SearchStrategy[Any]:
    return _some(
        _attached(settings, current)
        | {
            "type": st.sampled_from(["system", "internal"]),
            "options": settings,
            "mtu": st.just(1400),
            "ingress_policing_rate": st.just(1000),
            "bfd": st.dictionaries(st.sampled_from(["enable", "oam"]), st.just("true"), max_size=2),
            "cfm": st.dictionaries(
                st.sampled_from(["mpid", "interval"]), st.sampled_from(["5", "7"]), max_size=2
            ),
        }
    )


def _bond(settings: st.SearchStrategy[Any], required: bool) -> st.SearchStrategy[Any]:
    members = {"members": st.lists(st.sampled_from(MEMBERS), min_size=2, max_size=3, unique=True).map(sorted)}
    optional = _attached(settings, required) | {
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
        "ports": st.dictionaries(names, child(_port(settings, current)), max_size=3),
        "bonds": st.dictionaries(names, child(_bond(settings, current)), max_size=2),
    }
    own = {"fail_mode": st.just("secure"), "stp": st.booleans(), "external_ids": settings}
    own |= _hanging(settings, current)
    if current:
        return st.fixed_dictionaries(children, optional=own)
    return st.none() | st.fixed_dictionaries({}, optional=children | own)


def _filled(spec: Any) -> Any:
    """Drop the empty maps, which no switch has."""
    if not isinstance(spec, dict):
        return spec
    kept = {key: _filled(value) for key, value in spec.items()}
    return {key: value for key, value in kept.items() if value != {} or key not in NESTED}


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
    for bridge in drawn.values():
        for name, mirror in list(bridge.get("mirrors", {}).items()):
            if not {*mirror.get("select_src_port", ())} <= {*bridge["ports"], *bridge["bonds"]}:
                del bridge["mirrors"][name]
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

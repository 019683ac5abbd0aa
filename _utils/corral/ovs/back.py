"""What leads back from a plan for the switch: all that the plan touches, as it was; pure.

Leading back is a plan, too, made from what is there then. What others did meanwhile stays, unless it is on
the very bridge, port or bond that the plan touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change, Path
from corral.converge import Todo
from corral.errors import Refused
from corral.guard import Undo
from corral.ovs.flows import Flow
from corral.ovs.groups import Groups, written
from corral.ovs.host import (
    CHILDREN,
    MAPS,
    Host,
    Spec,
    of_bridges,
    of_columns,
    of_flows,
    of_groups,
    of_switch,
)
from corral.ovs.own import SECRETS
from corral.ovs.parts import ROOT

Place = tuple[str, str, Spec]  # bridge, kind, spec
LOCAL = {"type": "internal"}  # the own port of a bridge that has just been made
UNSAID = ("error", *CHILDREN)  # of a spec: what is no setting of the object itself


def undo(
    todo: Todo,
    current: Host,
    flows: Mapping[str, Mapping[str, Flow]],
    groups: Mapping[str, Groups] | None = None,
) -> Undo:
    """Return what leads back from a plan.

    flows
        All flows of the bridges whose flows the plan may take with it, by bridge and match.
    groups
        All groups of these bridges.

    Raises ``Refused`` where a secret would be lost that Corral does not keep.
    """
    touched = _Touched(todo, current)
    _keep_secrets(touched)
    data = {
        "bridges": {name: _own(current.bridges.get(name)) for name in touched.bridges},
        "ports": {name: list(place) if place else None for name, place in touched.ports.items()},
        "mirrors": {
            name: current.bridges[name].get("mirrors")
            for name in touched.around - set(touched.bridges)
            if name in current.bridges
        },
        "switch": {
            key: current.switch.get(key) for key in dict.fromkeys(c.path[1] for c in todo if of_switch(c))
        },
        "columns": [
            [list(change.path), change.old]
            for change in todo
            if of_columns(change) and change.path[-1] not in SECRETS
        ],
        "flows": {
            bridge: {key: [flow.text, flow.cookie] for key, flow in found.items()}
            for bridge, found in flows.items()
        },
        "groups": {
            bridge: [dict(found.here), written(found.records)] for bridge, found in (groups or {}).items()
        },
        "owners": {
            name: mark
            for name, mark in current.owners.items()
            if name in touched.bridges or name in touched.ports
        },
        "makers": [[list(path), mark] for path, mark in current.makers.items() if touched.has(path)],
    }
    return Undo("ovs", data, tuple(sorted(touched.devices())), _environment())


def _environment() -> dict[str, str]:
    return {key: os.environ[key] for key in ("OVS_RUNDIR",) if key in os.environ}


@dataclass
class _Touched:
    """The names that a plan touches.

    bridges
        Those made, removed or changed themselves.
    ports
        Ports and bonds, with the place where they are before; ``None`` for those that are not there.
    around
        The bridges of all of them: their mirrors refer to ports, and lose those that go.
    """

    todo: Todo
    current: Host
    bridges: list[str] = field(default_factory=list)
    ports: dict[str, Place | None] = field(default_factory=dict)
    around: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        places = places_of(self.current)
        mine = [change for change in self.todo if of_bridges(change)]
        whole = (change.path[0] for change in mine if change.path[1:2] not in _CHILDREN)
        self.bridges = list(dict.fromkeys(whole))
        names = [change.path[2] for change in mine if change.path[1:2] in _CHILDREN]
        gone = {change.path[0] for change in mine if len(change.path) == 1 and change.removes}
        names += [name for name, place in places.items() if place[0] in gone]
        names += [name for name in self.bridges if name not in self.current.bridges]  # with its local port
        self.ports = {name: places.get(name) for name in dict.fromkeys(names)}
        self.around = {change.path[0] for change in mine} | {p[0] for p in self.ports.values() if p}

    def has(self, path: Path) -> bool:
        """Whether something that hangs on the switch, a bridge or a port is touched by the plan."""
        return path[0] in (ROOT, *self.around)

    def devices(self) -> set[str]:
        """Return the network devices that Open vSwitch may make anew, or that go in or out of a bridge."""
        found = {*self.bridges, *self.ports}
        for name in self.bridges:
            ports = self.current.bridges.get(name, {}).get("ports", {})
            found |= {port for port, spec in ports.items() if spec["type"] == "internal"}
        for place in self.ports.values():
            found |= set(place[2].get("members", ())) if place else set()
        return found


_CHILDREN = tuple((kind,) for kind in CHILDREN)


def _keep_secrets(touched: _Touched) -> None:
    """Refuse a plan that takes a secret away for good: it is nowhere but in the row that goes."""
    gone = {change.path[:3:2] for change in touched.todo if len(change.path) == 3 and change.removes}
    made = {change.path[2] for change in touched.todo if len(change.path) == 3 and change.creates}
    bridges = {change.path[0] for change in touched.todo if len(change.path) == 1 and change.removes}
    for name, place in touched.ports.items():
        if place is None or not set(SECRETS) & place[2].get("options", {}).keys():
            continue
        if name not in made and ((place[0], name) in gone or place[0] in bridges):
            secret = next(key for key in SECRETS if key in place[2]["options"])
            raise Refused(
                f"guard: bridges.{place[0]}.ports.{name} would go with its {secret}, which no guard can bring"
                f" back: Corral keeps no secrets."
            )


def _own(bridge: Spec | None) -> Spec | None:
    return None if bridge is None else {key: value for key, value in bridge.items() if key not in UNSAID}


def places_of(current: Host) -> dict[str, Place]:
    """Return where each port and bond is, and as what."""
    return {
        name: (bridge, kind, {key: value for key, value in child.items() if key not in UNSAID})
        for bridge, spec in current.bridges.items()
        for kind in CHILDREN
        for name, child in spec[kind].items()
    }


def back(now: Host, data: Mapping[str, Any]) -> Todo:
    """Return the plan that leads back, but for flows; empty when it has been carried out already."""
    return tuple(_Back(now, data).plan())


class _Back:
    def __init__(self, now: Host, data: Mapping[str, Any]) -> None:
        self.now, self.data = now, data
        self.places = places_of(now)
        self.was: dict[str, Place | None] = {
            name: tuple(place) if place else None for name, place in data["ports"].items()
        }

    def plan(self) -> Iterator[Change]:
        made: list[Change] = []
        settled: list[Change] = []
        for name, was in self.was.items():
            here = self.places.get(name)
            if was and here and was[:2] == here[:2]:
                settled += _settings((*was[:2], name), here[2], was[2])
                continue
            if here and not (here[0] == name and not was):
                yield Change((*here[:2], name), here[2], None)
            if was and was[0] == name:  # it comes with its bridge
                settled += _settings((*was[:2], name), LOCAL, was[2])
            elif was and self._will_be(was[0]):
                made.append(Change((*was[:2], name), None, _without_secrets(was[2])))
        yield from self._bridges()
        yield from made
        yield from settled
        yield from self._more()

    def _bridges(self) -> Iterator[Change]:
        for name, was in self.data["bridges"].items():
            here = _own(self.now.bridges.get(name))
            if was is None and here is not None and not self._used(name):
                yield Change((name,), here, None)
            elif was is not None and here is None:
                yield Change((name,), None, was)
            elif was is not None and here is not None:
                yield from _settings((name,), here, was)
        for name, mirrors in self.data["mirrors"].items():
            if name in self.now.bridges and mirrors is not None:
                here = self.now.bridges[name].get("mirrors")
                if here != mirrors:
                    yield Change((name, "mirrors"), here, mirrors)

    def _used(self, bridge: str) -> bool:
        """Whether somebody else has put a port on a bridge that the plan made: it stays for that one."""
        spec = self.now.bridges[bridge]
        return any(name != bridge and name not in self.was for kind in CHILDREN for name in spec[kind])

    def _will_be(self, bridge: str) -> bool:
        return bridge in self.now.bridges or self.data["bridges"].get(bridge) is not None

    def _more(self) -> Iterator[Change]:
        """Yield what is not of bridges: the switch as a whole, and columns that were declared as they are."""
        for key, was in self.data["switch"].items():
            here = self.now.switch.get(key)
            if here != was:
                yield Change((ROOT, key), here, was)
        for path, was in self.data["columns"]:
            table, name, column, *key = path
            record = self.now.columns.get((table, name))
            if record is None or column not in record.types:
                continue
            here = record.values.get(column)
            here = (here or {}).get(key[0]) if key else here
            if here != was:
                yield Change(tuple(path), here, was)


def _settings(path: Path, here: Spec, was: Spec) -> Iterator[Change]:
    """Yield what sets one object back to all that it was; secrets stay as they are."""
    for key in dict.fromkeys([*was, *here]):
        old, new = here.get(key), was.get(key)
        if key in MAPS:
            kept = {one: value for one, value in (old or {}).items() if one in SECRETS}
            plain = {one: value for one, value in (new or {}).items() if one not in SECRETS}
            new = {**plain, **kept} or None
        if old != new:
            yield Change((*path, key), old, new)


def _without_secrets(spec: Spec) -> Spec:
    options = {key: value for key, value in spec.get("options", {}).items() if key not in SECRETS}
    rest = {key: value for key, value in spec.items() if key != "options"}
    return {**rest, "options": options} if options else rest


def marks(data: Mapping[str, Any]) -> dict[Path, str]:
    """Return who made what, by path: what is made again has the mark that it had."""
    found = {(name,): mark for name, mark in data["owners"].items()}
    return found | {tuple(path): mark for path, mark in data["makers"]}


def flows_at_risk(todo: Iterable[Change]) -> list[str]:
    """Return the bridges whose flows and groups a plan may change or take with it."""
    return sorted(
        {
            change.path[0]
            for change in todo
            if of_flows(change)
            or of_groups(change)
            or (of_bridges(change) and (len(change.path) == 1 or change.path[1] not in CHILDREN))
        }
    )

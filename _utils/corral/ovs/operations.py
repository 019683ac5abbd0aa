"""A plan as one OVSDB transaction (RFC 7047) that fails when the database is no longer as read; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corral.converge import Todo
from corral.ovs.host import CHILDREN, DEFAULTS, Bridges, Host, Row, Rows, Spec, advance
from corral.ovs.model import MARK
from corral.ovs.rows import BOND, BRIDGE, INTERFACE, OPTIONS, PORT, SETTINGS, maps, uuids, values

Operation = dict[str, Any]
Id = list[str]  # ["uuid", …] of a row that is there, ["named-uuid", …] of one that is inserted


def select(table: str, columns: list[str], where: Iterable[Any] = ()) -> Operation:
    return {"op": "select", "table": table, "where": list(where), "columns": columns}


def operations(current: Host, todo: Todo, maker: str) -> list[Operation]:
    """Return one transaction that carries out a plan, or fails when the database is no longer as read.

    Each row that the plan touches is compared with what was read, in the columns concerned. That a
    new name is still free needs no comparison: the database itself keeps names unique.

    maker
        What the new bridges and ports are marked with.
    """
    after = advance(current.bridges, todo)
    write = _Write(current.rows, maker)
    for name in dict.fromkeys(c.path[0] for c in todo if len(c.path) < 2 or c.path[1] not in CHILDREN):
        write.bridge(name, current.bridges.get(name), after.get(name))
    touched = {change.path[2] for change in todo if len(change.path) > 2 and change.path[1] in CHILDREN}
    touched |= set(write.made)
    places = _places(current.bridges, touched), _places(after, touched)
    for name in sorted(touched):
        write.port(name, *(place.get(name) for place in places))
    return write.operations()


Place = tuple[str, str, Spec]  # bridge, kind, spec


def _places(bridges: Bridges, names: set[str]) -> dict[str, Place]:
    return {
        name: (bridge, kind, child)
        for bridge, spec in bridges.items()
        for kind in CHILDREN
        for name, child in spec[kind].items()
        if name in names
    }


class _Write:
    """The operations of one transaction while they are collected."""

    def __init__(self, rows: Rows, maker: str) -> None:
        self.rows = rows
        self.mark = {MARK: maker}
        self.guards: list[Operation] = []
        self.body: list[Operation] = []
        self.made: dict[str, Operation] = {}  # new bridges by name
        self.gone: dict[str, Id] = {}  # the ids of bridges that go, by name
        self.joins: dict[str, list[Id]] = {}  # ids of ports by the bridge they come to
        self.leaves: dict[str, list[Id]] = {}  # … and by the bridge they leave
        self.count = 0

    def bridge(self, name: str, old: Spec | None, new: Spec | None) -> None:
        if old is None and new is not None:
            row = {"name": name, **_columns({}, new, DEFAULTS["bridges"], BRIDGE)}
            row |= _new_maps(new, SETTINGS, self.mark)
            self.made[name] = self._insert("Bridge", row)
        elif old is not None and new is None:
            self._guard("Bridge", self.rows.bridges[name], ["ports", "external_ids"])
            self.gone[name] = self.rows.bridges[name]["_uuid"]
        elif old is not None and new is not None:
            columns = _columns(old, new, DEFAULTS["bridges"], BRIDGE)
            self._change("Bridge", self.rows.bridges[name], columns, SETTINGS, (old, new))

    def port(self, name: str, before: Place | None, after: Place | None) -> None:
        row = self.rows.ports.get(name)
        if row is None or before is None:
            if after is not None:
                self._new_port(name, *after)
        elif after is not None:
            self._kept_port(row, before, after)
        elif before[0] not in self.gone:
            self._guard("Port", row, ["interfaces", "external_ids"])
            self.leaves.setdefault(before[0], []).append(row["_uuid"])

    def _new_port(self, name: str, bridge: str, kind: str, spec: Spec) -> None:
        attached, folded = self._interfaces(name, kind, spec), _folded(spec)
        mark = {} if name == bridge else self.mark
        row = {"name": name, **_columns({}, folded, DEFAULTS["bonds"], {**PORT, **BOND})}
        row |= {"interfaces": ["set", attached], **_new_maps(folded, SETTINGS, mark)}
        self.joins.setdefault(bridge, []).append(_named(self._insert("Port", row)))

    def _kept_port(self, row: Row, before: Place, after: Place) -> None:
        bridge, kind, spec = after
        attached = self._interfaces(row["name"], kind, spec)
        old, new = _folded(before[2]), _folded(spec)
        columns = _columns(old, new, DEFAULTS["bonds"], {**PORT, **BOND})
        if sorted(uuids(row["interfaces"])) != sorted(identity[1] for identity in attached):
            columns["interfaces"] = ["set", attached]
        self._change("Port", row, columns, SETTINGS, (old, new))
        if before[0] != bridge:
            self.joins.setdefault(bridge, []).append(row["_uuid"])
            if before[0] not in self.gone:
                self.leaves.setdefault(before[0], []).append(row["_uuid"])

    def operations(self) -> list[Operation]:
        for name, insert in self.made.items():
            insert["row"]["ports"] = ["set", self.joins.pop(name)]
        for name in sorted({*self.joins, *self.leaves}):
            self._move(self.rows.bridges[name], self.leaves.get(name, []), self.joins.get(name, []))
        made = [_named(insert) for insert in self.made.values()]
        root = _mutate("Open_vSwitch", None, "bridges", list(self.gone.values()), made)
        root["mutations"].append(["next_cfg", "+=", 1])
        return [*self.guards, *self.body, root, select("Open_vSwitch", ["next_cfg"])]

    def _move(self, bridge: Row, leave: list[Id], join: list[Id]) -> None:
        """Move ports in and out of a bridge; those that leave must still be in it."""
        self._guard("Bridge", bridge, ["name"], [["ports", "includes", ["set", leave]]])
        self.body.append(_mutate("Bridge", bridge["_uuid"], "ports", leave, join))

    def _interfaces(self, name: str, kind: str, spec: Spec) -> list[Id]:
        """Return the ids of a port's interfaces; rows that are there stay, whatever held them."""
        if kind == "bonds":
            return [self._member(member) for member in spec["members"]]
        row = self.rows.interfaces.get(name)
        if row is None:
            new = {"name": name, **_columns({}, spec, DEFAULTS["ports"], INTERFACE)}
            return [_named(self._insert("Interface", new | _new_maps(spec, OPTIONS, {})))]
        old = {**values("ports", row, INTERFACE), **maps(row, OPTIONS)}
        columns = _columns(old, spec, DEFAULTS["ports"], INTERFACE)
        self._change("Interface", row, columns, OPTIONS, (old, spec))
        return [row["_uuid"]]

    def _member(self, name: str) -> Id:
        row = self.rows.interfaces.get(name)
        return row["_uuid"] if row else _named(self._insert("Interface", {"name": name}))

    def _insert(self, table: str, row: Spec) -> Operation:
        self.count += 1
        insert = {"op": "insert", "table": table, "uuid-name": f"new{self.count}", "row": row}
        self.body.append(insert)
        return insert

    def _guard(self, table: str, row: Row, columns: list[str], also: Iterable[Any] = ()) -> None:
        """Let the transaction fail unless a row has what was read in some columns, and fulfils conditions."""
        kept = {column: row[column] for column in columns}
        where = [["_uuid", "==", row["_uuid"]], *also]
        self.guards.append(
            {"op": "wait", "timeout": 0, "table": table, "where": where}
            | {"columns": columns, "until": "==", "rows": [kept]}
        )

    def _change(
        self, table: str, row: Row, columns: Spec, maps: Iterable[str], specs: tuple[Spec, Spec]
    ) -> None:
        """Set columns of a row, and of its map columns the keys that differ."""
        old, new = specs
        mutations: list[Any] = []
        for column in maps:
            was, now = old.get(column, {}), new.get(column, {})
            stale = [key for key in {**was, **now} if now.get(key) != was.get(key)]
            fresh = [[key, now[key]] for key in stale if key in now]
            # An insert leaves a key alone that is there already (RFC 7047, 5.1), so all go first.
            if stale:
                mutations.append([column, "delete", ["set", stale]])
            if fresh:
                mutations.append([column, "insert", ["map", fresh]])
        where = [["_uuid", "==", row["_uuid"]]]
        if columns:
            self.body.append({"op": "update", "table": table, "where": where, "row": columns})
        if mutations:
            self.body.append({"op": "mutate", "table": table, "where": where, "mutations": mutations})
        if columns or mutations:
            self._guard(table, row, list(dict.fromkeys([*columns, *(mutation[0] for mutation in mutations)])))


def _columns(old: Spec, new: Spec, defaults: Spec, keys: Mapping[str, str]) -> Spec:
    """Return the columns whose values differ, as OVSDB writes them."""
    was, now = {**defaults, **old}, {**defaults, **new}
    return {
        column: _encoded(key, now.get(key)) for key, column in keys.items() if was.get(key) != now.get(key)
    }


def _encoded(key: str, value: Any) -> Any:
    if key in ("type", "datapath_type"):
        return "" if value == "system" else value  # as ovs-vsctl leaves it
    if value is None or isinstance(value, list):
        return ["set", value or []]
    return value


def _new_maps(spec: Spec, columns: Iterable[str], more: Mapping[str, str]) -> Spec:
    row = {}
    for column in columns:
        settings = {**spec.get(column, {}), **(more if column == "external_ids" else {})}
        if settings:
            row[column] = ["map", [list(pair) for pair in settings.items()]]
    return row


def _folded(spec: Spec) -> Spec:
    """Return a port's spec with ``lacp_time`` where the database has it."""
    if spec.get("lacp_time") != "fast":
        return spec
    return {**spec, "other_config": {**spec.get("other_config", {}), "lacp-time": "fast"}}


def _named(insert: Operation) -> Id:
    return ["named-uuid", insert["uuid-name"]]


def _mutate(table: str, uuid: Id | None, column: str, gone: list[Id], new: list[Id]) -> Operation:
    mutations: list[Any] = []
    if gone:
        mutations.append([column, "delete", ["set", gone]])
    if new:
        mutations.append([column, "insert", ["set", new]])
    where = [["_uuid", "==", uuid]] if uuid else []
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}

"""A plan as one OVSDB transaction (RFC 7047) that fails when the database is no longer as read; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corral.change import Change, Path
from corral.converge import Todo
from corral.ovs import columns as db
from corral.ovs import groups
from corral.ovs.host import (
    CHILDREN,
    DEFAULTS,
    QUIET,
    Bridges,
    Host,
    Row,
    Rows,
    Spec,
    advance,
    advanced,
    of_bridges,
    of_columns,
    of_groups,
    of_switch,
)
from corral.ovs.own import MARK
from corral.ovs.parts import HANGS, PARTS, ROOT, Part, each
from corral.ovs.rows import (
    BOND,
    BRIDGE,
    CFM,
    INTERFACE,
    OPTIONS,
    PORT,
    SETTINGS,
    interface_spec,
    uuids,
)

Operation = dict[str, Any]
Id = list[str]  # ["uuid", …] of a row that is there, ["named-uuid", …] of one that is inserted


def select(table: str, columns: list[str], where: Iterable[Any] = ()) -> Operation:
    return {"op": "select", "table": table, "where": list(where), "columns": columns}


def operations(
    current: Host, todo: Todo, maker: str, marks: Mapping[Path, str] | None = None
) -> list[Operation]:
    """Return one transaction that carries out a plan, or fails when the database is no longer as read.

    Each row that the plan touches is compared with what was read, in the columns concerned. That a
    new name is still free needs no comparison: the database itself keeps names unique.

    maker
        What the new bridges and ports, and what hangs on them, are marked with.
    marks
        Who made what is made again, by path; that of a port is its name. Each gets its own mark, or none.
    """
    mine = [change for change in todo if of_bridges(change)]
    after = advance(current.bridges, mine)
    write = _Write(current.rows, maker, marks)
    write.kept = {name for bridge in after.values() for kind in CHILDREN for name in bridge[kind]}
    for name in dict.fromkeys(c.path[0] for c in mine if len(c.path) < 2 or c.path[1] not in CHILDREN):
        write.bridge(name, current.bridges.get(name), after.get(name))
    touched = {change.path[2] for change in mine if len(change.path) > 2 and change.path[1] in CHILDREN}
    touched |= set(write.made)
    places = _places(current.bridges, touched), _places(after, touched)
    for name in sorted(touched):
        write.port(name, *(place.get(name) for place in places))
    if any(of_switch(change) for change in todo):
        write.switch(current.switch, advanced(current.switch, todo))
    for name in dict.fromkeys(change.path[0] for change in todo if of_groups(change)):
        before = current.groups.get(name, groups.Groups()).records
        write.records(name, before, groups.claimed(todo, name, before, maker))
    for change in todo:
        if of_columns(change):
            write.column(change, current.columns[change.path[0], change.path[1]])
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

    def __init__(self, rows: Rows, maker: str, marks: Mapping[Path, str] | None) -> None:
        self.rows = rows
        self.maker, self.marks = maker, marks
        self.guards: list[Operation] = []
        self.body: list[Operation] = []
        self.made: dict[str, Operation] = {}  # new bridges by name
        self.gone: dict[str, Id] = {}  # the ids of bridges that go, by name
        self.joins: dict[str, list[Id]] = {}  # ids of ports by the bridge they come to
        self.leaves: dict[str, list[Id]] = {}  # … and by the bridge they leave
        self.fresh: dict[str, str] = {}  # what new ports are called in the transaction, by name
        self.kept: set[str] = set()  # ports and bonds that are there after the plan
        self.count = 0

    def bridge(self, name: str, old: Spec | None, new: Spec | None) -> None:
        if old is None and new is not None:
            row = {"name": name, **_columns({}, new, DEFAULTS["bridges"], BRIDGE)}
            row |= _new_maps(new, SETTINGS, self._mark((name,))) | self._hang("bridges", (name,), {}, new)
            self.made[name] = self._insert("Bridge", row)
        elif old is not None and new is None:
            self._guard("Bridge", self.rows.bridges[name], ["ports", "external_ids"])
            self.gone[name] = self.rows.bridges[name]["_uuid"]
            for kind in CHILDREN:
                for child, spec in old[kind].items():
                    if child not in self.kept:
                        self._let_go(child, (name, kind, spec))
        elif old is not None and new is not None:
            columns = _columns(old, new, DEFAULTS["bridges"], BRIDGE)
            columns |= self._hang("bridges", (name,), old, new)
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
            self._let_go(name, before)

    def _let_go(self, name: str, place: Place) -> None:
        """Write what else goes with a port: nothing can be deleted that a row refers to, gone or not."""
        columns = self._hang(place[1], (*place[:2], name), place[2], {})
        self._change("Port", self.rows.ports[name], columns, (), ({}, {}))

    def _new_port(self, name: str, bridge: str, kind: str, spec: Spec) -> None:
        attached, folded = self._interfaces(name, kind, spec), _folded(spec)
        mark = {} if name == bridge else self._mark((name,))
        row = {"name": name, **_columns({}, folded, DEFAULTS["bonds"], {**PORT, **BOND})}
        row |= {"interfaces": ["set", attached], **_new_maps(folded, SETTINGS, mark)}
        row |= self._hang(kind, (bridge, kind, name), {}, spec)
        self._insert("Port", row, self._port_id(name)[1])
        self.joins.setdefault(bridge, []).append(self._port_id(name))

    def _mark(self, path: Path) -> dict[str, str]:
        """Return the mark of something new."""
        if self.marks is None:
            return {MARK: self.maker}
        return {MARK: self.marks[path]} if path in self.marks else {}

    def _port_id(self, name: str) -> Id:
        row = self.rows.ports.get(name)
        if row is not None and name not in self.fresh:
            return list(row["_uuid"])
        return ["named-uuid", self.fresh.setdefault(name, f"port{len(self.fresh)}")]

    def _kept_port(self, row: Row, before: Place, after: Place) -> None:
        bridge, kind, spec = after
        attached = self._interfaces(row["name"], kind, spec)
        old, new = _folded(before[2]), _folded(spec)
        columns = _columns(old, new, DEFAULTS["bonds"], {**PORT, **BOND})
        columns |= self._hang(kind, (*before[:2], row["name"]), before[2], spec)
        if sorted(uuids(row["interfaces"])) != sorted(identity[1] for identity in attached):
            columns["interfaces"] = ["set", attached]
        self._change("Port", row, columns, SETTINGS, (old, new))
        if before[0] != bridge:
            self.joins.setdefault(bridge, []).append(row["_uuid"])
            if before[0] not in self.gone:
                self.leaves.setdefault(before[0], []).append(row["_uuid"])

    def switch(self, old: Spec, new: Spec) -> None:
        self._change(ROOT, self.rows.root, self._hang(ROOT, (ROOT,), old, new), SETTINGS, (old, new))

    def _hang(self, kind: str, path: Path, old: Spec, new: Spec) -> Spec:
        """Write what hangs on a row, and return the row's columns that refer to other rows from now on."""
        columns: Spec = {}
        for key in HANGS[kind]:
            was, now = dict(each(key, old.get(key))), dict(each(key, new.get(key)))
            if was == now:
                continue
            ids = {
                step: self._hung(key, (*path, key, *step), was.get(step), spec) for step, spec in now.items()
            }
            for step in was.keys() - now.keys():
                self._drop(key, (*path, key, *step), was[step])
            there = {step: self.rows.parts[(*path, key, *step)]["_uuid"] for step in was}
            if ids != there:
                columns[PARTS[key].column] = _references(PARTS[key], ids)
        return columns

    def _hung(self, key: str, path: Path, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Id:
        """Return the row of one thing that hangs on another, as it will be; what others share is copied."""
        part, row = PARTS[key], self.rows.parts.get(path)
        if row is None or old is None or (old != new and row["_uuid"][1] in self.rows.shared):
            own = {part.key: path[-1]} if part.key not in ("", "number") else {}
            own |= {
                column: self._value(part, name, new.get(name))
                for name, column in part.columns.items()
                if name in new
            }
            own |= _new_maps(new, part.maps, self._mark(path))
            own |= self._hang(key, path, {}, dict(new)) if key in HANGS else {}
            return _named(self._insert(part.table, own))
        if old != new:
            columns = {
                column: self._value(part, name, new.get(name))
                for name, column in part.columns.items()
                if old.get(name) != new.get(name)
            }
            columns |= self._hang(key, path, dict(old), dict(new)) if key in HANGS else {}
            self._change(part.table, row, columns, part.maps, (dict(old), dict(new)))
        return list(row["_uuid"])

    def _value(self, part: Part, key: str, value: Any) -> Any:
        if value is None:
            default = part.defaults.get(key)
            return ["set", []] if default is None else default
        if key in part.ports:
            names = value if isinstance(value, list) else [value]
            return ["set", [self._port_id(name) for name in names]]
        return ["set", value] if isinstance(value, list) else value

    def _drop(self, key: str, path: Path, old: Mapping[str, Any]) -> None:
        """Delete a row that would stay although nothing refers to it any more, if it is ours."""
        row = self.rows.parts[path]
        ours = any(mark[0] == MARK for mark in row["external_ids"][1])
        if PARTS[key].lasting and ours and row["_uuid"][1] not in self.rows.shared:
            self._guard(PARTS[key].table, row, ["external_ids"])
            where = [["_uuid", "==", row["_uuid"]]]
            self.body.append({"op": "delete", "table": PARTS[key].table, "where": where})
            for below in HANGS.get(key, ()):
                for step, spec in each(below, old.get(below)):
                    self._drop(below, (*path, below, *step), spec)

    def records(self, bridge: str, before: groups.Records, after: groups.Records) -> None:
        """Write down whose the groups of a bridge are."""
        was, now = groups.written(before), groups.written(after)
        if bridge in self.made:
            self.made[bridge]["row"]["external_ids"][1].extend([list(pair) for pair in now.items()])
        else:
            specs = {"external_ids": was}, {"external_ids": now}
            self._change("Bridge", self.rows.bridges[bridge], {}, ("external_ids",), specs)

    def column(self, change: Change, record: db.Record) -> None:
        """Set one column, or one key of a column, that is declared as it is."""
        table, name, column, *key = change.path
        kind = record.types[column]
        if record.row is not None:
            where = [["_uuid", "==", record.row["_uuid"]]]
            self._guard(table, record.row, [column])
        else:  # the row is made in this very transaction
            where = [[db.NAMED_BY.get(table, "name"), "==", name]]
        if not key:
            value = db.encoded(kind, change.new)
            self.body.append({"op": "update", "table": table, "where": where, "row": {column: value}})
            return
        stale = db.atom(kind.key, key[0])
        mutations: list[Any] = [[column, "delete", ["set", [stale]]]]
        if change.new is not None:
            mutations.append([column, "insert", ["map", [[stale, db.atom(kind.value, change.new)]]]])
        self.body.append({"op": "mutate", "table": table, "where": where, "mutations": mutations})

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
            watched = _watched(spec)
            new |= {column: value for column, value in watched[0].items() if value != ["set", []]}
            maps = _new_maps({**spec, "other_config": watched[1]}, (*OPTIONS, "other_config"), {})
            return [_named(self._insert("Interface", new | maps))]
        old = interface_spec(row)
        columns = _columns(old, spec, DEFAULTS["ports"], INTERFACE)
        was, now = _watched(old), _watched(spec)
        if was[0] != now[0]:
            columns |= now[0]
        specs = {**old, "other_config": was[1]}, {**spec, "other_config": now[1]}
        self._change("Interface", row, columns, (*OPTIONS, "other_config"), specs)
        return [row["_uuid"]]

    def _member(self, name: str) -> Id:
        row = self.rows.interfaces.get(name)
        return row["_uuid"] if row else _named(self._insert("Interface", {"name": name}))

    def _insert(self, table: str, row: Spec, name: str = "") -> Operation:
        self.count += 1
        insert = {"op": "insert", "table": table, "uuid-name": name or f"new{self.count}", "row": row}
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
    was, now = {**QUIET, **defaults, **old}, {**QUIET, **defaults, **new}
    return {
        column: _encoded(key, now.get(key)) for key, column in keys.items() if was.get(key) != now.get(key)
    }


def _references(part: Part, ids: Mapping[Path, Id]) -> list[Any]:
    if part.key == "number":
        return ["map", [[int(step[0]), identity] for step, identity in ids.items()]]
    return ["set", list(ids.values())]


def _watched(spec: Mapping[str, Any]) -> tuple[Spec, Spec]:
    """Return what ``cfm`` of a port is in the database: a column, and keys of ``other_config``."""
    settings = dict(spec.get("cfm", {}))
    mpid = settings.pop("mpid", None)
    columns = {"cfm_mpid": ["set", []] if mpid is None else int(mpid, 0)}
    return columns, {CFM + key: value for key, value in settings.items()}


def _encoded(key: str, value: Any) -> Any:
    if key in ("type", "datapath_type"):
        return "" if value == "system" else value  # as ovs-vsctl leaves it
    if value is None or isinstance(value, list):
        return ["set", value or []]
    return value


def _new_maps(spec: Mapping[str, Any], columns: Iterable[str], more: Mapping[str, str]) -> Spec:
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

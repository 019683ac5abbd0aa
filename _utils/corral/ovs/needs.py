"""What a plan needs of the host around the switch, and what it touches there; pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from corral.change import Change, Path
from corral.converge import Todo
from corral.ovs.host import CHILDREN, Host, advance, made, of_bridges
from corral.ovs.own import TABLES

OWN_DEVICES = ("internal", "tap")  # types of interfaces whose device on the host Open vSwitch makes


def lacking(todo: Todo, current: Host, devices: Container[str]) -> Iterator[str]:
    """Yield a sentence for each thing that stands in the way of a plan.

    devices
        The network interfaces that the host has now.
    """
    for name in bridges_needed(todo, current):
        yield f"bridges.{name}: there is no bridge {name} on this host."
    for name, path in interfaces_needed(todo).items():
        known = _known(current, name) or "system"
        if path[1] == "ports" and known != "system":
            what = f"{name} is of type {known} in Open vSwitch, not a network interface of this host"
            yield f"bridges.{'.'.join(path)}: {what}."
        elif known == "system" and name not in devices:
            yield f"bridges.{'.'.join(path)}: there is no network interface {name} on this host."
    for change in todo:
        kind = _type_given(change)
        if kind and current.types and kind not in current.types:
            has = ", ".join(sorted(current.types))
            yield f"bridges.{change.dotted}: this Open vSwitch has no type {kind}, only {has}."
    for name, path in interfaces_made(todo).items():
        there = name in devices and name in current.devices  # before and after the look at the database
        if there and _known(current, name) not in OWN_DEVICES:
            what = f"there is already a network interface {name} on this host that Open vSwitch did not make"
            yield f"bridges.{'.'.join(path)}: {what}."


def _known(current: Host, name: str) -> str:
    """Return the type that an interface has in the database; empty for a device of the host."""
    return str(current.rows.interfaces.get(name, {}).get("type", ""))


def interfaces_needed(todo: Todo) -> dict[str, Path]:
    """Return the network interfaces that a plan attaches and that the host must already have."""
    needed: dict[str, Path] = {}
    for change in todo:
        path, new = change.path, change.new
        if _type_given(change) == "system":
            needed[path[2]] = path
        elif new is None or path[1:2] != ("bonds",):
            continue
        elif len(path) == 3:
            needed.update(dict.fromkeys(new["members"], (*path, "members")))
        elif path[3:] == ("members",):
            needed.update({member: path for member in new if member not in change.old})
    return needed


def interfaces_made(todo: Todo) -> dict[str, Path]:
    """Return the network interfaces that a plan makes: of new bridges, and of internal ports."""
    made_here = {change.path[0]: change.path for change in todo if len(change.path) == 1 and change.creates}
    internal = {change.path[2]: change.path for change in todo if _type_given(change) == "internal"}
    return made_here | internal


def _type_given(change: Change) -> str | None:
    """Return the type that a change gives to a port, new or there; ``None`` when it gives none."""
    path, new = change.path, change.new
    if path[1:2] != ("ports",) or new is None:
        return None
    if len(path) == 3:
        return str(made("ports", new)["type"])
    return str(new) if path[3] == "type" else None


def bridges_needed(todo: Todo, current: Host) -> dict[str, Path]:
    """Return the bridges that a plan fills without making them and that are not there."""
    made_here = {change.path[0] for change in todo if len(change.path) == 1}
    return {
        change.path[0]: change.path[:1]
        for change in todo
        if change.path[0] not in TABLES
        and change.path[0] not in made_here
        and change.path[0] not in current.bridges
    }


def records_needed(todo: Todo, current: Host, declared: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each record that ``db`` speaks of and that neither is there nor is made."""
    made_here = _made(advance(current.bridges, todo)) if declared else {}
    for table, records in declared.items():
        for name in records:
            record = current.columns.get((table, name))
            if record is None or (record.row is None and name not in made_here.get(table, ())):
                yield f"db.{table}.{name}: there is no such record."


def _made(bridges: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return the names of the records that there are of a switch, by table."""
    ports = {name for spec in bridges.values() for kind in CHILDREN for name in spec.get(kind, ())}
    bonds = [bond for spec in bridges.values() for bond in spec.get("bonds", {}).values()]
    members = {member for bond in bonds for member in bond["members"]}
    return {"Bridge": {*bridges}, "Port": {*bridges, *ports}, "Interface": {*bridges, *ports, *members}}


def interfaces_touched(todo: Todo, current: Host) -> set[str]:
    """Return the interfaces that are part of what a plan changes, as they are after it."""
    after = advance(current.bridges, todo)
    touched = set()
    for change in (change for change in todo if of_bridges(change)):
        path = change.path
        if path[1:2] == ("ports",):
            touched.add(path[2])
        elif path[1:2] == ("bonds",):
            bond = after.get(path[0], {}).get("bonds", {}).get(path[2], {})
            touched.update(bond.get("members", ()))
        else:
            touched.add(path[0])
    return touched

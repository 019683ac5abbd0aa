"""What a plan needs of the host around the switch, and what it touches there; pure."""

from __future__ import annotations

from corral.change import Path
from corral.converge import Todo
from corral.ovs.host import CHILDREN, Host, made


def interfaces_needed(todo: Todo) -> dict[str, Path]:
    """Return the network interfaces that a plan attaches and that the host must already have."""
    needed: dict[str, Path] = {}
    for change in todo:
        path, new = change.path, change.new
        if new is None or len(path) < 3:
            continue
        if len(path) == 3 and path[1] == "ports" and made("ports", new)["type"] == "system":
            needed[path[2]] = path
        elif len(path) == 3 and path[1] == "bonds":
            needed.update(dict.fromkeys(new["members"], (*path, "members")))
        elif path[1:2] == ("bonds",) and path[3:] == ("members",):
            needed.update({member: path for member in new if member not in change.old})
        elif path[3:] == ("type",) and new == "system":
            needed[path[2]] = path
    return needed


def bridges_needed(todo: Todo, current: Host) -> dict[str, Path]:
    """Return the bridges that a plan fills without making them and that are not there."""
    made_here = {change.path[0] for change in todo if len(change.path) == 1}
    return {
        change.path[0]: change.path[:1]
        for change in todo
        if change.path[0] not in made_here and change.path[0] not in current.bridges
    }


def interfaces_touched(todo: Todo, current: Host) -> set[str]:
    """Return the interfaces that are part of what a plan changes."""
    touched = set()
    for change in todo:
        bridge, kind, name = (*change.path, "", "")[:3]
        if kind not in CHILDREN:
            touched.add(bridge)
        elif kind == "ports":
            touched.add(name)
        elif len(change.path) == 3:
            touched.update((change.new or {}).get("members", ()))
        else:
            touched.update(current.bridges[bridge][kind][name]["members"])
            touched.update(change.new if change.path[3] == "members" else ())
    return touched

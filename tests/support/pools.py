"""Pools from plain data, and what a plan makes of a host, for tests without a daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.change import Change
from corral.converge import Todo
from corral.dhcp.model import Reservation
from corral.pool.model import Desired, declare
from corral.pool.plan import Current, plan
from tests.support import guests

MINION = "hv1"
POOL = "web"
BASE = "/img/corral/small-0123.qcow2"


def desired(data: Mapping[str, Any], minion: str = MINION) -> Desired:
    """Return a declared pool ``web`` that needs no network unless it has one."""
    return declare(minion, POOL, {"boot": {"ready": "none"}, **data})


def current(data: Mapping[str, Any]) -> Current:
    """Return a host from ``{guests: {name: fields}, disks: {path: base}, …}``, with the words of ``Current``.

    A guest's disks are there unless it says ``gone: true``; what runs is ready unless ``ready`` is given;
    what guests use is known from their disks, beside what is given as ``used``.
    """
    found = {name: dict(fields) for name, fields in (data.get("guests") or {}).items()}
    disks = dict(data.get("disks") or {})
    for fields in found.values():
        for disk in fields.get("disks", ()) if not fields.pop("gone", False) else ():
            disks.setdefault(disk["path"], BASE)
    used = {disk["path"] for fields in found.values() for disk in fields.get("disks", ())}
    running = {name for name, fields in found.items() if fields["state"] == "running"}
    return Current(
        guests.host(found),
        disks=disks,
        below={path: tuple(images) for path, images in (data.get("below") or {}).items()},
        used=frozenset(disks.keys() & {*used, *(data.get("used") or ())}),
        lost=frozenset(data.get("lost") or ()),
        reservations={
            subnet: tuple(Reservation.declare(one) for one in theirs)
            for subnet, theirs in (data.get("reservations") or {}).items()
        },
        ready=frozenset(data.get("ready", running)),
        taken=frozenset(data.get("taken") or ()),
    )


def plain(now: Current) -> dict[str, Any]:
    """Return a host as the data that ``current`` takes."""
    return {
        "guests": {
            name: {
                "state": found.state,
                **{k: v for k, v in found.fields.items() if k != "name"},
                "gone": True,
            }
            for name, found in now.host.guests.items()
        },
        "disks": dict(now.disks),
        "reservations": {
            subnet: [one.model_dump() for one in theirs] for subnet, theirs in now.reservations.items()
        },
        "ready": sorted(now.ready),
    }


def made(data: Mapping[str, Any]) -> Current:
    """Return the host that a pool's first run leaves."""
    wanted = desired(data)
    return applied(current({}), plan(current({}), wanted))


def applied(now: Current, todo: Todo) -> Current:
    """Return the host after a plan."""
    data = plain(now)
    for step in todo:
        _apply(data, step)
    return current(data)


def _apply(data: dict[str, Any], step: Change) -> None:
    kind, name, *rest = step.path[1:]
    if kind == "disks":
        del data["disks"][name]
    elif kind == "reservations":
        data["reservations"][name] = [r for r in data["reservations"][name] if r["address"] != rest[0]]
    elif step.removes and not rest:
        gone = data["guests"].pop(name)
        for path in step.old.get("disks", ()):
            del data["disks"][path]
        _reserve(data, gone, ())
    elif not rest:
        _create(data, name, dict(step.new))
    else:
        _update(data, name, rest, step.new)


def _create(data: dict[str, Any], name: str, new: dict[str, Any]) -> None:
    data["guests"][name] = {"state": "stopped", **new}
    new = data["guests"][name]
    _reserve(data, new, new.pop("reservations", ()))
    if new.pop("disk", None) != "kept":
        del new["image"]
        data["disks"][new["disks"][0]["path"]] = BASE
    new["gone"] = True


def _update(data: dict[str, Any], name: str, rest: list[str], new: Any) -> None:
    guest = data["guests"][name]
    if rest == ["reservations"]:
        _reserve(data, guest, new or ())
    elif rest in (["state"], ["ready"]):
        guest["state"] = "running"
        data["ready"] = [*data["ready"], name]
    elif rest[0] in ("nics", "disks"):
        key = "mac" if rest[0] == "nics" else "path"
        kept = [device for device in guest.get(rest[0], ()) if device[key] != rest[1]]
        old = next((device for device in guest.get(rest[0], ()) if device[key] == rest[1]), {})
        if len(rest) == 3:
            device = {**old, rest[2]: new}
            kept = [device if one[key] == rest[1] else one for one in guest[rest[0]]]
        elif new is not None:
            kept.append(new)
        guest[rest[0]] = kept
    else:
        guest[rest[0]] = new


def _reserve(data: dict[str, Any], guest: Mapping[str, Any], reserved: Any) -> None:
    """Make these all that is reserved for a guest's NICs."""
    macs = {nic["mac"] for nic in guest.get("nics", ())} | {one["mac"] for one in reserved}
    for subnet, theirs in data["reservations"].items():
        data["reservations"][subnet] = [one for one in theirs if one["mac"] not in macs]
    for one in reserved:
        data["reservations"].setdefault(one["subnet"], []).append(
            {key: one[key] for key in ("mac", "address", "name")}
        )

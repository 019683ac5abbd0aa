"""What it takes to bring a pool to its declaration; pure.

The guest of an index is the one whose metadata say so, whatever its name: guests that exist keep their name,
UUID, MAC addresses and disk. The plan is ordered so that it may stop anywhere: guests that leave go first,
then what others left behind, then each guest that stays or comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change, Path
from corral.converge import Todo
from corral.dhcp.model import Reservation
from corral.errors import Invalid, Refused
from corral.guest.host import Found, Host
from corral.guest.model import Guest
from corral.guest.plan import definition
from corral.pool.layout import Layout, Reserved, disks_of, lay_out, members
from corral.pool.model import Desired, Whole

OFF = ("stopped", "crashed")
OF_POOL = ("reservations", "state", "ready")  # parts of a guest that its definition has not


@dataclass(frozen=True)
class Current:
    """A host as one look found it.

    host
        Every guest of the host.
    disks
        The base image of each disk in the pool's folder and of its guests, by path; ``""`` for one without.
    below
        The overlays in the pool's folder that lie below a disk, by its path; external snapshots leave them.
    used
        Those of the disks that a guest of the host uses, be it by another path or below a disk of the pool.
    lost
        The base images among those that do not exist.
    reservations
        What is reserved for the pool, by subnet.
    ready
        Names of the guests whose sign of readiness was seen.
    taken
        MAC addresses in use besides those of guests.
    """

    host: Host
    disks: Mapping[str, str] = field(default_factory=dict)
    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    reservations: Mapping[str, tuple[Reservation, ...]] = field(default_factory=dict)
    ready: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()


def plan(current: Current, desired: Desired) -> Todo:
    """Return the changes that bring a pool to its declaration; none while it is paused.

    Raises ``Refused`` for what must not be touched: a guest of somebody else that has the name of one of
    ours or is to leave, a guest whose disk cannot be seen, a disk whose base image is gone.
    """
    if desired.pool.paused:
        return ()
    layout = lay_out(current.host, current.taken, desired)
    _check_makers(desired, layout.leaving)
    _check_disks(current, desired, layout)
    _check_memory(current, desired, layout)
    delete = desired.pool.scale_in.disks == "delete"
    todo = [*_leaving(desired.name, current, layout, delete), *_left_behind(current, desired, layout, delete)]
    for index in layout.guests:
        todo += _guest(current, desired, layout, index)
    return tuple(todo)


def plan_stopped(current: Current, desired: Whole) -> Todo:
    """Return the changes that stop every guest of a pool.

    Raises ``Refused`` for a guest that another minion made.
    """
    there = members(current.host, desired.name).values()
    on = [guest for guest in there if guest.state not in OFF]
    _check_makers(desired, on)
    return tuple(
        Change((desired.name, "guests", guest.name, "state"), guest.state, "stopped") for guest in on
    )


def plan_absent(current: Current, desired: Whole) -> Todo:
    """Return the changes that remove a pool: its guests, its reservations and, if so declared, its disks.

    Raises ``Refused`` for a guest that another minion made.
    """
    layout = Layout(leaving=tuple(members(current.host, desired.name).values()))
    _check_makers(desired, layout.leaving)
    delete = desired.disks == "delete"
    return (*_leaving(desired.name, current, layout, delete), *_left_behind(current, desired, layout, delete))


def doomed(found: Found, current: Current) -> tuple[str, ...]:
    """Return the disks that go with a guest when disks go: the overlays among its disks, and those below."""
    overlays = [path for path in disks_of(found) if current.disks.get(path)]
    return tuple(image for path in overlays for image in (path, *current.below.get(path, ())))


def created(todo: Todo) -> set[str]:
    """Return the names of the guests that a plan creates."""
    return {
        step.path[2] for step in todo if step.path[1] == "guests" and len(step.path) == 3 and step.creates
    }


def about(todo: Todo, *keys: str) -> set[str]:
    """Return the names of the guests whose parts of these names a plan changes."""
    return {
        step.path[2] for step in todo if step.path[1] == "guests" and step.path[3:4] in {(k,) for k in keys}
    }


def redefined(todo: Todo) -> set[str]:
    """Return the names of the guests whose definitions a plan changes."""
    steps = (step for step in todo if step.path[1] == "guests" and len(step.path) > 3)
    return {step.path[2] for step in steps if step.path[3] not in OF_POOL}


def _leaving(pool: str, current: Current, layout: Layout, delete: bool) -> Iterator[Change]:
    for guest in layout.leaving:
        going = list(doomed(guest, current)) if delete else []
        old: dict[str, Any] = {"uuid": guest.uuid, "state": guest.state}
        if going:
            old["disks"] = going
        yield Change((pool, "guests", guest.name), old, None, "data loss" if going else "")


def _left_behind(
    current: Current, desired: Desired | Whole, layout: Layout, delete: bool
) -> Iterator[Change]:
    """Yield what a broken-off run or an earlier declaration left: reservations, and disks if they may go."""
    wanted = set(layout.disks.values())
    for path, base in current.disks.items():
        ours = base and path.startswith(f"{desired.directory}/")
        if delete and ours and path not in wanted | current.used:
            yield Change((desired.name, "disks", path), "kept", None, "data loss")
    gone = {mac for guest in layout.leaving for mac in guest.macs}
    told = {mac for guest in layout.guests.values() for mac in _macs(guest)}
    for subnet, reservations in sorted(current.reservations.items()):
        for reservation in reservations:
            if reservation.mac not in gone | told:
                shown = _shown((subnet, reservation))
                yield Change((desired.name, "reservations", subnet, reservation.address), shown, None)


def _guest(current: Current, desired: Desired, layout: Layout, index: int) -> Iterator[Change]:
    guest, disk = layout.guests[index], layout.disks[index]
    at: Path = (desired.name, "guests", guest.name)
    found = current.host.guests.get(guest.name)
    wanted = [_shown(reserved) for reserved in layout.reservations[index]]
    defined = definition(
        current.host, guest, at, owner=desired.minion, where=f"{desired.at}.guests.{guest.name}"
    )
    if found is None:
        yield _coming(defined[0], desired, wanted, disk in current.disks)
        yield Change((*at, "state"), None, "running")
        return
    reserved = [_shown(one) for one in _reserved(current, guest)]
    if reserved != wanted:
        yield Change((*at, "reservations"), reserved or None, wanted or None)
    yield from defined
    if found.state != "running":
        yield Change((*at, "state"), found.state, "running")
    elif guest.name not in current.ready:
        yield Change((*at, "ready"), False, True)


def _coming(made: Change, desired: Desired, reserved: list[dict[str, Any]], kept: bool) -> Change:
    """Return the creation of a guest: its definition, and what the pool adds to it."""
    shown = dict(made.new)
    if kept:
        shown["disk"] = "kept"
    else:
        shown["image"] = desired.pool.image
    if reserved:
        shown["reservations"] = reserved
    return Change(made.path, None, shown)


def _check_disks(current: Current, desired: Desired, layout: Layout) -> None:
    """Refuse to go on with disks that a start would not survive."""
    orphans = [index for index, disk in layout.disks.items() if current.disks.get(disk) in current.lost]
    if orphans:
        disk, name = layout.disks[orphans[0]], layout.guests[orphans[0]].name
        more = f" ({len(orphans)} disks of the pool are)" if len(orphans) > 1 else ""
        raise Refused(
            f"{desired.at}.guests.{name}: its disk {disk} is an overlay of {current.disks[disk]},"
            f" which does not exist{more}; put the base image back."
        )
    for index, disk in layout.disks.items():
        found = current.host.guests.get(layout.guests[index].name)
        if found and disk not in current.disks:
            raise Refused(
                f"{desired.at}.guests.{found.name}: it is {found.state}, and its disk {disk} does not exist;"
                " mount or restore it, or take the guest away (guest.absent) to have a new one made."
            )


def _check_makers(desired: Desired | Whole, guests: Iterable[Found]) -> None:
    """Refuse to stop or take away a guest that came from another minion: that one may declare it, too."""
    for guest in guests:
        maker = (guest.mark or {})["id"]
        if maker != desired.minion:
            raise Refused(
                f"{desired.at}.guests.{guest.name}: it was made by {maker}; take its mark out of its metadata"
                " or migrate it back."
            )


def _check_memory(current: Current, desired: Desired, layout: Layout) -> None:
    """Raise ``Invalid`` when a guest is to be made and nobody said how much memory it has."""
    new = [guest for guest in layout.guests.values() if guest.name not in current.host.guests]
    if new and "memory" not in desired.pool.guest.model_fields_set:
        raise Invalid(f"{desired.at}.guest.memory: is required to create a guest")


def _reserved(current: Current, guest: Guest) -> list[Reserved]:
    macs = _macs(guest)
    return [
        (subnet, reservation)
        for mac in macs
        for subnet, reservations in sorted(current.reservations.items())
        for reservation in reservations
        if reservation.mac == mac
    ]


def _shown(reserved: Reserved) -> dict[str, Any]:
    subnet, reservation = reserved
    return {
        "subnet": subnet,
        "mac": reservation.mac,
        "address": reservation.address,
        "name": reservation.name,
    }


def _macs(guest: Guest) -> tuple[str, ...]:
    return tuple(nic.mac for nic in guest.nics or ())

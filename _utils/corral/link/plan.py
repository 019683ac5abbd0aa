"""The difference between a device as it is and as declared."""

from __future__ import annotations

from corral.change import Change
from corral.converge import Todo
from corral.link.keeper import Files
from corral.link.model import Device, Host, Inhabited, Link, Namespace, bare
from corral.link.render import files, without
from corral.link.route import BY_ITSELF, EVERYTHING, HeldRoute

ON_LINK = "on link"  # of a route without a router


def plan(current: Host, desired: Link) -> Todo:
    """Return what leads from the devices of this host to the declared one.

    A device that is not there yet is taken for one that has just been made. One that moves to another
    namespace keeps what it has. Taking a device down takes IPv6 addresses off it, so that comes before they
    are added (and those that stay are put back); a route needs the addresses, and a device that is up. What
    is new comes before others are removed, so that the host can be reached after any step.
    """
    name = desired.name
    device = current.device(desired)
    mentioned = desired.model_fields_set
    todo = _namespace(current, desired) if "namespace" in mentioned else ()
    if "mtu" in mentioned and device.mtu != desired.mtu:
        todo += (Change((name, "mtu"), device.mtu, desired.mtu),)
    switch = (
        (Change((name, "up"), device.up, desired.up),)
        if "up" in mentioned and device.up != desired.up
        else ()
    )
    added, gone = _addresses(device, desired) if "addresses" in mentioned else ((), ())
    todo += added + switch if desired.up else switch + added
    return todo + _routes(current, desired) + gone + _taken(current, desired) + _files(current.files, desired)


def plan_absent(current: Inhabited | None, desired: Namespace) -> Todo:
    """Return the removal of a network namespace, if there is one."""
    return (Change((desired.name,), "a network namespace", None),) if current else ()


def _namespace(current: Host, desired: Link) -> Todo:
    name, space = desired.name, desired.namespace
    was = next(iter(current.having(desired)), None)
    todo: Todo = (Change((name, "namespace"), was, space),) if was != space else ()
    if space is not None and not current.loopback(space):
        todo += (Change((name, "loopback"), False, True),)
    return todo


def _files(there: Files, desired: Link) -> Todo:
    """Return which files are to be written, and which to go; last, for what they say tells what is ours."""
    name = desired.name
    if "persist" not in desired.model_fields_set:
        return ()
    if desired.persist and not there.keeper:  # that will be told as what is missing
        return (Change((name, "persist"), None, desired.persist),)
    have = {**there.texts, **there.foreign}
    wanted = {path: without(text, desired.takes_over) for path, text in there.foreign.items()}
    for other, keeper in there.others.items():
        wanted |= files(Link(name=other), keeper)
    wanted |= files(desired, there.keeper) if there.keeper else {}
    gone = dict.fromkeys(there.texts.keys() - wanted.keys())
    return tuple(
        Change((name, "persist", path), have.get(path), text)
        for path, text in {**wanted, **dict(sorted(gone.items()))}.items()
        if have.get(path) != text
    )


def _taken(current: Host, desired: Link) -> Todo:
    """Return what other devices lose of what is declared, now that this one has it."""
    keys = {way.key for way in desired.ways.values()}
    own = set(map(bare, desired.addresses))
    todo: Todo = ()
    for other, device in current.taken(desired).items():
        ways = [route for route in device.routes if route.key in keys and route.maker not in BY_ITSELF]
        todo += tuple(Change((other, "routes", way.key), way.via or ON_LINK, None) for way in ways)
        theirs = [held.address for held in device.addresses if bare(held.address) in own]
        todo += tuple(Change((other, "addresses", one), one, None) for one in theirs)
    return todo


def _addresses(device: Device, desired: Link) -> tuple[Todo, Todo]:
    """Return which addresses are to be added, and which are to go."""
    name = desired.name
    held = {one.address for one in device.addresses}
    added = (Change((name, "addresses", one), None, one) for one in desired.addresses if one not in held)
    gone = (one.address for one in device.addresses if one.ours and one.address not in desired.addresses)
    return tuple(added), tuple(Change((name, "addresses", one), one, None) for one in gone)


def _routes(current: Host, desired: Link) -> Todo:
    """Return what leads to the declared routes; where another router is declared, that is one step."""
    name, wanted, device = desired.name, desired.ways, current.device(desired)
    todo = []
    taken = [
        (other, held)
        for other, theirs in current.taken(desired).items()
        for held in theirs.routes
        if held.maker not in BY_ITSELF
    ]
    for path, route in wanted.items():
        there = [held.via or ON_LINK for held in device.routes if held.key == route.key]
        there += [f"{held.via or ON_LINK} through {other}" for other, held in taken if held.key == route.key]
        via = route.via or ON_LINK
        if via not in there:
            todo.append(Change((name, *path), there[0] if there else None, via))
    keys = {route.key for route in wanted.values()}
    stale = [held for held in device.routes if held.ours and held.key not in keys]
    gone = {_place(held, desired): held.via or ON_LINK for held in stale if _governed(held, desired)}
    going = [Change((name, *place), via, None) for place, via in gone.items()]
    # A gateway of the other version of IP takes the place of this one: first it goes, then the other comes.
    return tuple(
        sorted((*going, *todo), key=lambda change: not (change.removes and "gateway" in change.path))
    )


def _governed(held: HeldRoute, desired: Link) -> bool:
    """Whether a route goes for not being declared: ``routes`` speaks of all, ``gateway`` of its own kind."""
    kind = {"routes", "gateway"} if held.key in EVERYTHING.values() else {"routes"}
    return bool(kind & desired.model_fields_set)


def _place(held: HeldRoute, desired: Link) -> tuple[str, ...]:
    its_own = "gateway" in desired.model_fields_set and held.key in EVERYTHING.values()
    return ("gateway",) if its_own else ("routes", held.key)

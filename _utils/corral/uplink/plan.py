"""What it takes to have a host's address on a bridge over its cards; pure.

First the switch, in one transaction; then addresses and routes, each on the bridge before it is gone from the
card. In between the host has no way out, which is some milliseconds.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change
from corral.converge import Todo
from corral.link.model import Device, Held, Link, bare
from corral.link.model import Host as Links
from corral.link.plan import ON_LINK
from corral.link.plan import plan as link_plan
from corral.link.route import BY_ITSELF, EVERYTHING, HeldRoute
from corral.ovs.host import Host, Spec
from corral.ovs.model import Switch
from corral.ovs.plan import plan as switch_plan
from corral.uplink.model import OF_HOST, Uplink

MAKER = "ovs.uplink_managed"


@dataclass(frozen=True)
class Card:
    """What a network card is to others.

    mac
        Its MAC address.
    master
        The bridge or bond of Linux that it is a port of, if any.
    upper
        Devices that are made on top of it.
    clients
        Who would give it its address again, in words.
    """

    mac: str = ""
    master: str = ""
    upper: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Current:
    """One look at the switch, one at the devices of the host, and one at its cards."""

    switch: Host
    links: Links
    cards: Mapping[str, Card] = field(default_factory=dict)


def plan(current: Current, desired: Uplink) -> Todo:
    """Return the changes that lead to the declared uplink; raises what the planner of the switch raises."""
    wanted = link(current.links, desired)
    moved = link_plan(current.links, wanted)
    files = tuple(change for change in moved if change.path[1] == "persist")
    return (
        *switch_plan(current.switch, switch(current, desired), maker=MAKER),
        *_cards_up(current.links, desired),
        *(change for change in moved if change not in files),
        *_left(current.links, wanted),
        *files,
    )


def of_link(change: Change) -> bool:
    """Whether a change is one of a network device of the host, and not of the switch."""
    return change.path[1:2] in _OF_LINK


_OF_LINK = {(word,) for word in (*OF_HOST, "up")}


def link(links: Links, desired: Uplink) -> Link:
    """Return the bridge as a device: what is not declared is what it has of us, and what the cards have."""
    said = desired.link.declared()
    devices = [links.device(desired.link), *links.taken(desired.link).values()]
    if "addresses" not in said:
        found = [one for one in devices[0].addresses if one.ours]
        found += [one for card in devices[1:] for one in card.addresses if one.lasting]
        by_bare = {bare(one.address): one.address for one in found if not _link_local(one)}
        said["addresses"] = list(by_bare.values())
    if "routes" not in said:
        held = [one for one in devices[0].routes if one.ours]
        held += [one for card in devices[1:] for one in card.routes if _made(one)]
        if "gateway" in said:
            held = [one for one in held if one.to not in EVERYTHING.values()]
        said["routes"] = [one.shown() for one in {one.key: one for one in held}.values()]
    return Link.declare(said, at=desired.link.at)


def switch(current: Current, desired: Uplink) -> Switch:
    """Return the declared bridge; one without an address gets the MAC address of the card that has one.

    So nobody else on the link has to learn a new one, nor has a DHCP server that knows this host by it.
    """
    declared = desired.switch.declared()
    settings = declared["bridges"][desired.name].setdefault("other_config", {})
    there = current.switch.bridges.get(desired.name, {}).get("other_config", {})
    if "hwaddr" in settings or "hwaddr" in there or _has_address(current.links.device(desired.link)):
        return desired.switch
    for name, card in current.links.taken(desired.link).items():
        if _has_address(card) and current.cards[name].mac:
            settings["hwaddr"] = current.cards[name].mac
            return Switch.declare(declared)
    return desired.switch


def _cards_up(links: Links, desired: Uplink) -> Iterator[Change]:
    for name, card in links.taken(desired.link).items():
        if not card.up:
            yield Change((name, "up"), False, True)


def _left(links: Links, wanted: Link) -> Iterator[Change]:
    """Yield what goes from the cards without being on the bridge: there it would be in the bridge's way."""
    keys = {way.key for way in wanted.ways.values()}
    own = set(map(bare, wanted.addresses))
    for name, card in links.taken(wanted).items():
        for route in card.routes:
            if _made(route) and route.key not in keys:
                yield Change((name, "routes", route.key), route.via or ON_LINK, None)
        for held in card.addresses:
            if not _link_local(held) and bare(held.address) not in own:
                yield Change((name, "addresses", held.address), held.address, None)


def lacking(current: Current, desired: Uplink) -> Iterator[str]:
    """Yield a sentence for each card that cannot be a port of the bridge, or would not stay one."""
    for name, at in desired.cards.items():
        yield from (f"{at}: {why}" for why in _in_use(name, current, desired))
        device = current.links.taken(desired.link).get(name)
        if device is not None:
            yield from (f"{at}: {why}" for why in _leased(name, device, current.cards[name], desired))
            if desired.mtu and device.mtu < desired.mtu:
                yield f"links.{desired.name}.mtu: {desired.mtu} is more than the {device.mtu} of {name}."


def _in_use(name: str, current: Current, desired: Uplink) -> Iterator[str]:
    card = current.cards.get(name, Card())
    kind = current.switch.rows.interfaces.get(name, {}).get("type", "")
    if kind not in ("", "system"):
        yield f"in Open vSwitch {name} is of type {kind}; say so, since it is no network card."
    for bridge, spec in current.switch.bridges.items():
        if bridge != desired.name and name in _connected(spec):
            yield f"{name} is on the bridge {bridge} already; take it off there first."
    if card.master:
        yield f"{name} is a port of {card.master} already; take it off there first."
    if card.upper:
        hanging = " and ".join(card.upper)
        yield f"{hanging} would get no frames any more; make it an internal port with that tag instead."


def _connected(bridge: Spec) -> set[str]:
    members = (member for bond in bridge["bonds"].values() for member in bond["members"])
    return {*bridge["ports"], *members}


def _leased(name: str, device: Device, card: Card, desired: Uplink) -> Iterator[str]:
    """Yield why a card would get its address again, or the bridge one that is only lent."""
    for client in card.clients:
        yield f"{client} would give {name} its address again; have it let go of {name} first."
    own = set(map(bare, desired.link.addresses))
    for held in device.addresses:
        one = ipaddress.ip_interface(held.address)
        if one.version == 4 and not held.lasting and bare(held.address) not in own:
            yield (
                f"{held.address} of {name} is lent by DHCP for a time; declare it under addresses where it is"
                f" reserved for this host, or another one."
            )


def _made(route: HeldRoute) -> bool:
    return route.maker not in BY_ITSELF


def _link_local(held: Held) -> bool:
    return ipaddress.ip_interface(held.address).is_link_local


def _has_address(device: Device) -> bool:
    return any(not _link_local(held) for held in device.addresses)


def announced(todo: Iterable[Change], name: str) -> tuple[str, ...]:
    """Return the IPv4 addresses that a plan gives to the bridge."""
    given: Iterator[Any] = (
        change.new for change in todo if change.path[:2] == (name, "addresses") and change.creates
    )
    return tuple(bare(one) for one in given if ":" not in one)

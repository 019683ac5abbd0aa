"""What hangs on what: from a device to the ports of Open vSwitch and the Linux bridges behind it; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from corral.topology.devices import Devices, Place


@dataclass(frozen=True)
class Attachment:
    """What was found on the way outwards.

    interfaces
        The interfaces of Open vSwitch, with the VLAN whose tag the frames have there; None without one.
    bridges
        The Linux bridges that were crossed.
    places
        All devices, the first one included.
    """

    interfaces: tuple[tuple[str, int | None], ...] = ()
    bridges: tuple[str, ...] = ()
    places: frozenset[Place] = frozenset()


def attachment(devices: Devices, start: Place, interfaces: Collection[str]) -> Attachment:
    """Walk outwards from a device over veth pairs, VLAN devices and Linux bridges, up to Open vSwitch."""
    found: dict[str, int | None] = {}
    bridges: list[str] = []
    seen: set[Place] = set()
    todo: list[tuple[Place, int | None]] = [(start, None)]
    while todo:
        place, vlan = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        one = devices.all[place]
        if devices.ids[place] in interfaces:
            found[devices.ids[place]] = vlan
            continue
        if one["kind"] == "bridge":
            bridges.append(one["name"])
        todo += [(other, one.get("vlan", vlan)) for other in _next(devices, place)]
    return Attachment(tuple(found.items()), tuple(bridges), frozenset(seen))


def _next(devices: Devices, place: Place) -> Iterator[Place]:
    one = devices.all[place]
    below, master = devices.below(place), devices.master(place)
    if below and one["kind"] in ("veth", "vlan"):
        yield below
    if master and devices.all[master]["kind"] == "bridge":
        yield master
    if one["kind"] == "bridge":
        yield from (other for other in devices.all if devices.master(other) == place)

"""The devices of the kernel: which are worth showing, by what id, and what hangs on what; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from corral.topology.seen import Namespace

Device = dict[str, Any]
Place = tuple[str, int]  # a namespace and the number of a device in it

KINDS = {"tun": "tap", "bridge": "linux_bridge", "bond": "linux_bond", "openvswitch": "internal"}
# Made by Open vSwitch for itself: its datapath, and one device for all tunnels of a type.
INNER = re.compile(r"ovs-(system|netdev)$|(vxlan|genev|gre|gretap|ip6gre|erspan|stt|lisp)_sys(_\d+)?$")


class Devices:
    """The devices of all namespaces.

    ports
        The names of Open vSwitch's interfaces, which may have been moved into another namespace.
    """

    def __init__(self, namespaces: Iterable[Namespace], ports: Iterable[str]) -> None:
        self._names = {place.name: place.ids for place in namespaces}
        self.all: dict[Place, Device] = {
            (place.name, one["index"]): one | {"namespace": place.name}
            for place in namespaces
            for one in place.devices
            if not INNER.match(one["name"])
        }
        self.ids: dict[Place, str] = {}
        self.places: dict[str, Place] = {}
        ports = set(ports)
        for place, one in self.all.items():  # that of the host comes first
            name = one["name"]
            here = not place[0] or (name in ports and name not in self.places)
            self.ids[place] = name if here else f"{name}@{place[0]}"
            self.places.setdefault(self.ids[place], place)

    def named(self, identity: str) -> Device | None:
        place = self.places.get(identity)
        return self.all[place] if place else None

    def below(self, place: Place) -> Place | None:
        """Return the device on which another is made, and of a veth pair the other end."""
        one = self.all[place]
        if one["link"] is None:
            return None
        far = one["link_namespace"]
        where = place[0] if far is None else self._names[place[0]].get(far)
        found = None if where is None else (where, int(one["link"]))
        return found if found in self.all and found != place else None

    def master(self, place: Place) -> Place | None:
        found = (place[0], self.all[place]["master"])
        return found if found in self.all else None

    def edges(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Yield kind, both ends and VLAN of what hangs on what."""
        for place, one in self.all.items():
            below, master = self.below(place), self.master(place)
            if below and one["kind"] == "veth":
                if self.ids[place] < self.ids[below]:
                    yield "veth", self.ids[place], self.ids[below], {}
            elif below:
                yield (
                    "lower",
                    self.ids[place],
                    self.ids[below],
                    {"vlan": one["vlan"]} if "vlan" in one else {},
                )
            if master:
                kind = "member" if self.all[master]["kind"] != "bridge" else "port"
                yield kind, self.ids[master], self.ids[place], {}

    def shown(self, wanted: set[str]) -> set[str]:
        """Return the devices worth showing: network cards, those with addresses, and what hangs on them.

        wanted
            Devices that others refer to: ports of Open vSwitch, and those of guests.
        """
        linked: dict[str, set[str]] = {}
        for _, one, other, _ in self.edges():
            linked.setdefault(one, set()).add(other)
            linked.setdefault(other, set()).add(one)
        seeds = {
            self.ids[place]
            for place, one in self.all.items()
            if self.ids[place] in wanted or one["kind"] == "nic" or one["addresses"] or self.master(place)
        }
        found: set[str] = set()
        while seeds:
            found |= seeds
            seeds = {other for one in seeds for other in linked.get(one, ())} - found
        return found


def node(one: Device) -> dict[str, Any]:
    """Return a device as a node."""
    shown = {"kind": KINDS.get(one["kind"], one["kind"]), "name": one["name"], **state(one)}
    shown |= {key: one[key] for key in ("mac", "mtu", "addresses", "namespace") if one[key]}
    return shown


def state(one: Device) -> dict[str, str]:
    if not one["up"]:
        return {"state": "down", "reason": "it is switched off"}
    return {"state": "up"} if one["carrier"] else {"state": "down", "reason": "it has no carrier"}

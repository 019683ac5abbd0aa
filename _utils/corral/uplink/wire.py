"""The way out of a host: its switch by ``corral.ovs``, its addresses by ``corral.link``."""

from __future__ import annotations

import socket

from corral import converge
from corral.errors import Conflict, Error, Refused
from corral.guard import Undo
from corral.link import persist
from corral.link.model import Device
from corral.link.model import Host as Links
from corral.link.netlink import look
from corral.link.wire import Netlink
from corral.ovs import wire as ovs
from corral.uplink.arp import announce
from corral.uplink.cards import cards
from corral.uplink.model import Uplink
from corral.uplink.plan import MAKER, Current, announced, lacking, link, of_link, switch


class Wire(converge.Wire[Current, Uplink]):
    """The daemons and devices of one host.

    desired
        What is declared: what is looked at follows from it.
    timeout
        Seconds within which each daemon must answer.
    """

    guarded = True

    def __init__(self, desired: Uplink, timeout: float) -> None:
        self.desired = desired
        self.switch = ovs.Wire(MAKER, timeout, desired.switch)

    def read(self) -> Current:
        return Current(self.switch.read(), self._links(), cards(self.desired.cards))

    def look(self) -> Current:
        return Current(self.switch.look(), self._links(), cards(self.desired.cards))

    def bare(self) -> Current:
        return Current(self.switch.bare(), self._links(), cards(self.desired.cards))

    def _links(self) -> Links:
        """Look at the devices; a bridge that is not there yet is one that Open vSwitch will have made."""
        wanted, devices = self.desired.link, look()
        devices.setdefault(self.desired.name, Device(kind="openvswitch"))
        host = Links({None: devices})
        return Links(host.spaces, persist.look(wanted, host.device(wanted), host.taken(wanted)))

    def lacks(self, todo: converge.Todo, current: Current, desired: Uplink) -> tuple[str, ...]:
        wanted, mine = link(current.links, desired), _of_links(todo)
        return (
            *self.switch.lacks(_of_switch(todo), current.switch, switch(current, desired)),
            *lacking(current, desired),
            *Netlink(wanted).lacks(mine, current.links, wanted),
        )

    def undo(self, todo: converge.Todo, current: Current, desired: Uplink) -> Undo:
        """Return what leads back from both parts, the last one first (``corral.uplink.undo``)."""
        wanted, mine = link(current.links, desired), _of_links(todo)
        of_switch = self.switch.undo(_of_switch(todo), current.switch, desired.switch)
        of_link = Netlink(wanted).undo(mine, current.links, wanted)
        down = [change.path[0] for change in mine if change.path[1] == "up" and change.path[0] != wanted.name]
        return Undo(
            product="uplink",
            data={"switch": of_switch.data, "link": of_link.data, "down": down},
            devices=tuple(sorted({*of_switch.devices, *of_link.devices})),
            environment=of_switch.environment,
        )

    def apply(self, todo: converge.Todo, current: Current, desired: Uplink) -> None:
        """Change the switch, and bring the address after its card even where the switch complains."""
        refused: Error | None = None
        try:
            if _of_switch(todo):
                self.switch.apply(_of_switch(todo), current.switch, switch(current, desired))
        except Conflict:
            raise
        except Error as error:
            if not self._is_there():
                raise
            refused = error
        self._move(_of_links(todo), current, desired)
        if refused is not None:
            raise refused

    def _is_there(self) -> bool:
        """Whether the bridge is there and has its cards, so that the host's address belongs on it."""
        found = self.switch.look().bridges.get(self.desired.name)
        if found is None or self.desired.name not in (name for _, name in socket.if_nameindex()):
            return False
        members = {member for bond in found["bonds"].values() for member in bond["members"]}
        return self.desired.cards.keys() <= {*found["ports"], *members}

    def _move(self, todo: converge.Todo, current: Current, desired: Uplink) -> None:
        if not todo:
            return
        wanted, devices = link(current.links, desired), look()
        if desired.name not in devices:
            raise Refused(f"links.{desired.name}: Open vSwitch has the bridge, and the host no such device.")
        Netlink(wanted).apply(todo, Links({None: devices}, current.links.files), wanted)
        announce(desired.name, announced(todo, desired.name))

    def close(self) -> None:
        self.switch.close()


def _of_links(todo: converge.Todo) -> converge.Todo:
    return tuple(change for change in todo if of_link(change))


def _of_switch(todo: converge.Todo) -> converge.Todo:
    return tuple(change for change in todo if not of_link(change))

"""A host's overlays: its switch by ``corral.ovs``, and the device that has its address in the underlay."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from corral import converge
from corral.errors import Invalid, Refused
from corral.guard import Undo
from corral.overlay import explain
from corral.overlay.derive import MANAGED
from corral.overlay.model import Overlay
from corral.overlay.plan import Current, Underlay, derived, width
from corral.overlay.services import services
from corral.ovs import ask, look
from corral.ovs import wire as ovs
from corral.ovs.flows import Difference
from corral.ovs.host import Host
from corral.ovs.model import Switch
from corral.ovs.shorthand import written_out

SPACES = "/run/netns"  # ip-netns(8)


class _Switch(ovs.Wire):
    """A switch whose declared flows follow from what it is: from the VLANs that it has chosen."""

    def __init__(self, timeout: float, derive: Callable[[Host], Switch]) -> None:
        super().__init__(MANAGED, timeout)
        self.derive = derive
        self.derived: Switch | None = None  # for the last look

    def _flows(self, current: Host) -> dict[str, Difference]:
        self.derived = self.derive(current)
        self.wanted = written_out(self.derived.declared()["bridges"])
        return super()._flows(current)


class Wire(converge.Wire[Current, Overlay]):
    """The daemons of one host.

    desired
        The overlays: what is looked at follows from them.
    timeout
        Seconds within which each daemon must answer.
    """

    guarded = True

    def __init__(self, desired: Overlay, timeout: float) -> None:
        self.underlay = underlay(desired, timeout)
        self.switch = _Switch(timeout, partial(derived, desired, underlay=self.underlay))

    def read(self) -> Current:
        return Current(self.switch.read(), self.underlay, self.switch.derived)

    def look(self) -> Current:
        return Current(self.switch.look(), self.underlay, self.switch.derived)

    def bare(self) -> Current:
        return Current(self.switch.bare(), self.underlay)

    def lacks(self, todo: converge.Todo, current: Current, desired: Overlay) -> tuple[str, ...]:
        return (*_lacking(current, desired), *self.switch.lacks(todo, current.host, _wanted(current)))

    def undo(self, todo: converge.Todo, current: Current, desired: Overlay) -> Undo:
        return self.switch.undo(todo, current.host, _wanted(current))

    def apply(self, todo: converge.Todo, current: Current, desired: Overlay) -> None:
        self.switch.apply(todo, current.host, _wanted(current))

    def close(self) -> None:
        self.switch.close()


def _wanted(current: Current) -> Switch:
    assert current.wanted is not None  # every look says it
    return current.wanted


def _lacking(current: Current, desired: Overlay) -> tuple[str, ...]:
    """Return a sentence for what the tunnels need of the host and that it has not."""
    device, at = current.underlay.device, f"peers.{desired.host}"
    if not desired.neighbours:
        return ()
    if not device:
        return (f"{at}: no network interface of this host has {desired.address}.",)
    there = current.host.bridges.get(desired.bridges.tunnel, {}).get("datapath_type")
    ports = {port for bridge in current.host.bridges.values() for port in bridge["ports"]}
    if (desired.datapath_type or there) == "netdev" and device not in ports:
        return (
            f"{at}: {device} has {desired.address}, and in user space (datapath_type netdev) tunnels leave"
            f" only by a bridge: give the address to a bridge that has {device} as a port.",
        )
    return ()


def underlay(overlay: Overlay, timeout: float) -> Underlay:
    """Return the device of this host that has its address in the underlay."""
    wanted = ipaddress.ip_address(overlay.address)
    for device in json.loads(ask.run(timeout, "ip", "-json", "address", "show") or "[]"):
        for one in device.get("addr_info", ()):
            if ipaddress.ip_address(one["local"]) == wanted:
                return Underlay(device["ifname"], device["mtu"])
    return Underlay()


def spaces() -> frozenset[str]:
    """Return the network namespaces of this host that have a name."""
    return frozenset(os.listdir(SPACES)) if os.path.isdir(SPACES) else frozenset()


def networks(network: str | None, timeout: float) -> dict[str, Any]:
    """Return the networks of this host by name, as they are; only one of them where it is named."""
    with ovs.Wire(MANAGED, timeout) as daemon:
        bridges = daemon.look().bridges
    tunnel = explain.tunnel_bridge(bridges)
    flows = look.flows(tunnel, timeout)[tunnel] if tunnel else []
    found = explain.networks(bridges, flows)
    if network is not None and network not in found:
        raise Refused(f"This host has no network {network}.")
    return found if network is None else {network: found[network]}


def served(declaration: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Return what this host is to serve of the overlays; nothing of a declaration that is wrong."""
    try:
        overlay = Overlay.declare(declaration)
    except Invalid:
        return {"links": {}, "dhcp": {}, "ended": {}}
    return services(overlay, width(overlay, underlay(overlay, timeout)), spaces())

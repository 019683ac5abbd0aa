"""What leads back from a change of a link: as much as was changed, and what went with it.

Addresses and routes as they were are the guard's to put back (``corral.guard.network``); here is what it has
to take away first, and what is no address.
"""

from __future__ import annotations

import os
from typing import Any

from corral.change import Change
from corral.converge import Todo
from corral.errors import Refused
from corral.guard import Undo, network
from corral.guard.netlink import Netlink
from corral.link import persist
from corral.link.model import Device, Link
from corral.link.route import OURS


def undo(todo: Todo, device: Device, desired: Link) -> Undo:
    """Return what leads back from a plan for a device; ``Refused`` where it is in a namespace of its own."""
    if desired.namespace is not None or any(change.path[1] == "namespace" for change in todo):
        raise Refused(f"guard: {desired.at} is to be in a network namespace, where no guard can follow it.")
    changed = {change.path[1] for change in todo}
    data: dict[str, Any] = {"name": desired.name}
    data["added"] = [change.new for change in todo if change.path[1] == "addresses" and change.creates]
    data["files"] = [[change.path[2], change.old] for change in todo if change.path[1] == "persist"]
    data["routes"] = bool(changed & {"routes", "gateway"})
    if "mtu" in changed:
        data["mtu"] = device.mtu
    if "up" in changed:
        data["up"] = device.up
    return Undo("link", data, (desired.name,), alone=True)


def revert(data: dict[str, Any], network_was: network.Snapshot, rebooted: bool) -> None:
    """Lead back from a plan; of it nothing but files is there after a reboot."""
    persist.put(Change((data["name"], "persist", path), "", was) for path, was in data["files"])
    if rebooted:
        return
    with Netlink() as kernel:
        device = network.devices(kernel).get(data["name"])
        if device is None:
            return
        if data.get("mtu", device.mtu) != device.mtu:
            _done(data, "mtu", network.change(kernel, device.index, mtu=data["mtu"]))
        if data.get("up", device.up) != device.up:
            _done(data, "up", network.change(kernel, device.index, up=data["up"]))
        _take_away(kernel, data, network_was)


def _take_away(kernel: Netlink, data: dict[str, Any], was: network.Snapshot) -> None:
    """Remove the addresses and routes that were added, and nothing with them: Linux may take others along."""
    now = network.snapshot([data["name"]])
    routes = network.routes_beyond(was, now, OURS) if data["routes"] else []
    addresses = [one for one in now["addresses"] if network.shown(bytes.fromhex(one)) in data["added"]]
    for one in routes:
        _done(data, "routes", network.remove_route(kernel, bytes.fromhex(one)))
    for one in addresses:
        _done(data, "addresses", network.remove(kernel, bytes.fromhex(one)))
    others = {
        key: [one for one in now[key] if one not in (*routes, *addresses)] for key in ("addresses", "routes")
    }
    network.restore({**now, **others})


def _done(data: dict[str, Any], what: str, number: int) -> None:
    if number:
        raise Refused(f"links.{data['name']}.{what}: the kernel refuses to go back: {os.strerror(number)}.")

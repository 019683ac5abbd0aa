"""What brings the devices of this host, and its network namespaces, to what is declared."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any

from corral import netns
from corral.change import Change
from corral.converge import Todo, Wire
from corral.errors import Refused, Unavailable
from corral.guard import Undo
from corral.link import namespace, persist
from corral.link.model import (
    EVERYWHERE,
    Device,
    Host,
    Inhabited,
    Link,
    Namespace,
    Space,
    elsewhere,
    led_elsewhere,
    out_of_reach,
    too_narrow,
)
from corral.link.netlink import ask, held, look
from corral.link.plan import ON_LINK
from corral.link.route import EVERYTHING, METRIC, OURS
from corral.link.undo import undo

RT_SCOPE_LINK = 253
LOOPBACK = 1  # the number of ``lo``, in every network namespace
PROMOTE = "/proc/sys/net/ipv4/conf/{}/promote_secondaries"


def namespaces() -> dict[str, Inhabited]:
    """Return the network namespaces of this host that have a name."""
    return {
        name: Inhabited(
            ours=namespace.ours(name),
            devices=tuple(one for one in look(name) if one not in EVERYWHERE),
            processes=namespace.processes(name),
        )
        for name in netns.names()
    }


class Netlink(Wire[Host, Link]):
    """A device of this host, for the loop."""

    guarded = True

    def __init__(self, desired: Link) -> None:
        self.desired = desired

    def read(self) -> Host:
        """Look where the device should be and where it may come from; elsewhere if it is in neither."""
        spaces: dict[Space, dict[str, Device]] = {None: look()}
        if "namespace" in self.desired.model_fields_set:
            names = netns.names()
            if self.desired.namespace in names:
                spaces[self.desired.namespace] = look(self.desired.namespace)
            if not Host(spaces).having(self.desired):
                spaces |= {name: look(name) for name in names if name not in spaces}
        host = Host(spaces)
        if self.desired.namespace is not None:
            return host
        files = persist.look(self.desired, host.device(self.desired), host.taken(self.desired))
        return Host(spaces, files)

    def bare(self) -> Host:
        return Host({})

    def lacks(self, todo: Todo, current: Host, desired: Link) -> tuple[str, ...]:
        spaces = current.having(desired)
        if not spaces:
            return (f"{desired.at}: there is no such link on this host.",)
        if len(spaces) > 1:
            where = " and in ".join(map(repr, spaces))
            return (f"{desired.at}.namespace: a device of this name is in {where}.",)
        if desired.name == "lo" and spaces != (desired.namespace,):
            return (f"{desired.at}.namespace: there is no network namespace {desired.namespace!r}.",)
        neighbours = current.spaces.get(desired.namespace, {})
        device = current.device(desired)
        lacking = current.files.troubles + elsewhere(neighbours, desired) + too_narrow(device, desired)
        return lacking + led_elsewhere(neighbours, desired) + out_of_reach(device, desired)

    def undo(self, todo: Todo, current: Host, desired: Link) -> Undo:
        way_back = undo(todo, current.device(desired), desired)
        return replace(way_back, devices=(*way_back.devices, *current.taken(desired)))

    def apply(self, todo: Todo, current: Host, desired: Link) -> None:
        (space,) = current.having(desired)
        if "namespace" in desired.model_fields_set and space != desired.namespace:
            _move(todo, current, desired)
            space = desired.namespace
        device = current.device(desired)
        given_up = threading.Event()

        def run(netlink: Any) -> None:
            indexes = {name: _index(netlink, name) for name in {change.path[0] for change in todo}}
            with _promoting(todo):
                for change in todo:
                    if given_up.is_set():  # the state has failed already: change nothing behind its back
                        return
                    _change(netlink, indexes[change.path[0]], change)
                    if change.path[1] == "up" and not change.new:
                        _put_back(netlink, desired.name, replace(device, index=indexes[desired.name]))

        try:
            ask(run, space)
        except Unavailable:
            given_up.set()
            raise
        persist.put(change for change in todo if change.path[1] == "persist")


def _move(todo: Todo, current: Host, desired: Link) -> None:
    """Bring a device into another namespace, made when it is missing, with the addresses that it is to keep.

    Linux takes addresses off a device that changes its namespace, and takes it down.
    """
    (was,), space, device = current.having(desired), desired.namespace, current.device(desired)
    if space is not None and not netns.identity(space):
        namespace.make(space)
    if desired.name in current.spaces.get(space, {}):  # an orphan, or it would not be moved
        ask(lambda netlink: netlink.link("del", index=_index(netlink, desired.name)), space)
    with netns.opened(space) as descriptor:
        ask(lambda netlink: _send(netlink, desired, device, descriptor), was)
    going = {change.old for change in todo if change.path[1] == "addresses"}
    stays = replace(device, addresses=tuple(one for one in device.addresses if one.address not in going))

    def settle(netlink: Any) -> None:
        index = _index(netlink, desired.name)
        _put_back(netlink, desired.name, replace(stays, index=index))
        if device.up and desired.up:
            netlink.link("set", index=index, state="up")

    ask(settle, space)


def _send(netlink: Any, desired: Link, device: Device, descriptor: int) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        netlink.link("set", index=device.index, net_ns_fd=descriptor)
    except NetlinkError as refused:
        reason = os.strerror(refused.code)
        raise Refused(
            f"{desired.at}.namespace: the kernel refuses {desired.namespace!r}: {reason}."
        ) from refused


def _index(netlink: Any, name: str) -> int:
    """Return a device's number, which may be another one in another namespace."""
    return int(netlink.link_lookup(ifname=name)[0])


class NamespaceRemoval(Wire[Inhabited | None, Namespace]):
    """A network namespace that is to go, for the loop."""

    def __init__(self, desired: Namespace) -> None:
        self.name = desired.name

    def read(self) -> Inhabited | None:
        return namespaces().get(self.name)

    def bare(self) -> Inhabited | None:
        return None

    def lacks(self, todo: Todo, current: Inhabited | None, desired: Namespace) -> tuple[str, ...]:
        if current is None:
            return ()
        within = [f"the device {name}" for name in current.devices]
        within += [f"process {pid} ({name})" for pid, name in current.processes.items()]
        return (f"{desired.at}: {', '.join(within)} is in it still.",) if within else ()

    def apply(self, todo: Todo, current: Inhabited | None, desired: Namespace) -> None:
        namespace.remove(desired.name)


@contextlib.contextmanager
def _promoting(todo: Todo) -> Iterator[None]:
    """Keep the other addresses of a network, and the routes by way of them, when its first goes.

    Linux removes the later IPv4 addresses with the first one of their network unless it may promote them
    (ip-sysctl, ``promote_secondaries``), and with a device's last address all of its routes.
    """
    losing = {change.path[0] for change in todo if change.path[1] == "addresses" and change.removes}
    before: dict[Path, str] = {}
    try:
        for name in losing:
            switch = Path(PROMOTE.format(name))
            try:
                before[switch] = switch.read_text()
                if before[switch].strip() == "0":
                    switch.write_text("1")
            except OSError as failed:
                reason = f"{switch} cannot be set: {failed.strerror}."
                raise Refused(f"links.{name}.addresses: {reason}") from failed
        yield
    finally:
        for switch, was in before.items():
            with contextlib.suppress(OSError):  # the device is gone
                switch.write_text(was)


def _change(netlink: Any, index: int, change: Change, made_by: int = OURS) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        if change.path[1] in ("namespace", "persist"):
            return  # that is done before, and after
        if change.path[1] == "loopback":
            netlink.link("set", index=LOOPBACK, state="up")
        elif change.path[1] == "mtu":
            netlink.link("set", index=index, mtu=change.new)
        elif change.path[1] == "up":
            netlink.link("set", index=index, state="up" if change.new else "down")
        elif change.path[1] in ("gateway", "routes"):
            _lead(netlink, index, change)
        elif change.creates:
            netlink.addr("add", index=index, proto=made_by, **_spec(change.new))
        else:
            netlink.addr("del", index=index, **_spec(change.old))
    except NetlinkError as refused:
        # Somebody was faster: what was to be done is done.
        if refused.code not in (errno.EEXIST, errno.EADDRNOTAVAIL, errno.ESRCH):
            value = change.old if change.removes else change.new
            reason = os.strerror(refused.code)
            raise Refused(f"links.{change.dotted}: the kernel refuses {value!r}: {reason}.") from refused


def _spec(address: str) -> dict[str, Any]:
    one = ipaddress.ip_interface(address)
    spec: dict[str, Any] = {"address": str(one.ip), "prefixlen": one.network.prefixlen}
    if one.version == 4 and one.network.prefixlen < 31:
        spec["broadcast"] = str(one.network.broadcast_address)
    return spec


def _lead(netlink: Any, index: int, change: Change) -> None:
    """Add, replace or remove a route."""
    via = change.old if change.removes else change.new
    default = EVERYTHING[6 if ":" in via else 4]
    to, _, metric = (default if change.path[1] == "gateway" else change.path[2]).partition(" metric ")
    version = ipaddress.ip_network(to).version
    spec: dict[str, Any] = {"oif": index, "family": AF_INET if version == 4 else AF_INET6}
    spec["dst"] = "default" if to in EVERYTHING.values() else to
    spec["priority"] = int(metric) if metric else METRIC[version]
    if via != ON_LINK:
        spec["gateway"] = via
    elif version == 4:
        spec["scope"] = RT_SCOPE_LINK
    if change.removes:  # whatever its mark, since it may be the distribution that brought it up from our file
        netlink.route("del", **spec)
    else:
        # What is replaced may be anybody's, but it is this device's: another one's would have been refused.
        netlink.route("add" if change.creates else "replace", proto=OURS, **spec)


def _put_back(netlink: Any, name: str, device: Device) -> None:
    """Add again what went with the device's going down: Linux takes IPv6 addresses off it."""
    there = {held(message).address for message in netlink.get_addr(index=device.index)}
    for one in device.addresses:
        if one.lasting and one.address not in there and not ipaddress.ip_interface(one.address).is_link_local:
            change = Change((name, "addresses", one.address), None, one.address)
            _change(netlink, device.index, change, OURS if one.ours else 0)

"""What may be declared about a network device of this host, and what one is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator

from corral.kinds import Address, Flag, InterfaceAddress, InterfaceName, Name, Number
from corral.link.keeper import NO_FILES, Files
from corral.link.route import BY_ITSELF, OURS, HeldRoute, Route, shown
from corral.model import Model

PLAIN_NAME = re.compile(r"[A-Za-z0-9._@-]*")  # all that is no pattern and no mark in any of those files
MTU_MIN, MTU_MAX = 68, 65535  # RFC 791; the widest that Linux devices take
# Made by Linux in every namespace (net.core.fb_tunnels_only_for_init_net), and gone with it.
EVERYWHERE = {
    "lo",
    "tunl0",
    "gre0",
    "gretap0",
    "erspan0",
    "ip_vti0",
    "ip6_vti0",
    "sit0",
    "ip6tnl0",
    "ip6gre0",
}
MTU_MIN_IPV6 = 1280  # RFC 8200, section 5: Linux takes IPv6 off a device below it


class Link(Model):
    """A device that some other tool or product makes."""

    name: InterfaceName
    namespace: Name | None = None  # None: the host's own
    mtu: Number = 1500
    addresses: tuple[InterfaceAddress, ...] = ()
    up: Flag = True
    gateway: Address | None = None
    routes: tuple[Route, ...] = ()
    persist: Literal["auto", "networkd", "ifupdown", "networkmanager", "ifcfg"] | None = None
    takes_over: tuple[InterfaceName, ...] = ()

    @field_validator("mtu")
    @classmethod
    def _mtu_in_bounds(cls, mtu: int) -> int:
        if not MTU_MIN <= mtu <= MTU_MAX:
            raise ValueError(f"{mtu} is not an MTU ({MTU_MIN}–{MTU_MAX})")
        return mtu

    @field_validator("addresses", "routes", "takes_over", mode="before")
    @classmethod
    def _null_is_none(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("addresses")
    @classmethod
    def _each_once(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for number, address in enumerate(addresses):
            one = ipaddress.ip_interface(address)
            if bare(address) in map(bare, addresses[:number]):
                raise ValueError(f"{bare(address)} is a duplicate address")
            wide = one.network.prefixlen < one.max_prefixlen - 1
            if wide and one.ip == one.network.network_address:
                raise ValueError(f"{address} is the address of a network, not of a host in it")
            if wide and one.version == 4 and one.ip == one.network.broadcast_address:
                raise ValueError(f"{address} is the broadcast address of its network")
            if one.ip.is_multicast or one.ip.is_unspecified:
                raise ValueError(f"{address} is no address of a host")
            if one.version == 6 and info.data.get("mtu", MTU_MIN_IPV6) < MTU_MIN_IPV6:
                raise ValueError(f"{address} needs an MTU of {MTU_MIN_IPV6} at least")
        return addresses

    @field_validator("gateway", "routes")
    @classmethod
    def _of_a_device_that_is_up(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("up") is False:
            raise ValueError("a device that is down has no routes")
        return value

    @field_validator("routes")
    @classmethod
    def _ways_each_once(cls, routes: tuple[Route, ...], info: ValidationInfo) -> tuple[Route, ...]:
        gateway = info.data.get("gateway")
        keys = [Route(via=gateway, to="default").key] if gateway else []
        for route in routes:
            if route.key in keys:
                raise ValueError(f"{route.key} is a duplicate route")
            keys.append(route.key)
        return routes

    @field_validator("persist", "takes_over")
    @classmethod
    def _of_the_host(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("namespace"):
            raise ValueError("the distribution's files know of no network namespace")
        names = (info.data.get("name", ""), *(value if info.field_name == "takes_over" else ()))
        strange = [name for name in names if not PLAIN_NAME.fullmatch(name)]
        if value and strange:
            raise ValueError(f"in {strange[0]!r} is what has a meaning in the distribution's files")
        return value

    @property
    def at(self) -> str:
        return f"links.{self.name}"

    @property
    def ways(self) -> dict[tuple[str, ...], Route]:
        """Return all declared routes, the one to the gateway included, by where they are declared."""
        found: dict[tuple[str, ...], Route] = {("routes", route.key): route for route in self.routes}
        return {("gateway",): Route(via=self.gateway, to="default"), **found} if self.gateway else found


@dataclass(frozen=True)
class Held:
    """An address that a device has.

    ours
        Whether Corral made it: only then it may be removed for not being declared.
    lasting
        Whether it is there for good, and not for a time that DHCP or a router gave.
    """

    address: str
    ours: bool = True
    lasting: bool = True


@dataclass(frozen=True)
class Device:
    """A device as it is; the defaults are those of one that has just been made.

    kind
        As ``ip -details link`` has it; empty for hardware.
    orphan
        Whether it is a tun or tap device that no program holds any more: Open vSwitch leaves such a one in a
        namespace when it ends, and makes another of that name when it starts (datapath ``netdev``).
    """

    mtu: int = 1500
    addresses: tuple[Held, ...] = ()
    up: bool = False
    routes: tuple[HeldRoute, ...] = ()
    index: int = 0
    kind: str = ""
    orphan: bool = False

    def shown(self) -> dict[str, Any]:
        """Return it in the vocabulary of the declaration."""
        said = {"mtu": self.mtu, "addresses": [held.address for held in self.addresses], "up": self.up}
        return {**said, **shown(self.routes)}


Space = str | None  # a network namespace by its name; None is the host's own


@dataclass(frozen=True)
class Host:
    """The devices of this host by network namespace and name, and the files about the declared one."""

    spaces: Mapping[Space, Mapping[str, Device]]
    files: Files = NO_FILES

    def having(self, link: Link) -> tuple[Space, ...]:
        """Return the namespaces that the declared device may be in: none, one, or it cannot be told."""
        found = [space for space, devices in self.spaces.items() if link.name in devices]
        living = [space for space in found if not self.spaces[space][link.name].orphan] or found
        return (link.namespace,) if link.namespace in living else tuple(living)

    def device(self, link: Link) -> Device:
        """Return the declared device; one that is not there yet is taken for one that has just been made.

        Routes are of a namespace: a device that is moved leaves them behind.
        """
        for space in self.having(link):
            device = self._marked(self.spaces[space][link.name])
            if link.name in link.takes_over:
                device = taken_over(device)
            return device if space == link.namespace else replace(device, routes=())
        return Device()

    def _marked(self, device: Device) -> Device:
        """Return a device with what our files declare as ours: who brings it up at boot sets no mark."""
        declared = self.files.declared
        ways = [(way["to"], way["via"], way["metric"]) for way in declared["routes"]]
        return replace(
            device,
            addresses=tuple(
                replace(held, ours=held.ours or (held.lasting and held.address in declared["addresses"]))
                for held in device.addresses
            ),
            routes=tuple(
                replace(route, maker=OURS) if (route.to, route.via, route.metric) in ways else route
                for route in device.routes
            ),
        )

    def taken(self, link: Link) -> dict[str, Device]:
        """Return the other devices that are taken over, as far as they are there."""
        here = self.spaces.get(None, {})
        return {name: here[name] for name in link.takes_over if name in here and name != link.name}

    def loopback(self, space: Space) -> bool:
        """Return whether a network namespace is there, and its loopback up."""
        return self.spaces.get(space, {}).get("lo", Device()).up


class Namespace(Model):
    """The declaration that there is no network namespace of this name."""

    name: Name

    @property
    def at(self) -> str:
        return f"namespaces.{self.name}"


@dataclass(frozen=True)
class Inhabited:
    """A network namespace as it is.

    ours
        Whether Corral made it.
    devices
        By name, without those that Linux puts into every namespace.
    processes
        Names by process id.
    """

    ours: bool
    devices: tuple[str, ...]
    processes: Mapping[int, str]

    def shown(self) -> dict[str, Any]:
        return {"ours": self.ours, "devices": list(self.devices), "processes": dict(self.processes)}


def taken_over(device: Device) -> Device:
    """Return a device with all that is ours from now on, whoever made it; not what comes by itself."""
    return replace(
        device,
        addresses=tuple(
            replace(held, ours=held.ours or not ipaddress.ip_interface(held.address).is_link_local)
            for held in device.addresses
        ),
        routes=tuple(
            route if route.maker in BY_ITSELF else replace(route, maker=OURS) for route in device.routes
        ),
    )


def bare(address: str) -> str:
    """Return an address without its prefix length."""
    return address.partition("/")[0]


def too_narrow(device: Device, link: Link) -> tuple[str, ...]:
    """Return a sentence for each IPv6 address that is to stay and that the declared MTU would take off."""
    if "mtu" not in link.model_fields_set or link.mtu >= MTU_MIN_IPV6:
        return ()
    return tuple(
        f"{link.at}.mtu: {link.mtu} would take {held.address} off, IPv6 needs {MTU_MIN_IPV6} at least."
        for held in device.addresses
        if (one := ipaddress.ip_interface(held.address)).version == 6
        and not one.is_link_local
        and (not held.ours or "addresses" not in link.model_fields_set or held.address in link.addresses)
    )


def elsewhere(devices: Mapping[str, Device], link: Link) -> tuple[str, ...]:
    """Return a sentence for each declared address that another device of this host has already.

    A link-local address means its own link only, and may be on any number of them (RFC 4291, 2.5.6).
    """
    taken = {
        bare(held.address): name
        for name, device in devices.items()
        for held in device.addresses
        if name not in (link.name, *link.takes_over)
        and not ipaddress.ip_interface(held.address).is_link_local
    }
    return tuple(
        f"{link.at}.addresses[{number}]: {one} is a duplicate address, {taken[one]} has it."
        for number, one in enumerate(map(bare, link.addresses))
        if one in taken
    )


def led_elsewhere(devices: Mapping[str, Device], link: Link) -> tuple[str, ...]:
    """Return a sentence for each declared route that leads through another device already."""
    taken = {
        route.key: name
        for name, device in devices.items()
        for route in device.routes
        if name not in (link.name, *link.takes_over) and route.key in {one.key for one in link.ways.values()}
    }
    return tuple(
        f"{link.at}.{'.'.join(path)}: the route to {route.key} leads through {taken[route.key]} already."
        for path, route in link.ways.items()
        if route.key in taken
    )


def out_of_reach(device: Device, link: Link) -> tuple[str, ...]:
    """Return a sentence for each router that is in no network on the link, as it is to be."""
    if link.ways and not device.up and "up" not in link.model_fields_set:
        return (f"{link.at}.up: {link.name} is down, so no route leads through it.",)
    staying = [
        held.address for held in device.addresses if not held.ours or "addresses" not in link.model_fields_set
    ]
    near = [ipaddress.ip_interface(one).network for one in (*staying, *link.addresses)]
    near += [ipaddress.ip_network(one.to) for one in device.routes if one.via is None]
    near += [ipaddress.ip_network(one.to) for one in link.routes if one.via is None]
    own = {bare(one) for one in (*staying, *link.addresses)}
    itself = tuple(
        f"{link.at}.{'.'.join(path)}: {route.via} is an address of {link.name} itself."
        for path, route in link.ways.items()
        if route.via in own
    )
    return itself or tuple(
        f"{link.at}.{'.'.join(path)}: {route.via} is in no network that {link.name} has an address of."
        for path, route in link.ways.items()
        if route.via
        and not (one := ipaddress.ip_address(route.via)).is_link_local
        and not any(one in network for network in near)
    )

"""What may be declared about overlays: the hosts of a fleet, and the networks that span them.

The declaration is the same on every host; only ``host`` says which of them this is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from typing_extensions import Self

from corral.errors import Invalid
from corral.kinds import Address, Flag, InterfaceName, Name, Network, Number, Text
from corral.model import Model, dotted
from corral.overlay import names
from corral.overlay.mtu import KEY_BITS, Encapsulation

Where = tuple[str | int, ...]
Fault = tuple[Where, str]

NARROWEST = 576  # RFC 791: what every host must take
OURS = ("interface", "network", "namespace", "router")  # of a DHCP server: they follow from the network


def _one_address(value: Any) -> Any:
    """Return the one address of a list of one, as the mine has it (``network.ip_addrs``)."""
    if not isinstance(value, list | tuple):
        return value
    if len(value) != 1:
        raise ValueError(f"a host has one address in the underlay, here are {len(value)}")
    return value[0]


def _by_name(value: Any) -> Any:
    """Return ports by name, also from a list of names."""
    return dict.fromkeys(value) if isinstance(value, list | tuple) else value


PeerAddress = Annotated[Address, BeforeValidator(_one_address)]


class _Part(Model):
    """A model that is built when it is first used: every call of the module ``ovs`` imports it."""

    model_config = ConfigDict(defer_build=True)


class Port(_Part):
    """A port of the integration bridge that joins a network; ``internal`` is made, others join when there."""

    type: Literal["internal"] | None = None


class OverlayNetwork(_Part):
    """One network: a key in every tunnel, and on each host a VLAN of that host's choice."""

    key: Annotated[Number, Field(ge=1)]
    subnet: Network | None = None
    gateway: Address | None = None  # default: the first address of the subnet
    served_by: Text | None = None  # the host that has the gateway and the DHCP server
    namespace: Name | None = None  # default: one of its own; null: the host's
    dhcp: dict[Text, Any] | None = None
    hosts: list[Text] | None = None  # default: all peers
    bridge: InterfaceName | None = None  # default: computed
    ports: Annotated[dict[InterfaceName, Port | None], BeforeValidator(_by_name)] = {}


class Bridges(_Part):
    """The two bridges of a host."""

    integration: InterfaceName = "br-int"
    tunnel: InterfaceName = "br-tun"


class Overlay(_Part):
    """The overlays of a fleet, as one of its hosts is to have them."""

    host: Text
    peers: dict[Text, PeerAddress]
    networks: dict[Name, OverlayNetwork | None] = {}
    encapsulation: Encapsulation = "vxlan"
    dst_port: Annotated[Number, Field(ge=1, le=65535)] | None = None
    underlay_mtu: Annotated[Number, Field(ge=NARROWEST, le=65535)] | None = None
    bridges: Bridges = Bridges()
    datapath_type: Literal["system", "netdev"] | None = None
    bfd: Flag = False

    @classmethod
    def declare(cls, data: Any, at: str = "") -> Self:
        """Build the model; ``Invalid`` also for what is wrong only as a whole, such as a key used twice."""
        overlay = super().declare(data, at)
        faults = [f"{dotted(at, where)}: {sentence}" for where, sentence in _faults(overlay)]
        if faults:
            raise Invalid("; ".join(faults))
        return overlay

    @property
    def address(self) -> str:
        """This host's own address in the underlay."""
        return self.peers[self.host]

    @property
    def version(self) -> int:
        """The IP version of the underlay."""
        return ipaddress.ip_address(self.address).version

    @property
    def there(self) -> dict[str, OverlayNetwork]:
        """The networks that are not declared absent."""
        return {name: one for name, one in self.networks.items() if one is not None}

    @property
    def here(self) -> dict[str, OverlayNetwork]:
        """The networks that this host is to have, in the order of their keys."""
        mine = [(name, one) for name, one in self.there.items() if self.host in self.hosts(one)]
        return dict(sorted(mine, key=lambda pair: pair[1].key))

    @property
    def neighbours(self) -> list[str]:
        """The peers that have a network which this host has, too: to each of them there is a tunnel."""
        shared = {peer for one in self.here.values() for peer in self.hosts(one)}
        return sorted(shared - {self.host})

    def hosts(self, one: OverlayNetwork) -> list[str]:
        """Return the hosts that have a network."""
        return list(self.peers) if one.hosts is None else one.hosts

    def bridge(self, name: str) -> str:
        """Return the name of the bridge under which guests join a network."""
        return self.there[name].bridge or names.bridge(name)

    def namespace(self, name: str) -> str | None:
        """Return the namespace of a network's gateway and DHCP server, ``None`` for the host's own."""
        one = self.networks[name]
        said = one is not None and "namespace" in one.model_fields_set
        return one.namespace if one is not None and said else names.bridge(name)

    def gateway(self, name: str) -> str | None:
        """Return the address of a network's gateway, with the length of its prefix."""
        one = self.there[name]
        if one.subnet is None:
            return None
        subnet = ipaddress.ip_network(one.subnet)
        address = one.gateway or subnet.network_address + 1
        return f"{address}/{subnet.prefixlen}"


def _faults(overlay: Overlay) -> Iterator[Fault]:
    yield from _peers(overlay)
    if overlay.bridges.integration == overlay.bridges.tunnel:
        yield ("bridges", "tunnel"), f"{overlay.bridges.tunnel!r} is already the integration bridge"
    if overlay.dst_port is not None and overlay.encapsulation == "gre":
        yield ("dst_port",), "GRE has no ports"
    for name, one in overlay.there.items():
        yield from _network(overlay, ("networks", name), one)
    yield from _keys(overlay)
    yield from _ports(overlay)
    yield from _names(overlay)
    yield from _overlaps(overlay)


def _peers(overlay: Overlay) -> Iterator[Fault]:
    if overlay.host not in overlay.peers:
        yield ("peers",), f"this host, {overlay.host}, is not among them"
    seen: dict[str, str] = {}
    first = next(iter(overlay.peers.values()), "")
    for peer, address in overlay.peers.items():
        one = ipaddress.ip_address(address)
        if address in seen:
            yield ("peers", peer), f"{address} is already the address of {seen[address]}"
        seen.setdefault(address, peer)
        if one.version != ipaddress.ip_address(first).version:
            yield ("peers", peer), f"{address} and {first} are of two IP versions, and an underlay has one"
        if one.is_multicast or one.is_unspecified or one.is_loopback:
            yield ("peers", peer), f"{address} is no address of a host in an underlay"


def _network(overlay: Overlay, here: Where, one: OverlayNetwork) -> Iterator[Fault]:
    bits = KEY_BITS[overlay.encapsulation]
    if one.key >= 1 << bits:
        yield (
            (*here, "key"),
            f"{one.key} is out of range for {overlay.encapsulation} ({bits} bits: 1–{(1 << bits) - 1})",
        )
    hosts = overlay.hosts(one)
    seen: set[str] = set()
    for number, host in enumerate(one.hosts or ()):
        if host not in overlay.peers:
            yield (*here, "hosts", number), f"{host!r} is not among the peers"
        elif host in seen:
            yield (*here, "hosts", number), f"{host!r} is named twice"
        seen.add(host)
    yield from _served(here, one, hosts)


def _served(here: Where, one: OverlayNetwork, hosts: list[str]) -> Iterator[Fault]:
    if one.served_by is not None and one.served_by not in hosts:
        yield (*here, "served_by"), f"{one.served_by!r} is not a host of this network"
    for key in ("gateway", "served_by", "dhcp"):
        if getattr(one, key) is not None and one.subnet is None:
            yield (*here, key), "needs a subnet"
    if one.dhcp is not None and one.served_by is None:
        yield (*here, "dhcp"), "needs a host that serves it: served_by"
    if one.subnet is not None and one.served_by is not None:
        subnet = ipaddress.ip_network(one.subnet)
        if subnet.num_addresses < 4:
            yield (*here, "subnet"), f"{subnet} has no room for a gateway and a guest"
        if one.dhcp is not None and subnet.version != 4:
            yield (*here, "dhcp"), f"is for IPv4, and {subnet} is not"
    for key in OURS:
        if key in (one.dhcp or ()):
            yield (*here, "dhcp", key), "follows from the network and cannot be declared"
    if one.gateway is not None and one.subnet is not None:
        subnet, gateway = ipaddress.ip_network(one.subnet), ipaddress.ip_address(one.gateway)
        if gateway not in subnet or gateway in (subnet.network_address, subnet.broadcast_address):
            yield (*here, "gateway"), f"{one.gateway} is not a host of {one.subnet}"


def _keys(overlay: Overlay) -> Iterator[Fault]:
    seen: dict[int, str] = {}
    for name, one in overlay.there.items():
        if one.key in seen:
            yield ("networks", name, "key"), f"{one.key} is already the key of {seen[one.key]}"
        seen.setdefault(one.key, name)


def _ports(overlay: Overlay) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name, one in overlay.there.items():
        for port in one.ports:
            if port in seen:
                yield ("networks", name, "ports", port), f"is already a port of {seen[port]}"
            seen.setdefault(port, name)


def _names(overlay: Overlay) -> Iterator[Fault]:
    """Say which of the names that are made on a host would be there twice."""
    used: dict[str, str] = {}
    for where, name, what in _made(overlay):
        if name in used:
            yield where, f"{what} would be {name}, which is already {used[name]}"
        used.setdefault(name, what)


def _made(overlay: Overlay) -> Iterator[tuple[Where, str, str]]:
    for key, name in (("integration", overlay.bridges.integration), ("tunnel", overlay.bridges.tunnel)):
        if key == "integration" or name != overlay.bridges.integration:
            yield ("bridges", key), name, f"the {key} bridge"
    yield ("bridges",), names.TO_TUNNEL, "the patch port to the tunnel bridge"
    yield ("bridges",), names.TO_INTEGRATION, "the patch port to the integration bridge"
    for peer in overlay.peers:
        yield ("peers", peer), names.tunnel(overlay.encapsulation, peer), f"the tunnel to {peer}"
    for name, one in overlay.there.items():
        here = ("networks", name)
        yield (*here, "bridge"), overlay.bridge(name), f"the bridge of {name}"
        yield here, names.gateway(name), f"the gateway of {name}"
        for port, settings in one.ports.items():
            if settings is not None and settings.type == "internal":
                yield (*here, "ports", port), port, f"a port of {name}"


def _overlaps(overlay: Overlay) -> Iterator[Fault]:
    """Addresses may be used twice where each network is served in a namespace of its own (S3.8)."""
    served: list[tuple[str, Any, tuple[str, str | None]]] = []
    for name, one in overlay.there.items():
        if one.subnet is None or one.served_by is None:
            continue
        subnet, place = ipaddress.ip_network(one.subnet), (one.served_by, overlay.namespace(name))
        for other, theirs, where in served:
            if where == place and subnet.version == theirs.version and subnet.overlaps(theirs):
                what = f"{subnet} overlaps {theirs} of {other}"
                yield ("networks", name, "subnet"), f"{what}, and {place[0]} serves both in one namespace"
        served.append((name, subnet, place))

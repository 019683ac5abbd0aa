"""Who sends and who is meant: a guest, a port or an address as nodes of the structure; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Any

from corral.errors import Refused
from corral.topology.graph import SWITCHES, Graph
from corral.topology.seen import Seen

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
STRANGER = "02:00:00:00:00:01"  # the MAC of nobody in particular, for what comes in by a wire
WIRES = {"nic", "tunnel", "bond"}


@dataclass(frozen=True)
class Sender:
    """Where a frame starts.

    node
        The device by which it comes onto a switch.
    guest
        The guest that sends it; None when it is the host, or a wire.
    """

    node: str
    mac: str
    guest: str | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """Who is meant.

    called
        The word that was given.
    mac, address, node
        What is known of it; ``node`` is a device of ``host``.
    router
        It is not of the sender's network: this router is sent to in its place.
    """

    called: str
    mac: str | None = None
    address: str | None = None
    node: str | None = None
    host: str | None = None
    router: str | None = None


def sender(graph: Graph, seen: Seen, called: str, nic: int) -> Sender:
    """Return what a guest's name, a port's name or a MAC means as the start of a way.

    nic
        Which network card of a guest, from 0 on.

    Raises ``Refused`` when there is no such guest or port, or it has no such card.
    """
    if f"guest:{called}" in graph.nodes:
        return _card(graph, f"guest:{called}", nic)
    for guest, one in _cards(graph):
        if called.lower() in (one["mac"], one["device"]) and one["device"] in graph.nodes:
            return Sender(one["device"], one["mac"], guest, tuple(one.get("addresses", ())))
    for identity, node in _devices(graph):
        if identity == called or node.get("mac") == called.lower():
            mac = STRANGER if node["kind"] in WIRES else node.get("mac") or STRANGER
            return Sender(identity, mac, None, _plain(node))
    if any(one.name == called for one in seen.domains):
        raise Refused(f"The guest {called} does not run, so it is on no switch.")
    raise Refused(f"There is no guest, port or MAC address {called} on this host.")


def _card(graph: Graph, guest: str, nic: int) -> Sender:
    nics = graph.nodes[guest]["nics"]
    if not 0 <= nic < len(nics):
        raise Refused(
            f"nic: the guest {guest.partition(':')[2]} has no network card {nic}, it has {len(nics)}."
        )
    one = nics[nic]
    if one["device"] not in graph.nodes:
        raise Refused(f"The network card {nic} of {guest.partition(':')[2]} has no device on this host.")
    return Sender(one["device"], one["mac"], guest, tuple(one.get("addresses", ())))


def _cards(graph: Graph) -> Iterator[tuple[str, dict[str, Any]]]:
    for identity, node in graph.nodes.items():
        for one in node.get("nics", ()):
            yield identity, one


def _devices(graph: Graph) -> list[tuple[str, dict[str, Any]]]:
    """Return all nodes, switches last: a Linux bridge has the MAC of one of its ports."""
    return sorted(graph.nodes.items(), key=lambda one: one[1]["kind"] in SWITCHES)


def target(called: str, sent: Sender, seen: Seen, own: Graph, fleet: Mapping[str, Graph]) -> Target:
    """Return who is meant by a guest's name, a port's name, an IP address or a MAC.

    Raises ``Refused`` for a word that is none of these.
    """
    called = called.strip()
    for graph in (own, *(one for host, one in sorted(fleet.items()) if host != own.host)):
        if found := _here(graph, called, seen if graph is own else None):
            return found
    if MAC.fullmatch(called.lower()):
        return Target(called, mac=called.lower())
    try:
        address = ip_address(called)
    except ValueError:
        raise Refused(f"to: there is no guest or port {called}, and it is no address.") from None
    for network, router in seen.routers.items():
        inside = [one for one in sent.addresses if ip_address(one) in ip_network(network)]
        if inside and address not in ip_network(network) and router != called:
            return replace(target(router, sent, seen, own, fleet), called=called, router=router)
    return Target(called, address=called, mac=_mac(seen, called))


def _mac(seen: Seen, address: str) -> str | None:
    return next((mac for mac, held in seen.addresses.items() if address in held), None)


def _here(graph: Graph, called: str, seen: Seen | None) -> Target | None:
    """Return who is meant, when it is on this host."""
    mac = called.lower() if MAC.fullmatch(called.lower()) else None
    known = mac or (_mac(seen, called) if seen else None)
    for guest, one in _cards(graph):
        held = one.get("addresses", [])
        if called in (guest.partition(":")[2], *held) or one["mac"] == known:
            address = called if called in held else next(iter(held), None)
            return Target(called, one["mac"], address, one["device"], graph.host)
    for identity, node in _devices(graph):
        held = _plain(node)
        if called in (identity, *held) or (mac and node.get("mac") == mac):
            address = called if called in held else next(iter(held), None)
            return Target(called, node.get("mac"), address, identity, graph.host)
    return None


def _plain(node: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(one.partition("/")[0] for one in node.get("addresses", ()))

"""The way from a guest to the wire, to another guest or to an address, over hosts and in sentences; pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from corral.topology import fleet as hosts
from corral.topology.ends import Sender, Target, sender, target
from corral.topology.graph import Graph
from corral.topology.seen import Seen
from corral.topology.trace import Way
from corral.topology.walk import Ask, Walk

EVERYBODY = "ff:ff:ff:ff:ff:ff"
LOCAL = 65534  # the OpenFlow port number of a bridge's own port (ovs-ofctl(8))


class Path:
    """One question for a way.

    structure, seen
        This host's, of one look.
    fleet
        The structures of other hosts by minion id; may be empty.
    called, nic
        Who sends: a guest and which of its network cards, a port, or a MAC.
    to
        Who is meant; None for the way to the wire.

    Raises ``Refused`` when there is no such sender, or nobody can be meant by the word.
    """

    def __init__(
        self,
        structure: dict[str, Any],
        seen: Seen,
        called: str,
        *,
        nic: int = 0,
        to: str | None = None,
        fleet: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.fleet = {**(fleet or {}), structure["host"]: structure}
        self.graphs = {host: Graph(one) for host, one in self.fleet.items()}
        self.graph, self.seen = self.graphs[structure["host"]], seen
        self.called = called
        self.sent = sender(self.graph, seen, called, nic)
        self.meant = target(to, self.sent, seen, self.graph, self.graphs) if to else None

    def flow(self, device: str, vlan: int | None) -> str:
        """Return the frame in the words of ovs-fields(7), as it comes in at a device."""
        return flow(_number(self.seen, device), self.sent, self.meant, vlan)

    def ways(self, ask: Ask, vlan: int | None) -> dict[str, Any]:
        """Return the steps of the way, whether it leads there, and a sentence.

        ask
            Returns what Open vSwitch does with the frame (``flow``) at a bridge and a device.
        vlan
            The tag that the sender itself puts on.
        """
        owners = {address: host for host, one in self.fleet.items() for address in hosts.addresses(one)}
        ends = {one: owners.get(node.get("remote", "")) for one, node in self.graph.nodes.items()}
        far = {one: host for one, host in ends.items() if host and host != self.graph.host}
        walk = Walk(self.graph, self.sent, self.meant, ask, self._learned(), far)
        walk.go(vlan)
        words = [self._end(walk)]
        if walk.ended == "tunnel":
            tunnel = self._tunnel(walk)
            words += [self._carried(walk, tunnel), self._beyond(walk, tunnel)]
        down = next((one for one in walk.steps if one.get("state") == "down"), None)
        if down:
            words.append(f"But {down['device']} on {down['host']} is down: {down.get('reason', 'no link')}.")
        if self.meant and self.meant.mac is None and walk.ended not in ("arrived", "dropped"):
            unknown = f"Nobody here knows the MAC address of {self.meant.called}"
            words.append(f"{unknown}: this is the way of the question for it.")
        return {
            "from": self.called,
            "to": self.meant.called if self.meant else None,
            "steps": walk.steps,
            "delivered": False if down else self._delivered(walk),
            "sentence": " ".join(word for word in words if word),
        }

    def _learned(self) -> dict[str, str]:
        """Return the ports of Linux bridges by the MAC addresses that were seen there."""
        found: dict[str, str] = {}
        for place in self.seen.namespaces:
            names = {one["index"]: one["name"] for one in place.devices}
            known = [(one["mac"], names.get(one["index"], "")) for one in place.forwarding]
            own = {(one["mac"], one["name"]) for one in place.devices}
            found |= {mac: name for mac, name in known if not place.name and (mac, name) not in own}
        return found

    def _delivered(self, walk: Walk) -> bool | None:
        if walk.ended == "arrived":
            return True
        if walk.ended in ("wire", "tunnel"):
            return None if self.meant else True
        return None if walk.ended == "host" and self.meant is None else False

    def _end(self, walk: Walk) -> str:
        who, last = self.called, walk.steps[-1]
        whom = self._whom()
        tag = f" with the tag of VLAN {last['vlan']}" if "vlan" in last else ""
        if walk.ended == "arrived":
            return f"{who} reaches {whom} on {self.graph.host}."
        if walk.ended == "wire":
            return (
                f"{who} leaves {self.graph.host} by {last['device']}{tag}{f', for {whom}' if whom else ''}."
            )
        if walk.ended == "tunnel":
            return f"{who} leaves {self.graph.host} by the tunnel {last['device']} to {self._remote(walk)}."
        said = f"{who} does not reach {whom}: " if whom else f"{who} does not get out: "
        return said + walk.why

    def _whom(self) -> str:
        if self.meant is None:
            return ""
        way = f", by the router {self.meant.router}" if self.meant.router else ""
        return f"{self.meant.called}{way}"

    def _remote(self, walk: Walk) -> str:
        remote = str(walk.steps[-1].get("remote", "its far end"))
        host = walk.far.get(self._tunnel(walk))
        return f"{host} ({remote})" if host else remote

    def _tunnel(self, walk: Walk) -> str:
        return str(walk.steps[-1]["device"])  # the id of a tunnel is its name

    def _carried(self, walk: Walk, tunnel: str) -> str:
        """Add the devices by which the tunnel's own packets leave, as far as they hang together."""
        egress = self.graph.nodes[tunnel].get("egress", "")
        if egress not in self.graph.nodes:
            return ""
        way = self.graph.way(egress, self.graph.wire) or [egress]
        for number, one in enumerate(way):
            active = [other for other, edge in self.graph.edges(one, "member") if edge.get("active")]
            if active and number + 1 < len(way):
                way[number + 1] = active[0]
            walk.step(one, underlay=True)
        return f"Its packets leave by {', '.join(self.graph.nodes[one]['name'] for one in way)}."

    def _beyond(self, walk: Walk, identity: str) -> str:
        """Add the way on the other host, as it has told it, and return what is to be said of that."""
        host = walk.far.get(identity)
        if host is None:
            return ""
        graph, tunnel = self.graphs[host], self.graph.nodes[identity]
        others = [one for one, node in graph.nodes.items() if node["kind"] == "tunnel" and node.get("remote")]
        back = [one for one in others if hosts.same(tunnel, graph.nodes[one])]
        if not back:
            return f"{host} has no tunnel of this type and key back."
        meant = self.meant.node if self.meant and self.meant.host == host else None
        way = graph.way(back[0], lambda one: one == meant) if meant else None
        held = graph.holder(back[0])
        way = way or [back[0], *([held[0]] if held else [])]
        guest = graph.guest(way[-1])
        steps = Walk(graph, self.sent, None, _nobody, {})
        for one in [*way, *([guest[0]] if guest and meant else [])]:
            steps.step(one)
        walk.steps.extend(steps.steps)
        names = ", ".join(graph.nodes[one]["name"] for one in way)
        reached = f", where {self._whom()} is" if meant else ""
        return f"On {host} it goes on by {names}{reached}, as that host has told the Salt mine."


def _nobody(bridge: str, device: str, vlan: int | None) -> Way:
    return Way()


def _number(seen: Seen, device: str) -> int:
    if any(row["name"] == device for row in seen.rows["Bridge"]):
        return LOCAL
    found = [row["ofport"] for row in seen.rows["Interface"] if row["name"] == device]
    return found[0] if found and isinstance(found[0], int) else LOCAL


def flow(port: int, sent: Sender, meant: Target | None, vlan: int | None) -> str:
    """Return a frame: to a known MAC an IP packet; else, to everybody, the question for the MAC."""
    mac = meant.mac if meant else None
    words = [f"in_port={port}", f"dl_src={sent.mac}", f"dl_dst={mac or EVERYBODY}"]
    words += [f"dl_vlan={vlan}"] if vlan is not None else []
    address = (None if meant.router else meant.address) if meant else None
    if meant and meant.router:
        address = meant.called
    version = ip_address(address).version if address else 4
    source = next((one for one in sent.addresses if ip_address(one).version == version), None)
    if mac is None and version == 4:
        words += ["arp", "arp_op=1", f"arp_sha={sent.mac}", f"arp_spa={source or '0.0.0.0'}"]
        words += [f"arp_tpa={address}"] if address else []
    elif address and version == 4:
        words += ["icmp", f"nw_src={source or '0.0.0.0'}", f"nw_dst={address}", "nw_ttl=64", "icmp_type=8"]
    elif address:
        words += ["icmp6", f"ipv6_src={source or '::'}", f"ipv6_dst={address}", "nw_ttl=64", "icmp_type=128"]
    return ",".join(words)

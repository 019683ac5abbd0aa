"""The way of a frame through one host, device by device: from what the switches themselves say; pure.

Open vSwitch is asked where the frame goes (``ofproto/trace``), a Linux bridge's table is looked at. Where a
frame is flooded, the way that leads to who is meant is followed, or to the wire when nobody is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.topology.ends import Sender, Target
from corral.topology.graph import SWITCHES, Graph
from corral.topology.trace import Way

Step = dict[str, Any]
Ask = Callable[[str, str, int | None], Way]  # of a bridge, a device at which the frame comes in, and its tag
Onward = tuple[str, int | None] | None  # the device by which a frame goes on, and its tag; None at the end
Learned = Mapping[str, str]  # the port of a Linux bridge at which a MAC is, by MAC

STEPS = 64  # no frame passes more
SHOWN = ("state", "reason", "mtu", "namespace", "type", "key", "local", "remote", "mode", "healthy")


@dataclass(frozen=True)
class Exit:
    """One of the places where a frame comes out of a switch."""

    device: str
    vlan: int | None = None
    bond: str | None = None


@dataclass
class Walk:
    """One frame's way, as far as it has come.

    far
        The host to which a tunnel leads, by tunnel.
    ended
        Why it goes no further: ``arrived``, ``wire``, ``tunnel``, ``host``, ``dropped``, ``astray``, or
        ``lost``.
    why
        A sentence about the end, where there is more to say.
    """

    graph: Graph
    sent: Sender
    meant: Target | None
    ask: Ask
    learned: Learned
    far: Mapping[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    ended: str = ""
    why: str = ""
    passed: set[str] = field(default_factory=set)

    def go(self, vlan: int | None) -> None:
        """Walk to the end."""
        if self.sent.guest:
            self.step(self.sent.guest, mac=self.sent.mac)
        self.step(self.sent.node)
        place: Onward = (self.sent.node, vlan)
        while place and len(self.steps) < STEPS:
            place = self._on(*place)
        if not self.ended:
            self.ended, self.why = "lost", f"it has passed {STEPS} devices and is followed no further."

    def step(self, identity: str, **about: Any) -> None:
        node = self.graph.nodes[identity]
        known = {key: node[key] for key in SHOWN if key in node}
        about = {key: value for key, value in about.items() if value not in (None, "", [])}
        kind = node["type"] if node["kind"] == "tunnel" else node["kind"]
        self.steps.append({"device": node["name"], "kind": kind, "host": self.graph.host, **known, **about})

    def _on(self, device: str, vlan: int | None) -> Onward:
        """Take a frame from a device into what the device is on; return the device by which it goes on."""
        held = self.graph.holder(device)
        if device in self.passed:
            return self._end("lost", f"it comes back to {self._name(device)}.")
        self.passed.add(device)
        if self.graph.nodes[device]["kind"] in SWITCHES:
            held = (device, {})  # the host itself sends, by the bridge's own port
        if held is None:
            below = self.graph.below(device)
            if below is None:
                return self._end("host", f"{self._name(device)} is on no switch.")
            self.step(below, vlan=vlan)
            return self._out(Exit(below, vlan))
        switch = held[0]
        if self.graph.nodes[switch]["kind"] == "bridge":
            return self._switched(switch, device, vlan)
        return self._bridged(switch, device, vlan)

    def _switched(self, bridge: str, device: str, vlan: int | None) -> Onward:
        way = self.ask(bridge, device, vlan)
        visits = {visit.bridge: visit for visit in way.visits}
        exits = list(self._exits(way))
        chosen = self._chosen(exits, device, frozenset({bridge, *visits}))
        last = self._bridge_of(chosen) if chosen else bridge
        if not exits:
            last = (way.drop or {}).get("bridge") or (way.visits[-1].bridge if way.visits else bridge)
        tags = self._tag(device, vlan)
        for one in self._patched(bridge, last, set(visits)):
            visit = visits.get(one)
            told = {"flow": visit.flow, "said": list(visit.said)} if visit else {}
            self.step(one, vlan=tags, **told)
        if chosen is None:
            return self._nowhere(last, way, exits)
        if chosen.bond:
            self.step(chosen.bond, vlan=chosen.vlan)
        if chosen.device != last:
            key = way.keys.get(self.graph.nodes[chosen.device].get("remote", ""))
            self.step(chosen.device, vlan=chosen.vlan, key=key, **self._taken(chosen))
        return self._out(chosen)

    def _tag(self, device: str, vlan: int | None) -> int | None:
        """Return the VLAN in which a frame is that comes in at a port."""
        held = self.graph.holder(device)
        return vlan if vlan is not None or held is None else held[1].get("vlan")

    def _exits(self, way: Way) -> Iterator[Exit]:
        for name, vlan in way.outputs:
            if name in self.graph.nodes:
                yield Exit(name, vlan, self.graph.bond(name))
        for bond, vlan in way.bonds:
            members = [
                other for other, edge in self.graph.edges(f"bond:{bond}", "member") if edge.get("enabled")
            ]
            if members:
                yield Exit(members[0], vlan, f"bond:{bond}")
        visited = {visit.bridge for visit in way.visits}
        for remote in way.remotes:
            for identity, node in self.graph.nodes.items():
                held = self.graph.holder(identity) if node["kind"] == "tunnel" else None
                if held and node.get("remote") in (remote, "flow") and held[0] in visited:
                    yield Exit(identity)
                    break

    def _chosen(self, exits: list[Exit], came: str, passed: frozenset[str]) -> Exit | None:
        """Return the exit that leads to who is meant; with nobody meant, or known, to the wire.

        passed
            The switches out of which the exits are: no way leads back into them.
        """
        exits = [one for one in exits if one.device != came]
        meant = self.meant
        if meant and meant.node and meant.host == self.graph.host:
            for one in exits:
                if self._leads(one, lambda node: node == meant.node, passed):
                    return one
            return exits[0] if len(exits) == 1 else None
        if meant and meant.host and meant.host != self.graph.host:
            ends = [one for one in exits if self.far.get(one.device) == meant.host]
            if ends:
                return ends[0]
        for goal in (self.graph.wire, self._tunnel):
            for one in exits:
                if self._leads(one, goal, passed):
                    return one
        pairs = [one for one in exits if self.graph.peer(one.device)]
        return next(iter(pairs), exits[0] if len(exits) == 1 else None)

    def _tunnel(self, identity: str) -> bool:
        return bool(self.graph.nodes[identity]["kind"] == "tunnel")

    def _leads(self, one: Exit, goal: Callable[[str], bool], passed: frozenset[str]) -> bool:
        if goal(one.device) or (one.bond and goal(one.bond)):
            return True
        if one.device in passed:
            return False  # a bridge's own port: what comes out of it is the host's
        return self.graph.way(one.device, goal, passed | {one.bond or ""}) is not None

    def _bridge_of(self, one: Exit) -> str:
        held = self.graph.holder(one.device)
        return held[0] if held else one.device  # a bridge's own port has its name

    def _patched(self, start: str, end: str, visited: set[str]) -> list[str]:
        """Return the bridges, and the patch ports between them, from one bridge to another."""
        others = {
            one
            for one, node in self.graph.nodes.items()
            if node["kind"] not in ("patch", "bridge")
            or (node["kind"] == "bridge" and one not in visited | {end})
        }
        return self.graph.way(start, lambda one: one == end, frozenset(others)) or [start]

    def _taken(self, one: Exit) -> dict[str, Any]:
        """Return how a bond's member is chosen."""
        if one.bond is None:
            return {}
        mode = self.graph.nodes[one.bond].get("mode", "")
        if mode == "active-backup":
            return {"chosen": "the active member"}
        if mode == "balance-slb":
            return {"chosen": "by the source MAC and VLAN"}
        members = sorted(other for other, _ in self.graph.edges(one.bond, "member"))
        return {"chosen": f"by the addresses and ports of each connection, one of {', '.join(members)}"}

    def _nowhere(self, bridge: str, way: Way, exits: list[Exit]) -> Onward:
        name, meant = self._name(bridge), self.meant
        if way.drop and not exits:
            flow = way.drop
            met = f"the flow {flow['match']} of" if flow["match"] else "there is no flow for it in"
            self.steps[-1]["dropped_by"] = dict(flow)
            return self._end("dropped", f"{flow['bridge']} drops it: {met} table {flow['table']}.")
        if not exits:
            said = "; ".join(way.remarks)
            return self._end("dropped", f"{name} drops it{f': {said}' if said else ''}.")
        got = ", ".join(self._name(one.bond or one.device) for one in exits)
        if meant and meant.node:
            return self._end("astray", f"{name} sends it to {got}, {self._elsewhere(meant.node)}.")
        return self._end("host", f"{name} sends it only to {got}.")

    def _elsewhere(self, node: str) -> str:
        """Return where who is meant is, when a frame does not get there."""
        held, own = self.graph.holder(node), self.graph.holder(self.sent.node)
        vlan = None if held is None else held[1].get("vlan")
        mine = None if own is None else own[1].get("vlan")
        if held is None:
            return f"and {self._name(node)} is on no switch"
        if vlan != mine:
            words = [f"in VLAN {one}" if one else "in no VLAN" for one in (vlan, mine)]
            return f"but {self._name(node)} is {words[0]} and {self._name(self.sent.node)} {words[1]}"
        return f"and not to {self._name(node)} on {self._name(held[0])}"

    def _bridged(self, bridge: str, device: str, vlan: int | None) -> Onward:
        self.step(bridge, vlan=vlan)
        ports = [other for other, edge in self.graph.edges(bridge, "port") if edge["from"] == bridge]
        meant = self.meant
        if meant and meant.node == bridge:
            return self._out(Exit(bridge, vlan))
        known = self.learned.get(meant.mac) if meant and meant.mac else None
        exits = [Exit(one, vlan) for one in ports if one != device and known in (None, one)]
        chosen = self._chosen(exits, device, frozenset({bridge}))
        if chosen is None:
            return self._nowhere(bridge, Way(), exits)
        self.step(chosen.device, vlan=vlan)
        return self._out(chosen)

    def _out(self, at: Exit) -> Onward:
        """Take a frame out of a switch by a device; return the device by which it comes onto the next."""
        device = at.device
        node, guest, meant = self.graph.nodes[device], self.graph.guest(device), self.meant
        if guest:
            self.step(guest[0], mac=guest[1]["mac"])
        if guest or (meant and meant.node == device):
            mine = meant is not None and meant.node == device
            return self._end(
                "arrived" if mine else "host", "" if mine else f"it only gets to {self._name(device)}."
            )
        if node["kind"] == "tunnel":
            return self._end("tunnel", "")
        peer = self.graph.peer(device)
        if peer:
            self.step(peer, vlan=at.vlan)
            if meant and meant.node == peer:
                return self._end("arrived", "")
            return (
                (peer, at.vlan)
                if self.graph.holder(peer)
                else self._end("host", f"it only gets to {self._place(peer)}.")
            )
        if node["kind"] == "nic":
            return self._end("wire", "")
        return self._end("host", f"it only gets to {self._place(device)}.")

    def _place(self, device: str) -> str:
        space = self.graph.nodes[device].get("namespace")
        return f"{self._name(device)}, which is in namespace {space}" if space else self._name(device)

    def _name(self, identity: str) -> str:
        return str(self.graph.nodes[identity]["name"])

    def _end(self, ended: str, why: str) -> Onward:
        self.ended, self.why = ended, why
        return None

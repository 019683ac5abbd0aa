"""What a drawing of a structure shows: boxes and lines, with what belongs together in one box; pure.

A guest and the devices of its network cards are one box, and so are both ends of a patch or veth pair
between two switches. Guests, and ports, that are the same but for their names share a box of many cells. So
every node of the structure is in one box, and a host with a hundred guests is still a drawing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from corral.topology.words import KINDS, about, far, vlans

Node = dict[str, Any]
Structure = dict[str, Any]

GUESTS, PORTS = 3, 9  # so many of one shape share a box
PAIRS = {"patch", "veth"}


@dataclass(frozen=True)
class Cell:
    """One of those that share a box."""

    text: str
    more: str
    state: str


@dataclass(frozen=True)
class Box:
    """One box of a drawing.

    id
        The id of its first node.
    kind
        That of its nodes.
    nodes
        The ids of all nodes that it stands for.
    """

    id: str
    kind: str
    title: str
    lines: tuple[str, ...]
    state: str
    nodes: tuple[str, ...]
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line between two boxes, by their ids."""

    start: str
    end: str
    kind: str
    state: str


@dataclass(frozen=True)
class Picture:
    """The drawing of one host."""

    host: str
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def picture(structure: Structure) -> Picture:
    """Return the boxes and lines of one host's structure."""
    return _View(structure).picture()


class _View:
    def __init__(self, structure: Structure) -> None:
        self.host: str = structure["host"]
        self.nodes: dict[str, Node] = structure["nodes"]
        known = set(self.nodes)
        self.edges = [edge for edge in structure["edges"] if {edge["from"], edge["to"]} <= known]
        self.edges = [edge for edge in self.edges if edge["from"] != edge["to"]]
        self.around: dict[str, list[dict[str, Any]]] = {identity: [] for identity in self.nodes}
        for edge in self.edges:
            self.around[edge["from"]].append(edge)
            self.around[edge["to"]].append(edge)
        self.boxes: dict[str, Box] = {}
        self.owner: dict[str, str] = {}  # the box of each node

    def picture(self) -> Picture:
        self._guests()
        self._pairs()
        self._ports()
        for identity in self.nodes:
            if identity not in self.owner:
                self._box(identity, self.nodes[identity]["kind"], [identity])
        return Picture(self.host, tuple(self.boxes.values()), tuple(self._lines()))

    def _lines(self) -> Iterable[Line]:
        found: dict[tuple[str, str], Line] = {}
        for edge in self.edges:
            start, end = self.owner[edge["from"]], self.owner[edge["to"]]
            if start == end:
                continue
            states = [self.nodes[edge[side]].get("state") for side in ("from", "to")]
            down = "down" in states or edge.get("enabled") is False
            known = found.get((start, end)) or found.get((end, start))
            kind = known.kind if known else edge["kind"]
            state = "down" if down or (known and known.state == "down") else "up"
            key = (known.start, known.end) if known else (start, end)
            found[key] = Line(*key, kind, state)
        return found.values()

    def _box(self, first: str, kind: str, nodes: list[str], cells: Iterable[Cell] = ()) -> None:
        cells = tuple(cells)
        states = [_state(self.nodes[one]) for one in nodes]
        title = " ⇄ ".join(self.nodes[one]["name"] for one in nodes if self.nodes[one]["kind"] == kind)
        lines = [line for one in nodes for line in self._words(one)]
        if len(nodes) > 1 and kind in PAIRS:  # the kind once, and what either end says beside it
            lines = [line for line in lines if line != kind] or [kind]
        if cells:
            title = f"{len(cells)} {KINDS.get(kind, kind)}s"
            lines = self._shape(first)
        state = next((word for word in ("down", "degraded", "unknown") if word in states), "up")
        self.boxes[first] = Box(first, kind, title, tuple(dict.fromkeys(lines)), state, tuple(nodes), cells)
        self.owner |= dict.fromkeys(nodes, first)

    def _words(self, identity: str) -> list[str]:
        """Return what a box says of a node under its name."""
        node, tags = self.nodes[identity], self._tags(identity)
        if node["kind"] == "guest":
            return [node["reason"]] if "reason" in node else []
        nic = next((e for e in self.around[identity] if e["kind"] == "nic"), None)
        if nic and identity in self.own(nic["from"]):
            held = self.nodes[nic["from"]]["nics"][nic["number"]].get("addresses", [])
            wrong = [node["reason"]] if node.get("state") == "down" and "reason" in node else []
            return [" · ".join([node["name"], *tags, *held[:1]]), *wrong]
        return about(node, tags)

    def _tags(self, identity: str) -> list[str]:
        edges = [edge for edge in self.around[identity] if edge["to"] == identity or edge["kind"] == "lower"]
        return [word for edge in edges for word in vlans(edge)]

    def own(self, guest: str) -> list[str]:
        """Return the devices that are nothing but a guest's network cards."""
        devices = [edge["to"] for edge in self.around[guest] if edge["kind"] == "nic"]
        return [
            one
            for one in devices
            if sum(edge["kind"] == "nic" for edge in self.around[one]) == 1 and len(self.around[one]) <= 2
        ]

    def _shape(self, identity: str) -> list[str]:
        """Return what those that share a box have in common."""
        node = self.nodes[identity]
        if node["kind"] != "guest":
            return about(node | {"addresses": [], "remote": ""}, self._tags(identity))
        where = []
        for one in self.own(identity):
            far = [self._other(edge, one) for edge in self.around[one] if edge["kind"] != "nic"]
            tags = self._tags(one)
            where.append(" · ".join([*(self.nodes[other]["name"] for other in far), *tags]))
        states = {node.get("reason"), *(self.nodes[one].get("reason") for one in self.own(identity))} - {None}
        return [*where, *sorted(str(reason) for reason in states)]

    def _other(self, edge: dict[str, Any], one: str) -> str:
        return str(edge["to"] if edge["from"] == one else edge["from"])

    def _guests(self) -> None:
        shapes: dict[Any, list[str]] = {}
        for identity, node in self.nodes.items():
            if node["kind"] == "guest":
                ends = [edge["to"] for edge in self.around[identity] if edge["to"] not in self.own(identity)]
                shape = self._shape(identity), sorted(ends), node.get("state")
                shapes.setdefault(repr(shape), []).append(identity)
        for alike in shapes.values():
            if len(alike) >= GUESTS:
                cells = [self._cell(one) for one in alike]
                self._box(alike[0], "guest", [n for one in alike for n in (one, *self.own(one))], cells)
            else:
                for one in alike:
                    self._box(one, "guest", [one, *self.own(one)])

    def _cell(self, guest: str) -> Cell:
        node = self.nodes[guest]
        held = [one for nic in node["nics"] for one in nic.get("addresses", [])]
        more = held[:1] or [self.nodes[one]["name"] for one in self.own(guest)]
        return Cell(node["name"], ", ".join(more), node.get("state", "up"))

    def _pairs(self) -> None:
        for edge in self.edges:
            ends = [edge["from"], edge["to"]]
            if edge["kind"] not in PAIRS or set(ends) & set(self.owner):
                continue
            between = all(len(self.around[one]) == 2 for one in ends)
            plain = not any({"addresses", "namespace"} & set(self.nodes[one]) for one in ends)
            if between and plain:
                self._box(ends[0], edge["kind"], ends)

    def _ports(self) -> None:
        shapes: dict[Any, list[str]] = {}
        for identity, node in self.nodes.items():
            edges = [edge for edge in self.around[identity] if edge["kind"] != "tunnel"]
            if identity in self.owner or len(edges) != 1 or edges[0]["to"] != identity:
                continue
            if edges[0]["kind"] == "port":
                shape = (edges[0]["from"], self._shape(identity))
                shapes.setdefault(repr((node["kind"], node.get("namespace"), shape)), []).append(identity)
        for alike in shapes.values():
            if len(alike) >= PORTS:
                kind = self.nodes[alike[0]]["kind"]
                self._box(alike[0], kind, alike, [self._port(one) for one in alike])

    def _port(self, identity: str) -> Cell:
        node = self.nodes[identity]
        more = far(node) if node.get("remote") else ", ".join(node.get("addresses", [])[:1])
        return Cell(node["name"], more, node.get("state", "up"))


def _state(node: Node) -> str:
    return "degraded" if node.get("healthy") is False and node["state"] == "up" else node.get("state", "up")

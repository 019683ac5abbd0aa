"""The structure of one host as a graph to walk on; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Node = dict[str, Any]
Edge = dict[str, Any]

SWITCHES = {"bridge", "linux_bridge"}
ASIDE = {"mirror", "output", "tunnel", "fake"}  # edges by which no frame of somebody else's goes


class Graph:
    """Nodes and what they hang on.

    structure
        One host's, as ``corral.topology.structure`` returns it.
    """

    def __init__(self, structure: dict[str, Any]) -> None:
        self.host: str = structure["host"]
        self.nodes: dict[str, Node] = structure["nodes"]
        self.around: dict[str, list[Edge]] = {identity: [] for identity in self.nodes}
        for edge in structure["edges"]:
            if edge["kind"] not in ASIDE and edge["from"] in self.nodes and edge["to"] in self.nodes:
                self.around[edge["from"]].append(edge)
                self.around[edge["to"]].append(edge)

    def edges(self, identity: str, kind: str) -> Iterator[tuple[str, Edge]]:
        """Yield the other ends of a node's edges of a kind, with the edges."""
        for edge in self.around[identity]:
            if edge["kind"] == kind:
                yield edge["to"] if edge["from"] == identity else edge["from"], edge

    def bond(self, identity: str) -> str | None:
        """Return the bond of which a device is a member."""
        return next((other for other, edge in self.edges(identity, "member") if edge["to"] == identity), None)

    def holder(self, identity: str) -> tuple[str, Edge] | None:
        """Return the switch whose port a device or a bond is, and the edge, which knows the VLANs."""
        bond = self.bond(identity)
        if bond:
            return self.holder(bond)
        found = [(other, edge) for other, edge in self.edges(identity, "port") if edge["to"] == identity]
        return found[0] if found else None

    def peer(self, identity: str) -> str | None:
        """Return the other end of a patch or veth pair."""
        return next((other for kind in ("patch", "veth") for other, _ in self.edges(identity, kind)), None)

    def wire(self, identity: str) -> bool:
        """Return whether what goes out by a device leaves the host: a card, or a veth end like one."""
        kind = self.nodes[identity]["kind"]
        return kind in ("nic", "dpdk") or (kind == "veth" and self.peer(identity) is None)

    def below(self, identity: str) -> str | None:
        """Return the device on which a macvlan or VLAN device is made."""
        return next(
            (other for other, edge in self.edges(identity, "lower") if edge["from"] == identity), None
        )

    def guest(self, identity: str) -> tuple[str, Edge] | None:
        """Return the guest whose network card a device is, and the edge, which knows its MAC."""
        return next(
            ((other, edge) for other, edge in self.edges(identity, "nic") if edge["to"] == identity), None
        )

    def way(
        self, start: str, goal: Callable[[str], bool], avoid: frozenset[str] = frozenset()
    ) -> list[str] | None:
        """Return the shortest way from a node to one that is a goal; None if there is none.

        avoid
            Nodes that it may not pass.
        """
        before: dict[str, str | None] = {start: None}
        wave = [start]
        while wave:
            for one in wave:
                if goal(one):
                    return list(reversed(list(_back(before, one))))
            following = []
            for one in wave:
                for edge in self.around[one]:
                    other = edge["to"] if edge["from"] == one else edge["from"]
                    if other not in before and other not in avoid:
                        before[other] = one
                        following.append(other)
            wave = following
        return None


def _back(before: dict[str, str | None], one: str | None) -> Iterator[str]:
    while one is not None:
        yield one
        one = before[one]

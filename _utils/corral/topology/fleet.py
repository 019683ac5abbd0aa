"""The structures of several hosts, joined where a tunnel of one meets its other end on another; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Structure = dict[str, Any]
Fleet = Mapping[str, Structure]
End = tuple[str, str]  # a host and the id of a node there


def addresses(structure: Structure) -> set[str]:
    """Return the IP addresses that a host itself has, without their prefix lengths."""
    held = (one for node in structure["nodes"].values() for one in node.get("addresses", ()))
    return {address.partition("/")[0] for address in held}


def tunnels(fleet: Fleet) -> tuple[list[tuple[End, End]], list[str]]:
    """Return the tunnels both ends of which are known, and what is wrong with others, in sentences."""
    owners = {address: host for host, one in fleet.items() for address in addresses(one)}
    found, notes = [], []
    for host, identity, node in _all(fleet):
        far = owners.get(node.get("remote", ""))
        if far is None or far == host:
            continue
        backs = {one for one, other in _of(fleet[far]) if owners.get(other.get("remote", "")) == host}
        alike = [one for one in sorted(backs) if same(node, fleet[far]["nodes"][one])]
        if not alike:
            said = "no tunnel back" if not backs else f"none of this type and key ({_called(node)}) back"
            notes.append(f"{host}: {node['name']} leads to {far}, which has {said}.")
        elif (host, identity) < (far, alike[0]):
            found.append(((host, identity), (far, alike[0])))
    return found, notes


def known(fleet: Fleet) -> dict[str, Structure]:
    """Return the structures with the host to which a tunnel leads in the tunnel's node, as ``far``."""
    owners = {address: host for host, one in fleet.items() for address in addresses(one)}
    return {
        host: {
            **one,
            "nodes": {
                identity: {**node, "far": owners[node["remote"]]} if node.get("remote") in owners else node
                for identity, node in one["nodes"].items()
            },
        }
        for host, one in fleet.items()
    }


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two tunnels can be the ends of one: each leads to where the other is."""
    meets = one.get("local", other["remote"]) == other["remote"]
    meets &= other.get("local", one["remote"]) == one["remote"]
    return meets and all(one.get(key) == other.get(key) for key in ("type", "key"))


def _called(node: Mapping[str, Any]) -> str:
    return f"{node['type']} {node.get('key', 'without a key')}"


def _all(fleet: Fleet) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for host, structure in sorted(fleet.items()):
        for identity, node in _of(structure):
            yield host, identity, node


def _of(structure: Structure) -> Iterator[tuple[str, dict[str, Any]]]:
    for identity, node in structure["nodes"].items():
        if node["kind"] == "tunnel" and node.get("remote"):
            yield identity, node


def joined(fleet: Fleet) -> Structure:
    """Return one structure of all hosts; the id of a node begins with its host: ``kvm1/br0``."""
    nodes: dict[str, Any] = {}
    edges: list[dict[str, Any]] = []
    notes: list[str] = []
    for host, structure in sorted(fleet.items()):
        nodes |= {
            f"{host}/{identity}": {**node, "host": host} for identity, node in structure["nodes"].items()
        }
        edges += [
            {**edge, **{end: f"{host}/{edge[end]}" for end in ("from", "to")}} for edge in structure["edges"]
        ]
        notes += [f"{host}: {note}" for note in structure["notes"]]
    pairs, wrong = tunnels(fleet)
    edges += [{"kind": "tunnel", "from": "/".join(one), "to": "/".join(other)} for one, other in pairs]
    return {"hosts": sorted(fleet), "nodes": nodes, "edges": edges, "notes": notes + wrong}

"""A declaration with its shorthand written out: fake bridges and patch pairs become ports; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Path
from corral.ovs.host import CHILDREN, Spec, copied

# What ovs-vsctl(8) puts before the external_ids of a fake bridge, which it keeps with the bridge's port.
FAKE = "fake-bridge-"


@dataclass(frozen=True)
class Wanted:
    """What is declared, bridge by bridge.

    bridges
        As declared, with every port on the bridge that the database has it on.
    implied
        Bridges that only a fake bridge or a patch port speaks of: they must be there.
    exact
        For a bridge and ``ports`` or ``bonds`` of it that are mentioned: the VLANs of the fake bridges to
        which that is limited, ``None`` for all of the bridge.
    """

    bridges: dict[str, Spec | None]
    implied: frozenset[str] = frozenset()
    exact: Mapping[tuple[str, str], frozenset[int] | None] = field(default_factory=dict)

    def names(self) -> Iterator[tuple[Path, str]]:
        """Yield the path of each port, bond and member, with its name."""
        for bridge, spec in self.bridges.items():
            if spec is not None:
                yield (bridge,), bridge
            for kind in CHILDREN:
                for name, child in ((spec or {}).get(kind) or {}).items():
                    if child is not None and name != bridge:
                        yield from (
                            ((bridge, kind, name), one) for one in (name, *(child.get("members") or ()))
                        )


def written_out(declared: Mapping[str, Any]) -> Wanted:
    """Return the bridges of a declaration as the database has them."""
    bridges = copied(declared)
    fakes = {name: spec for name, spec in bridges.items() if spec and "parent" in spec}
    exact: dict[tuple[str, str], frozenset[int] | None] = {
        (name, kind): None
        for name, spec in bridges.items()
        for kind in CHILDREN
        if spec and name not in fakes and kind in spec
    }
    for name, fake in fakes.items():
        del bridges[name]
        _fold(bridges.setdefault(fake["parent"], {}), name, fake)
        for kind in CHILDREN:
            place = fake["parent"], kind
            limit = exact.get(place, frozenset())
            if kind in fake and limit is not None:
                exact[place] = limit | {fake["vlan"]}
    for bridge in list(bridges.values()):
        for port, spec in list((bridge or {}).get("ports", {}).items()):
            if spec and "peer" in spec:
                _join(bridges, port, spec)
    return Wanted(bridges, frozenset(bridges.keys() - declared.keys()), exact)


def _fold(parent: Spec, name: str, fake: Spec) -> None:
    """Put a fake bridge and what is on it among the ports of its parent."""
    vlan = {"tag": fake["vlan"]}
    own = {"type": "internal", "fake_bridge": True, **vlan}
    if "external_ids" in fake:
        own["external_ids"] = {FAKE + key: value for key, value in fake["external_ids"].items()}
    parent.setdefault("ports", {})[name] = {**own, **(fake.get("ports", {}).get(name) or {})}
    for kind in CHILDREN:
        for child, spec in fake.get(kind, {}).items():
            if child != name:
                parent.setdefault(kind, {})[child] = None if spec is None else {**spec, **vlan}


def _join(bridges: dict[str, Any], port: str, spec: Spec) -> None:
    """Make a declared patch pair two patch ports."""
    peer, bridge = spec.pop("peer"), spec.pop("peer_bridge")
    other = bridges.setdefault(bridge, {}).setdefault("ports", {}).setdefault(peer, {})
    for end, far in ((spec, peer), (other, port)):
        end["type"] = "patch"
        end["options"] = {**end.get("options", {}), "peer": far}

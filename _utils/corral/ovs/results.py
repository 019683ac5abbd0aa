"""What is wrong with an object as a plan would leave it; pure.

A declaration that is right in itself may not go with what is there and was not mentioned.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from corral.change import Path
from corral.errors import Invalid
from corral.kinds import interface_name
from corral.ovs.checks import NEEDS_LACP, needs_lacp, vlan_fault
from corral.ovs.host import Spec
from corral.ovs.options import TUNNELS, faults
from corral.ovs.own import SECRETS
from corral.ovs.parts import PARTS, ROOT


def check_type(path: Path, port: Spec) -> None:
    """Raise ``Invalid`` for what ovs-vswitchd would refuse: no far end, a name that Linux does not take."""
    kind, at = str(port.get("type")), f"bridges.{'.'.join(path)}"
    options = port.get("options", {})
    required = "remote_ip" if kind in TUNNELS else "peer" if kind == "patch" else ""
    if required and required not in options:
        raise Invalid(f"{at}.options.{required}: is required for type {kind}")
    for key, sentence in faults(kind, {key: value for key, value in options.items() if key not in SECRETS}):
        raise Invalid(f"{at}.options.{key}: {sentence}")
    if kind in ("system", "internal"):
        try:
            interface_name(path[-1])
        except ValueError as wrong:
            raise Invalid(f"{at}: {wrong}") from None


def check_bond(path: Path, bond: Spec, declared: Mapping[str, Any], there: bool) -> None:
    """Raise ``Invalid`` for a bond without members, or one that would forward nothing."""
    at = f"bridges.{'.'.join(path)}"
    if not bond.get("members"):
        why = (
            " to make the bond"
            if not there or "members" in declared
            else ", all it has is declared elsewhere"
        )
        raise Invalid(f"{at}.members: is required{why}")
    said = not there or bool({"mode", "lacp"} & declared.keys())
    if said and needs_lacp(bond.get("mode"), bond.get("lacp")):
        raise Invalid(f"{at}.lacp: {NEEDS_LACP}")
    check_vlans(path, bond, declared)


def check_vlans(path: Path, new: Spec, declared: Mapping[str, Any]) -> None:
    """Raise ``Invalid`` where what is declared does not go with what is there and was not mentioned."""
    vlans = {key: new.get(key) for key in ("tag", "trunks", "vlan_mode")}
    wrong = vlan_fault(*vlans.values()) if vlans.keys() & declared.keys() else None
    if wrong:
        key, why = wrong
        there = [f"{one}: null (it is {now})" for one, now in vlans.items() if now and one not in declared]
        raise Invalid(f"bridges.{'.'.join((*path, key))}: {why}; or declare {' or '.join(there)}")


def check_part(key: str, path: Path, spec: Spec) -> None:
    """Raise ``Invalid`` when what hangs on an object lacks what it cannot be without."""
    for needed in PARTS[key].needed:
        if needed not in spec:
            at = path[1:] if path[0] == ROOT else ("bridges", *path)
            raise Invalid(f"{'.'.join((*at, needed))}: is required")


def check_mirror(path: Path, mirror: Spec, ports: Container[str]) -> None:
    """Raise ``Invalid`` for a mirror without an output, or with a port that its bridge does not have."""
    at = f"bridges.{'.'.join(path)}"
    if ("output_port" in mirror) == ("output_vlan" in mirror):
        raise Invalid(f"{at}.output_port: a mirror has an output_port or an output_vlan, and not both")
    for key in sorted(PARTS["mirrors"].ports & mirror.keys()):
        names = mirror[key] if isinstance(mirror[key], list) else [mirror[key]]
        for name in names:
            if name not in ports:
                raise Invalid(f"{at}.{key}: there is no port {name} on {path[0]}")

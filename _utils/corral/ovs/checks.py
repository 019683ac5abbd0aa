"""What is wrong with a declared switch only as a whole, such as a name used twice; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corral.model import dotted
from corral.ovs.options import WATCHES, watch_faults
from corral.ovs.options import faults as option_faults
from corral.ovs.own import MARK, SECRETS, TABLES, is_own
from corral.ovs.parts import HANGS, PARTS, ROOT

if TYPE_CHECKING:
    from corral.ovs.model import Bond, Bridge, Port, Switch, _Attached

Where = tuple[str | int, ...]
Fault = tuple[Where, str]  # where, and what is wrong there


def faults(switch: Switch) -> Iterator[Fault]:
    """Yield what is wrong with a declaration only as a whole."""
    yield from _used_twice(switch)
    for path, spec in _hanging((), switch, ROOT):
        yield from _reserved((*path, "external_ids", MARK), MARK in spec.external_ids)
    yield from _reserved(("external_ids", MARK), MARK in switch.external_ids)
    yield from _db_faults(switch)
    for name, bridge in switch.bridges.items():
        if bridge is not None:
            yield from _bridge_faults(switch, name, bridge)


def _bridge_faults(switch: Switch, name: str, bridge: Bridge) -> Iterator[Fault]:
    here = ("bridges", name)
    if name in TABLES:
        yield here, f"{name} is a table of the database, no name for a bridge"
    for key in bridge.external_ids:
        yield from _reserved((*here, "external_ids", key), is_own(key))
    yield from _fake_faults(switch, name, bridge)
    if name in bridge.bonds or (name in bridge.ports and bridge.ports[name] is None):
        yield here, f"the bridge's own port {name!r} can neither be a bond nor be absent"
    for path, spec in _hanging(here, bridge, "bridges"):
        yield from _reserved((*path, "external_ids", MARK), MARK in spec.external_ids)
    for mirror, settings in bridge.mirrors.items():
        if settings is not None and settings.output_port is not None and settings.output_vlan is not None:
            yield (*here, "mirrors", mirror, "output_vlan"), "a mirror has an output_port or an output_vlan"
    for port, settings_of_port in bridge.ports.items():
        if settings_of_port is not None:
            yield from _port_faults((*here, "ports", port), settings_of_port, local=port == name)
    for bond, settings_of_bond in bridge.bonds.items():
        if settings_of_bond is not None:
            yield from _bond_faults((*here, "bonds", bond), settings_of_bond)
    yield from _openflow_faults(here, bridge)


def _openflow_faults(here: Where, bridge: Bridge) -> Iterator[Fault]:
    for number, flow in enumerate(bridge.flows):
        if flow in bridge.flows[:number]:
            yield (*here, "flows", number), "stands there twice"
    ids = [group.partition(",")[0] for group in bridge.groups]
    for number, one in enumerate(ids):
        if one in ids[:number]:
            yield (*here, "groups", number), f"{one} is that of groups[{ids.index(one)}]"


OF_A_FAKE_BRIDGE = {"parent", "vlan", "external_ids", "ports", "bonds"}


def _fake_faults(switch: Switch, name: str, bridge: Bridge) -> Iterator[Fault]:
    """A fake bridge is a VLAN of its parent, and has nothing else of its own (ovs-vsctl(8), add-br)."""
    here = ("bridges", name)
    if (bridge.parent is None) != (bridge.vlan is None):
        missing = "parent" if bridge.parent is None else "vlan"
        yield (*here, missing), "is required: a fake bridge has a parent and a vlan"
    if bridge.parent is None:
        return
    for key in sorted(bridge.model_fields_set - OF_A_FAKE_BRIDGE):
        yield (*here, key), f"a fake bridge has none of its own, declare it for {bridge.parent}"
    parent = switch.bridges.get(bridge.parent)
    if bridge.parent == name or (parent is not None and parent.parent is not None):
        yield (*here, "parent"), f"{bridge.parent} is a fake bridge itself"
    for kind in ("ports", "bonds"):
        for child, settings in getattr(bridge, kind).items():
            for key in sorted({"tag", "trunks", "vlan_mode"} & getattr(settings, "model_fields_set", set())):
                yield (*here, kind, child, key), "is that of the fake bridge and cannot be declared"


def _hanging(here: Where, parent: Any, kind: str) -> Iterator[tuple[Where, Any]]:
    """Yield the models of what hangs on another, with their places."""
    for key in HANGS[kind]:
        value = getattr(parent, key)
        if value is None:
            continue
        if PARTS[key].key:
            yield from (((*here, key, name), spec) for name, spec in value.items() if spec is not None)
        else:
            yield (*here, key), value
            yield from _hanging((*here, key), value, key) if key in HANGS else ()


def _db_faults(switch: Switch) -> Iterator[Fault]:
    for table in switch.db:
        if table not in TABLES:
            yield ("db", table), "is not a table of the database that can be set"


def _used_twice(switch: Switch) -> Iterator[Fault]:
    """Bridges, ports and interfaces of a host share one space of names (ovs-vswitchd.conf.db(5), Port)."""
    used: dict[str, Where] = {}
    for where, name in names(switch):
        if name in used:
            yield where, f"{name!r} is already used by {dotted('', used[name])}"
        else:
            used[name] = where
    for where, name in _absent(switch):
        place = used.get(name, ())
        is_port_or_bond = place[-1:] == (name,)
        is_meant = place[: len(where) - 2] == where[:-2]  # on the bridge that ``where`` is in, or on any
        if is_port_or_bond and is_meant:
            yield where, f"cannot be absent, it is declared by {dotted('', used[name])}"


def _absent(switch: Switch) -> Iterator[tuple[Where, str]]:
    for kind in ("ports", "bonds"):
        yield from (((kind, name), name) for name in getattr(switch, kind))
        for bridge_name, bridge in switch.bridges.items():
            children = getattr(bridge, kind) if bridge is not None else {}
            yield from (
                (("bridges", bridge_name, kind, name), name)
                for name, child in children.items()
                if child is None and name != bridge_name
            )


def names(switch: Switch) -> Iterator[tuple[Where, str]]:
    """Return where each name stands that the declaration gives to a bridge, port, bond or member."""
    there = {name: bridge for name, bridge in switch.bridges.items() if bridge is not None}
    yield from ((("bridges", name), name) for name in there)
    for bridge_name, bridge in there.items():
        for name, port in bridge.ports.items():
            here = ("bridges", bridge_name, "ports", name)
            if port is not None and name != bridge_name:
                yield here, name
            if port is not None and port.peer is not None and not _declared_end(there, port):
                yield (*here, "peer"), port.peer
        for name, bond in bridge.bonds.items():
            here = ("bridges", bridge_name, "bonds", name)
            if bond is not None:
                yield here, name
                for number, member in enumerate(bond.members or ()):
                    yield (*here, "members", number), member


def _declared_end(bridges: Mapping[str, Bridge], port: Port) -> bool:
    """Whether the other end of a patch is declared as well, for a tag, say."""
    peer_bridge = bridges.get(str(port.peer_bridge))
    return peer_bridge is not None and peer_bridge.ports.get(str(port.peer)) is not None


def _port_faults(here: Where, port: Port, local: bool) -> Iterator[Fault]:
    yield from _vlan_faults(here, port)
    if local and port.type not in (None, "internal"):
        yield (*here, "type"), f"the bridge's own port is internal, not {port.type}"
    yield from _peer_faults(here, port)
    for key in SECRETS:
        if key in port.options:
            yield (
                (*here, "options", key),
                "is a secret, which is neither declared nor shown: set it by ovs-vsctl",
            )
    for key, sentence in option_faults(port.type, port.options):
        yield (*here, "options", key), sentence
    for watch in WATCHES:
        for key, sentence in watch_faults(watch, getattr(port, watch)):
            yield (*here, watch, key), sentence


def _peer_faults(here: Where, port: Port) -> Iterator[Fault]:
    if (port.peer is None) != (port.peer_bridge is None):
        missing = "peer" if port.peer is None else "peer_bridge"
        yield (*here, missing), "is required: both ends of a patch are declared by peer and peer_bridge"
    if port.peer is None:
        return
    if port.type not in (None, "patch"):
        yield (*here, "peer"), f"a port of type {port.type} has none, only a patch has"
    if "peer" in port.options:
        yield (*here, "options", "peer"), "is declared as peer"
    if port.peer == here[-1]:
        yield (*here, "peer"), "is the port itself"
    if port.peer_bridge == here[1]:
        yield (*here, "peer_bridge"), "is the bridge that the port is on: a patch joins two bridges"


def _bond_faults(here: Where, bond: Bond) -> Iterator[Fault]:
    yield from _vlan_faults(here, bond)
    if "lacp-time" in bond.other_config:
        yield (*here, "other_config", "lacp-time"), "is declared as lacp_time"
    said = bond.model_fields_set
    if bond.mode == "balance-tcp" and "lacp" in said and needs_lacp(bond.mode, bond.lacp):
        yield (*here, "lacp"), NEEDS_LACP


NEEDS_LACP = (
    "balance-tcp forwards nothing without negotiated LACP: declare active or passive,"
    " or another mode (ovs-vswitchd.conf.db(5), Bonding Configuration)"
)


def needs_lacp(mode: str | None, lacp: str | None) -> bool:
    """Whether a bond of this mode would forward nothing for want of LACP."""
    return mode == "balance-tcp" and lacp in (None, "off")


def _vlan_faults(here: Where, attached: _Attached) -> Iterator[Fault]:
    yield from _reserved((*here, "external_ids", MARK), MARK in attached.external_ids)
    for path, spec in _hanging(here, attached, "ports"):
        yield from _reserved((*path, "external_ids", MARK), MARK in spec.external_ids)
    if attached.cvlans and attached.vlan_mode not in (None, "dot1q-tunnel"):
        yield (*here, "cvlans"), "only a dot1q-tunnel port has customer VLANs"
    wrong = vlan_fault(attached.tag, attached.trunks, attached.vlan_mode)
    if wrong:
        yield (*here, wrong[0]), wrong[1]


def vlan_fault(tag: int | None, trunks: Sequence[int] | None, mode: str | None) -> tuple[str, str] | None:
    """Return the key that must be empty beside the others, and why (ovs-vswitchd.conf.db(5), Port)."""
    if mode == "trunk" and tag is not None:
        return "tag", "a trunk port has no tag; native-tagged and native-untagged ports have one"
    if trunks and (mode == "access" or (mode is None and tag is not None)):
        return "trunks", "an access port has no trunks; say vlan_mode: native-tagged or native-untagged"
    return None


def _reserved(where: Where, used: bool) -> Iterator[Fault]:
    if used:
        yield where, "is Corral's own mark and cannot be declared"

"""What may be declared about a host's Open vSwitch.

The words are those of ovs-vswitchd.conf.db(5), shortened where a column's name only repeats its
table's (``bond_mode`` of a bond is ``mode``). ``null`` sets a value back to Open vSwitch's default.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from typing_extensions import Self

from corral.errors import Invalid
from corral.kinds import Flag, InterfaceName, Mac, Number, Setting, Text, Trunks, Vlan, interface_name
from corral.model import Model, dotted

MARK = "corral"  # the key of external_ids that says who made a row
TUNNELS = ("vxlan", "gre", "geneve")
SECRETS = ("psk",)  # options that are neither declared nor shown
Where = tuple[str | int, ...]
Fault = tuple[Where, str]  # where, and what is wrong there

Settings = dict[Text, Setting | None]
VlanMode = Literal["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"]
Mtu = Annotated[int, Field(strict=True, ge=68, le=65535)]
Milliseconds = Annotated[Number, Field(ge=0)]


def _port_name(value: Any) -> str:
    """Return a port's name; that a network interface has a short one is checked where its type is known."""
    if isinstance(value, str) and re.fullmatch(r"[^\s/:]{16,63}", value):
        return value
    return interface_name(value)


PortName = Annotated[str, BeforeValidator(_port_name)]


def _yaml_off(value: Any) -> Any:
    return "off" if value is False else value  # YAML 1.1 reads a bare "off" as false


class _Part(Model):
    """A model that is only ever built as a part of ``Switch``, which spares an import its own building."""

    model_config = ConfigDict(defer_build=True)


class _Attached(_Part):
    """What a port and a bond have in common: their place in the VLANs."""

    tag: Vlan | None = None
    trunks: Trunks | None = None
    vlan_mode: VlanMode | None = None
    external_ids: Settings = {}
    other_config: Settings = {}


class Port(_Attached):
    """One port with one interface of the same name; ``system`` is a network interface the host has."""

    type: Literal["system", "internal", "vxlan", "gre", "geneve", "patch"] | None = None
    options: Settings = {}
    mtu: Mtu | None = None


class Bond(_Attached):
    """Several network interfaces of the host that act as one port."""

    members: Annotated[list[InterfaceName], Field(min_length=2)] | None = None
    mode: Literal["active-backup", "balance-slb", "balance-tcp"] | None = None
    lacp: Annotated[Literal["active", "passive", "off"] | None, BeforeValidator(_yaml_off)] = None
    lacp_time: Literal["fast", "slow"] | None = None
    up_delay: Milliseconds | None = None
    down_delay: Milliseconds | None = None


class _Hwaddr(_Part):
    hwaddr: Mac | None


def _with_mac(value: Any) -> Any:
    """Check the one text of a bridge's ``other_config`` that YAML may read as a number."""
    if not isinstance(value, dict) or "hwaddr" not in value:
        return value
    return {**value, **_Hwaddr.model_validate({"hwaddr": value["hwaddr"]}).model_dump()}


class Bridge(_Part):
    """One bridge with its ports; a port of the bridge's own name is its local port."""

    datapath_type: Literal["system", "netdev"] | None = None
    fail_mode: Literal["standalone", "secure"] | None = None
    stp: Flag | None = None
    rstp: Flag | None = None
    mcast_snooping: Flag | None = None
    external_ids: Settings = {}
    other_config: Annotated[Settings, BeforeValidator(_with_mac)] = {}
    ports: dict[PortName, Port | None] = {}
    bonds: dict[InterfaceName, Bond | None] = {}


class Switch(Model):
    """The whole switch of a host.

    ``ports`` and ``bonds`` beside ``bridges`` name what must be absent from every bridge.
    """

    bridges: dict[InterfaceName, Bridge | None] = {}
    ports: dict[PortName, None] = {}
    bonds: dict[InterfaceName, None] = {}

    @classmethod
    def declare(cls, data: Any, at: str = "") -> Self:
        """Build the model; ``Invalid`` also for what is wrong only as a whole, such as a name used twice."""
        switch = super().declare(data, at)
        faults = [f"{dotted(at, where)}: {sentence}" for where, sentence in _faults(switch)]
        if faults:
            raise Invalid("; ".join(faults))
        return switch


def _faults(switch: Switch) -> Iterator[Fault]:
    yield from _used_twice(switch)
    for name, bridge in switch.bridges.items():
        if bridge is None:
            continue
        here = ("bridges", name)
        yield from _reserved((*here, "external_ids", MARK), MARK in bridge.external_ids)
        if name in bridge.bonds or (name in bridge.ports and bridge.ports[name] is None):
            yield here, f"the bridge's own port {name!r} can neither be a bond nor be absent"
        for port, settings in bridge.ports.items():
            if settings is not None:
                yield from _port_faults((*here, "ports", port), settings, local=port == name)
        for bond, settings_of_bond in bridge.bonds.items():
            if settings_of_bond is not None:
                yield from _bond_faults((*here, "bonds", bond), settings_of_bond)


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
            if port is not None and name != bridge_name:
                yield ("bridges", bridge_name, "ports", name), name
        for name, bond in bridge.bonds.items():
            here = ("bridges", bridge_name, "bonds", name)
            if bond is not None:
                yield here, name
                for number, member in enumerate(bond.members or ()):
                    yield (*here, "members", number), member


def _port_faults(here: Where, port: Port, local: bool) -> Iterator[Fault]:
    yield from _vlan_faults(here, port)
    if local and port.type not in (None, "internal"):
        yield (*here, "type"), f"the bridge's own port is internal, not {port.type}"
    for key in SECRETS:
        if key in port.options:
            yield (
                (*here, "options", key),
                "is a secret, which is neither declared nor shown: set it by ovs-vsctl",
            )
    if port.type in TUNNELS:
        for key in ("remote_ip", "local_ip"):
            if not _tunnel_end(port.options.get(key)):
                yield (*here, "options", key), f"{port.options[key]!r} is neither an IP address nor 'flow'"


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


def _tunnel_end(value: str | None) -> bool:
    if value in (None, "flow"):
        return True
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True

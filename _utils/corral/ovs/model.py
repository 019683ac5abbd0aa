"""What may be declared about a host's Open vSwitch.

The words are those of ovs-vswitchd.conf.db(5), shortened where a column's name only repeats its
table's (``bond_mode`` of a bond is ``mode``). ``null`` sets a value back to Open vSwitch's default.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from typing_extensions import Self

from corral.errors import Invalid
from corral.kinds import Flag, InterfaceName, Mac, Number, Text, Trunks, Vlan, VlanSet
from corral.model import Model, dotted
from corral.ovs.checks import faults
from corral.ovs.groups import as_declared, number
from corral.ovs.part_model import (
    Connection,
    Controller,
    Ipfix,
    Mirror,
    NetFlow,
    Part,
    PortName,
    Qos,
    Settings,
    SFlow,
    Sorted,
    Ssl,
    Target,
)

VlanMode = Literal["access", "trunk", "native-tagged", "native-untagged", "dot1q-tunnel"]
Mtu = Annotated[int, Field(strict=True, ge=68, le=65535)]
PortType = Literal[
    "system",
    "internal",
    "tap",
    "vxlan",
    "gre",
    "geneve",
    "stt",
    "erspan",
    "ip6erspan",
    "ip6gre",
    "gtpu",
    "patch",
    "dpdk",
    "dpdkvhostuser",
    "dpdkvhostuserclient",
    "afxdp",
]
OpenFlow = Literal["OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
Rate = Annotated[int, Field(strict=True, ge=0)]  # kbit/s, kbit
LAST_GROUP = 0xFFFFFF00  # OFPG_MAX (OpenFlow 1.3, A.3.4.2)
Milliseconds = Annotated[Number, Field(ge=0)]


def _yaml_off(value: Any) -> Any:
    return "off" if value is False else value  # YAML 1.1 reads a bare "off" as false


class _Attached(Part):
    """What a port and a bond have in common: their place in the VLANs."""

    tag: Vlan | None = None
    trunks: Trunks | None = None
    vlan_mode: VlanMode | None = None
    cvlans: VlanSet | None = None
    protected: Flag | None = None
    qos: Qos | None = None
    external_ids: Settings = {}
    other_config: Settings = {}


class Port(_Attached):
    """One port with one interface of the same name; ``system`` is a network interface the host has.

    ``peer`` and ``peer_bridge`` declare both ends of a patch at once.
    """

    type: PortType | None = None
    options: Settings = {}
    peer: PortName | None = None
    peer_bridge: InterfaceName | None = None
    mac: Mac | None = None
    mtu: Mtu | None = None
    ofport_request: Annotated[int, Field(strict=True, ge=1, le=65279)] | None = None
    ingress_policing_rate: Rate | None = None
    ingress_policing_burst: Rate | None = None
    bfd: Settings = {}
    cfm: Settings = {}
    lldp: Settings = {}
    fake_bridge: Flag | None = None


class Bond(_Attached):
    """Several network interfaces of the host that act as one port."""

    members: Annotated[list[InterfaceName], Field(min_length=2)] | None = None
    mode: Literal["active-backup", "balance-slb", "balance-tcp"] | None = None
    lacp: Annotated[Literal["active", "passive", "off"] | None, BeforeValidator(_yaml_off)] = None
    lacp_time: Literal["fast", "slow"] | None = None
    up_delay: Milliseconds | None = None
    down_delay: Milliseconds | None = None


class _Hwaddr(Part):
    hwaddr: Mac | None


def _with_mac(value: Any) -> Any:
    """Check the one text of a bridge's ``other_config`` that YAML may read as a number."""
    if not isinstance(value, dict) or "hwaddr" not in value:
        return value
    return {**value, **_Hwaddr.model_validate({"hwaddr": value["hwaddr"]}).model_dump()}


def _flow(value: Any) -> str:
    """Return a flow as ovs-ofctl(8) takes it, on one line and without spaces at its ends."""
    if not isinstance(value, str) or "actions=" not in value or "\n" in value.strip():
        raise ValueError(f"{value!r} is not a flow (table=0,priority=10,in_port=eth1,actions=normal)")
    if re.search(r"\bcookie\s*=", value.partition("actions=")[0]):
        raise ValueError("has a cookie, which is how Corral tells its own flows from those of others")
    return value.strip()


def _group(value: Any) -> str:
    """Return a group as ovs-ofctl(8) takes it, with its id, as a decimal, in front."""
    if not isinstance(value, str) or "\n" in value.strip() or number(value) is None:
        raise ValueError(f"{value!r} is not a group (group_id=1,type=select,bucket=output:eth1)")
    (declared,) = as_declared([value]).declared.items()
    if int(declared[0]) > LAST_GROUP:
        raise ValueError(f"{declared[0]} is not the id of a group (0-{LAST_GROUP})")
    return f"group_id={declared[0]},{declared[1]}"


class Bridge(Part):
    """One bridge with its ports; a port of the bridge's own name is its local port.

    With ``parent`` and ``vlan`` it is a fake bridge: one VLAN of another bridge under a name of its own.
    """

    parent: InterfaceName | None = None
    vlan: Vlan | None = None
    datapath_type: Literal["system", "netdev"] | None = None
    fail_mode: Literal["standalone", "secure"] | None = None
    stp: Flag | None = None
    rstp: Flag | None = None
    mcast_snooping: Flag | None = None
    protocols: Annotated[list[OpenFlow], Field(min_length=1), Sorted] | None = None
    flood_vlans: VlanSet | None = None
    external_ids: Settings = {}
    other_config: Annotated[Settings, BeforeValidator(_with_mac)] = {}
    controllers: dict[Target, Controller | None] = {}
    mirrors: dict[Text, Mirror | None] = {}
    netflow: NetFlow | None = None
    sflow: SFlow | None = None
    ipfix: Ipfix | None = None
    ports: dict[PortName, Port | None] = {}
    bonds: dict[InterfaceName, Bond | None] = {}
    flows: list[Annotated[str, BeforeValidator(_flow)]] = []
    groups: list[Annotated[str, BeforeValidator(_group)]] = []


class Switch(Model):
    """The whole switch of a host.

    ``ports`` and ``bonds`` beside ``bridges`` name what must be absent from every bridge. ``other_config``,
    ``external_ids``, ``managers`` and ``ssl`` are those of the table Open_vSwitch. ``db`` sets columns that
    no other word is for: ``{table: {record: {column: value}}}``.
    """

    bridges: dict[InterfaceName, Bridge | None] = {}
    ports: dict[PortName, None] = {}
    bonds: dict[InterfaceName, None] = {}
    managers: dict[Target, Connection | None] = {}
    ssl: Ssl | None = None
    other_config: Settings = {}
    external_ids: Settings = {}
    db: dict[Text, dict[Text, dict[Text, Any]]] = {}

    @classmethod
    def declare(cls, data: Any, at: str = "") -> Self:
        """Build the model; ``Invalid`` also for what is wrong only as a whole, such as a name used twice."""
        switch = super().declare(data, at)
        wrong = [f"{dotted(at, where)}: {sentence}" for where, sentence in faults(switch)]
        if wrong:
            raise Invalid("; ".join(wrong))
        return switch

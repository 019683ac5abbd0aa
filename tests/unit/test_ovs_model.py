"""What may be declared about a switch, and the sentence for what may not."""

from __future__ import annotations

import ast
import textwrap
from typing import Any

import pytest
import yaml

from corral.errors import Invalid
from corral.ovs.host import Host
from corral.ovs.model import Switch
from corral.ovs.plan import plan
from tests.support import salt_here

BOND = {"members": ["eth1", "eth2"]}
LACP = (
    "balance-tcp forwards nothing without negotiated LACP: declare active or passive,"
    " or another mode (ovs-vswitchd.conf.db(5), Bonding Configuration)"
)


def port(**settings: Any) -> dict[str, Any]:
    return {"bridges": {"br0": {"ports": {"p1": settings}}}}


def bond(**settings: Any) -> dict[str, Any]:
    return {"bridges": {"br0": {"bonds": {"bond0": settings}}}}


def bridge(**settings: Any) -> dict[str, Any]:
    return {"bridges": {"br0": settings}}


def tunnel(kind: str = "vxlan", **options: Any) -> dict[str, Any]:
    return port(type=kind, options={"remote_ip": "192.0.2.7", **options})


TARGET = "is not a connection (tcp:192.0.2.7:6653, ssl:host:6640, ptcp:6640, punix:/run/x)"
HANGING = [
    (bridge(controllers={"192.0.2.7": {}}), f"bridges.br0.controllers.192.0.2.7: '192.0.2.7' {TARGET}"),
    (
        bridge(controllers={"tcp:192.0.2.7": {"max_backoff": 10}}),
        "bridges.br0.controllers.tcp:192.0.2.7.max_backoff: 10 is not valid, input should be greater than or",
    ),
    (
        bridge(controllers={"tcp:192.0.2.7": {"connection_mode": "outband"}}),
        "bridges.br0.controllers.tcp:192.0.2.7.connection_mode: 'outband' is not valid",
    ),
    (
        bridge(controllers={"tcp:192.0.2.7": {"local_ip": "192.0.2.300"}}),
        "bridges.br0.controllers.tcp:192.0.2.7.local_ip: '192.0.2.300' is not an IP address",
    ),
    (
        bridge(controllers={"tcp:192.0.2.7": {"external_ids": {"corral": "x"}}}),
        "bridges.br0.controllers.tcp:192.0.2.7.external_ids.corral: is Corral's own mark",
    ),
    (bridge(protocols=["OpenFlow9"]), "bridges.br0.protocols[0]: 'OpenFlow9' is not valid"),
    (bridge(protocols=[]), "bridges.br0.protocols: a list is not valid, list should have at least 1 item"),
    (bridge(flood_vlans=[5000]), "bridges.br0.flood_vlans: '5000' is not a VLAN id (1–4094)"),
    (bridge(mirrors={"m0": {"select": "all"}}), "bridges.br0.mirrors.m0.select: unknown key"),
    (
        bridge(mirrors={"m0": {"snaplen": 5}}),
        "bridges.br0.mirrors.m0.snaplen: 5 is not valid, input should be greater than or equal to 14",
    ),
    (
        bridge(mirrors={"m0": {"output_port": "p1", "output_vlan": 5}}),
        "bridges.br0.mirrors.m0.output_vlan: a mirror has an output_port or an output_vlan",
    ),
    (
        bridge(mirrors={"m0": {"select_src_port": "p1"}}),
        "bridges.br0.mirrors.m0.select_src_port: a text is not valid, input should be a valid list",
    ),
    (
        bridge(netflow={"targets": ["192.0.2.9"]}),
        "bridges.br0.netflow.targets[0]: '192.0.2.9' is not a collector (192.0.2.7:2055, [2001:db8::7]:2055)",
    ),
    (
        bridge(netflow={"engine_id": 256}),
        "bridges.br0.netflow.engine_id: 256 is not valid, input should be less than or equal to 255",
    ),
    (bridge(sflow={"targets": []}), "bridges.br0.sflow.targets: a list is not valid"),
    (bridge(sflow={"sampling": 0}), "bridges.br0.sflow.sampling: 0 is not valid"),
    (
        bridge(ipfix={"cache_active_timeout": 4201}),
        "bridges.br0.ipfix.cache_active_timeout: 4201 is not valid",
    ),
    (bridge(ipfix={"obs_domain_id": -1}), "bridges.br0.ipfix.obs_domain_id: -1 is not valid"),
    (port(qos={"type": "linux-tbf"}), "bridges.br0.ports.p1.qos.type: 'linux-tbf' is not valid"),
    (
        port(qos={"queues": {"first": {}}}),
        "bridges.br0.ports.p1.qos.queues.first: 'first' is not a queue's number",
    ),
    (port(qos={"queues": {0: {"dscp": 64}}}), "bridges.br0.ports.p1.qos.queues[0].dscp: 64 is not valid"),
    (bond(**BOND, qos={"rate": 5}), "bridges.br0.bonds.bond0.qos.rate: unknown key"),
    (port(bfd={"enabled": True}), "bridges.br0.ports.p1.bfd.enabled: is not a setting of bfd"),
    (port(bfd={"enable": "yes"}), "bridges.br0.ports.p1.bfd.enable: 'yes' is not 'true' or 'false'"),
    (port(cfm={"mpid": 9000}), "bridges.br0.ports.p1.cfm.mpid: '9000' is not a number from 0 to 8191"),
    (
        port(cfm={"ccm_vlan": "any"}),
        "bridges.br0.ports.p1.cfm.ccm_vlan: 'any' is not a number from 0 to 4095 or",
    ),
    (port(lldp={"on": True}), "bridges.br0.ports.p1.lldp.on: is not a setting of lldp"),
    (port(ingress_policing_rate=-1), "bridges.br0.ports.p1.ingress_policing_rate: -1 is not valid"),
    (port(ofport_request=0), "bridges.br0.ports.p1.ofport_request: 0 is not valid"),
    (port(mac="52:54"), "bridges.br0.ports.p1.mac: '52:54' is not a MAC address"),
    (
        port(protected="yes"),
        "bridges.br0.ports.p1.protected: 'yes' is not valid, input should be a valid boolean",
    ),
    (
        port(cvlans=[5], vlan_mode="trunk"),
        "bridges.br0.ports.p1.cvlans: only a dot1q-tunnel port has customer VLANs",
    ),
    (tunnel(kee=5), "bridges.br0.ports.p1.options.kee: is not an option of type vxlan"),
    (
        tunnel(key=1 << 24),
        "bridges.br0.ports.p1.options.key: '16777216' is not a number from 0 to 16777215 or 'flow'",
    ),
    (tunnel("gre", dst_port=5), "bridges.br0.ports.p1.options.dst_port: is not an option of type gre"),
    (
        tunnel(dst_port=70000),
        "bridges.br0.ports.p1.options.dst_port: '70000' is not a number from 0 to 65535",
    ),
    (tunnel(csum="on"), "bridges.br0.ports.p1.options.csum: 'on' is not 'true' or 'false'"),
    (
        tunnel(tos="high"),
        "bridges.br0.ports.p1.options.tos: 'high' is not a number from 0 to 255 or 'inherit'",
    ),
    (
        tunnel("erspan", erspan_ver=3),
        "bridges.br0.ports.p1.options.erspan_ver: '3' is not '1' or '2' or 'flow'",
    ),
    (
        tunnel("stt", df_default="no"),
        "bridges.br0.ports.p1.options.df_default: 'no' is not 'true' or 'false'",
    ),
    (
        tunnel(local_ip="here"),
        "bridges.br0.ports.p1.options.local_ip: 'here' is neither an IP address nor 'flow'",
    ),
    ({"managers": {"6640": {}}}, f"managers.6640: '6640' {TARGET}"),
    (
        {"managers": {"ptcp:6640": {"inactivity_probe": "5s"}}},
        "managers.ptcp:6640.inactivity_probe: '5s' is not valid",
    ),
    ({"ssl": {"private_key": "key.pem"}}, "ssl.private_key: 'key.pem' is not an absolute path"),
    ({"ssl": {"certificate": "/c", "key": "/k"}}, "ssl.key: unknown key"),
    ({"other_config": ["dpdk-init"]}, "other_config: a list is not valid"),
    (
        {"other_config": {"dpdk-init": 1.5}},
        "other_config.dpdk-init: a float is not a text, a whole number, true or",
    ),
    ({"external_ids": {"corral": "x"}}, "external_ids.corral: is Corral's own mark and cannot be declared"),
    (bridge(flows=["in_port=1"]), "bridges.br0.flows[0]: 'in_port=1' is not a flow"),
    (bridge(flows="actions=drop"), "bridges.br0.flows: a text is not valid, input should be a valid list"),
    ({"db": {"Port": []}}, "db.Port: a list is not valid"),
]
WRONG = [
    (port(tag=5000), "bridges.br0.ports.p1.tag: 5000 is not a VLAN id (1–4094)"),
    (port(tag=True), "bridges.br0.ports.p1.tag: True is not a VLAN id (1–4094)"),
    (port(trunks=[10, 4095]), "bridges.br0.ports.p1.trunks: '4095' is not a VLAN id (1–4094)"),
    (port(trunks=["20-10"]), "bridges.br0.ports.p1.trunks: '20-10' is a VLAN range that runs backwards"),
    (port(tags=5), "bridges.br0.ports.p1.tags: unknown key"),
    ({"bridge": {}}, "bridge: unknown key"),
    (
        port(type="tunnel"),
        "bridges.br0.ports.p1.type: 'tunnel' is not valid, input should be 'system', 'internal', 'tap',"
        " 'vxlan', 'gre', 'geneve',",
    ),
    (
        port(mtu="1500"),
        "bridges.br0.ports.p1.mtu: '1500' is not valid, input should be a valid integer",
    ),
    (
        port(options=["a"]),
        "bridges.br0.ports.p1.options: a list is not valid, input should be a valid dictionary",
    ),
    (
        port(options={"key": 1.5}),
        "bridges.br0.ports.p1.options.key: a float is not a text, a whole number, true or false",
    ),
    (
        {"bridges": {"br0": {"stp": "yes"}}},
        "bridges.br0.stp: 'yes' is not valid, input should be a valid boolean",
    ),
    (
        {"bridges": {"a bridge": {}}},
        "bridges.a bridge: 'a bridge' is not an interface name (1 to 15 bytes, no '/', ':' or space)",
    ),
    (
        bond(members=["eth1"]),
        "bridges.br0.bonds.bond0.members: a list is not valid, list should have at least",
    ),
    (bond(**BOND, mode="balance-tcp", lacp="off"), f"bridges.br0.bonds.bond0.lacp: {LACP}"),
    (bond(mode="balance-tcp", lacp=None), f"bridges.br0.bonds.bond0.lacp: {LACP}"),
    (
        bond(lacp=True),
        "bridges.br0.bonds.bond0.lacp: True is not valid, input should be 'active', 'passive' or 'off'",
    ),
    (
        bond(other_config={"lacp-time": "fast"}),
        "bridges.br0.bonds.bond0.other_config.lacp-time: is declared as lacp_time",
    ),
    (
        bond(members=["eth1", "eth1"]),
        "bridges.br0.bonds.bond0.members[1]: 'eth1' is already used by bridges.br0.bonds.bond0.members[0]",
    ),
    (
        {"bridges": {"br0": {"ports": {"eth1": {}}}, "br1": {"ports": {"eth1": {}}}}},
        "bridges.br1.ports.eth1: 'eth1' is already used by bridges.br0.ports.eth1",
    ),
    (
        {"bridges": {"br0": {"ports": {"br1": {}}}, "br1": {}}},
        "bridges.br0.ports.br1: 'br1' is already used by bridges.br1",
    ),
    (
        {"bridges": {"br0": {"ports": {"p1": None}, "bonds": {"p1": BOND}}}},
        "bridges.br0.ports.p1: cannot be absent, it is declared by bridges.br0.bonds.p1",
    ),
    (
        {"ports": {"p1": None}, **port(tag=4)},
        "ports.p1: cannot be absent, it is declared by bridges.br0.ports.p1",
    ),
    (
        {"bridges": {"br0": {"ports": {"br0": None}}}},
        "bridges.br0: the bridge's own port 'br0' can neither be a bond nor be absent",
    ),
    (
        {"bridges": {"br0": {"ports": {"br0": {"type": "vxlan"}}}}},
        "bridges.br0.ports.br0.type: the bridge's own port is internal, not vxlan",
    ),
    (
        port(external_ids={"corral": "me"}),
        "bridges.br0.ports.p1.external_ids.corral: is Corral's own mark and cannot be declared",
    ),
    (
        port(tag=5, trunks=[6]),
        "bridges.br0.ports.p1.trunks: an access port has no trunks; say vlan_mode: native-tagged"
        " or native-untagged",
    ),
    (
        port(tag=5, vlan_mode="trunk"),
        "bridges.br0.ports.p1.tag: a trunk port has no tag; native-tagged and native-untagged ports have one",
    ),
    (
        port(type="gre", options={"remote_ip": "192.0.2.7", "psk": "swordfish"}),
        "bridges.br0.ports.p1.options.psk: is a secret, which is neither declared nor shown",
    ),
    (
        {"bridges": {"br0": {"other_config": {"hwaddr": 41135085296}}}},
        "bridges.br0.other_config.hwaddr: 41135085296 is a number: YAML reads a MAC address of digits as one",
    ),
    (
        {"bridges": {"br0": {"other_config": {"hwaddr": "aa:66"}}}},
        "bridges.br0.other_config.hwaddr: 'aa:66' is not a MAC address",
    ),
    (
        {"bridges": {"br0": {"other_config": {"disable-in-band": [True]}}}},
        "bridges.br0.other_config.disable-in-band: a list is not a text, a whole number, true or false",
    ),
    (
        {"bridges": {"br0": {"ports": {"p" * 64: {}}}}},
        f"bridges.br0.ports.{'p' * 64}: '{'p' * 64}' is not an interface name",
    ),
    (
        port(type="vxlan", options={"remote_ip": "east"}),
        "bridges.br0.ports.p1.options.remote_ip: 'east' is neither an IP address nor 'flow'",
    ),
]


@pytest.mark.parametrize(
    ("declaration", "sentence"), WRONG + HANGING, ids=[sentence for _, sentence in WRONG + HANGING]
)
def test_wrong_declarations_name_the_path(declaration: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        Switch.declare(declaration)
    assert str(raised.value).startswith(sentence)
    assert "swordfish" not in str(raised.value)


def test_the_path_begins_where_the_declaration_stands() -> None:
    with pytest.raises(Invalid, match=r"^switch\.bridges\.br0\.ports\.br1: 'br1' is already used by"):
        Switch.declare({"bridges": {"br0": {"ports": {"br1": {}}}, "br1": {}}}, at="switch")


def test_values_have_one_normal_form() -> None:
    declared = Switch.declare(
        {
            "bridges": {
                "br0": {
                    "other_config": {
                        "disable-in-band": True,
                        "hwaddr": "AA-66-AA-66-00-00",
                        "flow-limit": None,
                    },
                    "ports": {"p1": {"tag": "10", "trunks": "30,0,10-12", "vlan_mode": "native-tagged"}},
                    "bonds": {"bond0": {**BOND, "lacp": False}},
                }
            }
        }
    ).declared()
    bridge = declared["bridges"]["br0"]
    assert bridge["other_config"] == {
        "disable-in-band": "true",
        "hwaddr": "aa:66:aa:66:00:00",
        "flow-limit": None,
    }
    assert bridge["ports"]["p1"] == {"tag": 10, "trunks": [0, 10, 11, 12, 30], "vlan_mode": "native-tagged"}
    assert bridge["bonds"]["bond0"] == {**BOND, "lacp": "off"}, "YAML 1.1 reads a bare off as false"


def test_the_example_of_the_states_can_be_declared() -> None:
    text = ast.get_docstring(ast.parse((salt_here.REPO / "_states" / "ovs.py").read_text())) or ""
    block = text.split(".. code-block:: yaml")[1].split("\n\nThe same")[0]
    given = yaml.safe_load(textwrap.dedent(block))["switch"]["ovs.switch_managed"]
    example = {key: value for argument in given for key, value in argument.items()}
    assert plan(Host({}), Switch.declare(example), exact=True)

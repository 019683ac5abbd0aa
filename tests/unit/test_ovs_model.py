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


@pytest.mark.parametrize(("declaration", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
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
    (example,) = yaml.safe_load(textwrap.dedent(block))["switch"]["ovs.switch_managed"]
    assert plan(Host({}), Switch.declare(example), exact=True)

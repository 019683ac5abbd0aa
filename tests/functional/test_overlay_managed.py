"""One host's part of the fleet's overlays, on a real Open vSwitch."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.expect import assert_failed

PHY, INT, TUN = "brt-ovs-phy", "brt-ovs-int", "brt-ovs-tun"
ADDRESS = "192.0.2.11"
BLUE = {
    "key": 1001,
    "subnet": "10.1.0.0/24",
    "served_by": "hypervisor",
    "ports": {"brt-app0": {"type": "internal"}},
}
DECLARED: dict[str, Any] = {
    "peers": {"hypervisor": ADDRESS, "hv2": "192.0.2.12", "hv3": "192.0.2.13"},
    "datapath_type": "netdev",
    "bridges": {"integration": INT, "tunnel": TUN},
    "networks": {"blue": BLUE, "red": {"key": 2002, "hosts": ["hypervisor", "hv3"]}},
}
INTO = "table=10,priority=2,tun_id=0x3e9,vlan_tci=0x0000/0x1000,dl_src=00:00:00:00:00:00/01:00:00:00:00:00"


def declared(**settings: Any) -> dict[str, Any]:
    return {**DECLARED, **settings}


@pytest.fixture
def phy(switch: ModuleType) -> ModuleType:
    """A switch with the bridge that has this host's address in the underlay."""
    switch.vsctl("add-br", PHY, "--", "set", "bridge", PHY, "datapath_type=netdev")
    switch.run("ip", "address", "add", f"{ADDRESS}/24", "dev", PHY)
    switch.run("ip", "link", "set", PHY, "up")
    return switch


@pytest.fixture
def managed(state: Any, phy: ModuleType) -> Any:
    return partial(state, "ovs.overlay_managed", "overlay")


def look(switch: ModuleType) -> Any:
    """Return all that the state could move."""
    there = TUN in switch.vsctl("list-br").split()
    flows = switch.run("ovs-ofctl", "--names", "--no-stats", "dump-flows", TUN) if there else ""
    return switch.configuration(), flows


def flows(switch: ModuleType) -> str:
    return str(switch.run("ovs-ofctl", "--names", "--no-stats", "-O", "OpenFlow14", "dump-flows", TUN))


def test_overlay_managed(four_ways: Any, phy: ModuleType) -> None:
    """S3.2, S3.3, S3.5."""

    def disturb() -> None:
        """Alter a tag, a tunnel, a flow and what is written down, and add what is not ours."""
        phy.vsctl(
            *("set", "port", "brt-app0", "tag=77", "--"),
            *("set", "interface", "vx-hv2", "options:key=5", "--"),
            *("remove", "bridge", INT, "external_ids", "corral-vlan-red", "--"),
            *("add-port", INT, "vnet91", "tag=78", "--", "set", "interface", "vnet91", "type=internal"),
        )
        phy.run("ovs-ofctl", "--strict", "del-flows", TUN, "table=21,priority=2,dl_vlan=1")
        phy.run("ovs-ofctl", "add-flow", TUN, "table=40,priority=7,actions=drop")

    made = four_ways(
        "ovs.overlay_managed",
        "overlay",
        **DECLARED,
        look=partial(look, phy),
        disturb=disturb,
        drift={
            f"{INT}.ports.brt-app0.tag": {"old": 77, "new": 1},
            f"{INT}.external_ids.corral-vlan-red": {"old": None, "new": "2"},
            f"{TUN}.ports.vx-hv2.options.key": {"old": "5", "new": "flow"},
            f"{TUN}.flows.table=21,priority=2,dl_vlan=1": {
                "old": None,
                "new": "actions=pop_vlan,set_field:0x3e9->tun_id,resubmit(,22)",
            },
        },
    )
    assert made.keys() >= {INT, TUN, f"{TUN}.ports.vx-hv2", f"{INT}.ports.ov-blue", f"{INT}.ports.gw-blue"}
    assert "vnet91" in phy.vsctl("list-ports", INT).split()
    assert "priority=7 actions=drop" in flows(phy)


def test_flows_that_were_lost_come_back(managed: Any, phy: ModuleType) -> None:
    """Open vSwitch empties a bridge that is to fail standalone, and puts its own flow into it."""
    assert managed(**DECLARED)["result"] is True
    before = flows(phy)
    phy.vsctl("set", "bridge", TUN, "fail_mode=standalone")
    assert "NORMAL" in flows(phy)
    run = managed(**DECLARED)
    assert run["result"] is True, run
    assert set(before.splitlines()) <= set(flows(phy).splitlines())
    assert managed(**DECLARED)["changes"] == {}


@pytest.mark.parametrize(
    ("bridge", "frame", "tunnels", "inside"),
    [
        (INT, "in_port=brt-app0,dl_dst=ff:ff:ff:ff:ff:ff", 2, True),
        (INT, "in_port=brt-none,dl_dst=ff:ff:ff:ff:ff:ff", 0, True),
        (TUN, "in_port=vx-hv2,tun_id=0x3e9,dl_dst=ff:ff:ff:ff:ff:ff", 0, True),
        (TUN, "in_port=vx-hv2,tun_id=0x3e9,dl_dst=52:54:00:00:00:99", 0, True),
        (TUN, "in_port=vx-hv2,tun_id=0x999,dl_dst=ff:ff:ff:ff:ff:ff", 0, False),
        (TUN, "in_port=vx-hv2,tun_id=0x3e9,dl_vlan=2,dl_dst=ff:ff:ff:ff:ff:ff", 0, False),
        (TUN, "in_port=brt-other,tun_id=0x3e9,dl_dst=ff:ff:ff:ff:ff:ff", 0, False),
    ],
    ids=[
        *("to-all", "of-no-network", "split-horizon", "split-horizon-of-unknown", "key-of-nobody"),
        *("tagged-in-a-tunnel", "port-of-nobody"),
    ],
)
def test_the_way_of_a_frame(
    managed: Any, phy: ModuleType, bridge: str, frame: str, tunnels: int, inside: bool
) -> None:
    """What comes from a tunnel goes into none, and what no flow is for goes nowhere (RFC 7348, 6.1)."""
    assert managed(**DECLARED)["result"] is True
    for port, of in (("brt-none", INT), ("brt-other", TUN)):
        phy.vsctl("add-port", of, port, "--", "set", "interface", port, "type=internal")
    traced = phy.run("ovs-appctl", "ofproto/trace", bridge, f"{frame},dl_src=52:54:00:00:00:01")
    assert traced.count("output to native tunnel") == tunnels, traced
    assert (f'bridge("{INT}")' in traced) is inside, traced


def test_what_is_no_longer_declared_goes_and_nothing_else(managed: Any, state: Any, phy: ModuleType) -> None:
    assert managed(**DECLARED)["result"] is True
    phy.vsctl("add-port", "ov-red", "vnet91", "--", "set", "interface", "vnet91", "type=internal")
    phy.run("ovs-ofctl", "add-flow", TUN, "table=40,priority=7,actions=drop")
    other = state("ovs.switch_managed", "switch", bridges={PHY: {"ports": {}}})
    assert (other["result"], other["changes"]) == (True, {}), "it takes nothing that the overlays made"

    run = managed(**declared(networks={"blue": {**BLUE, "hosts": ["hypervisor", "hv2"], "ports": {}}}))
    assert run["result"] is True, run
    gone = {path for path, change in run["changes"].items() if change["new"] is None}
    assert {path for path in gone if ".flows." not in path} == {
        f"{INT}.external_ids.corral-vlan-red",
        f"{INT}.ports.brt-app0",
        f"{INT}.ports.ov-red",
        f"{TUN}.ports.vx-hv3",
    }
    assert "0x7d2" not in flows(phy)
    assert "priority=7 actions=drop" in flows(phy)
    assert phy.vsctl("get", "port", "vnet91", "tag") == "2", "a guest's port is left, on a VLAN of its own"

    green = managed(**declared(networks={"green": {"key": 3}}))
    assert green["changes"][f"{INT}.external_ids.corral-vlan-green"] == {"old": None, "new": "3"}
    nothing = managed(**declared(networks={}))
    assert nothing["result"] is True, nothing
    assert phy.vsctl("list-ports", TUN) == "patch-int"


def test_ports_of_others_join_by_name_or_by_what_they_say(managed: Any, phy: ModuleType) -> None:
    """S3.5: a guest whose port has the VLAN of another network is put right."""
    ports = {
        "networks": {"blue": {**BLUE, "ports": ["vnet91", "vnet92"]}, "red": DECLARED["networks"]["red"]}
    }
    assert managed(**declared(**ports))["result"] is True
    for port in ("vnet91", "vnet93"):
        phy.vsctl("add-port", INT, port, "tag=9", "--", "set", "interface", port, "type=internal")
    phy.vsctl("set", "port", "vnet93", "external_ids:corral-network=red")
    run = managed(**declared(**ports))
    assert run["changes"] == {
        f"{INT}.ports.vnet91.tag": {"old": 9, "new": 1},
        f"{INT}.ports.vnet93.tag": {"old": 9, "new": 2},
    }
    less = managed(**declared(networks={"red": DECLARED["networks"]["red"]}))
    assert less["result"] is True, less
    assert [phy.vsctl("get", "port", name, "tag") for name in ("vnet91", "vnet93")] == ["1", "2"]
    phy.vsctl("add-port", PHY, "vnet92", "--", "set", "interface", "vnet92", "type=internal")
    assert_failed(
        managed(**declared(**ports)), f"networks.blue.ports.vnet92: is a port of {PHY}, not of {INT}."
    )


def test_vlans_of_others_are_not_taken(managed: Any, phy: ModuleType) -> None:
    phy.vsctl(
        *("add-br", INT, "--", "set", "bridge", INT, "datapath_type=netdev", "--"),
        *("add-port", INT, "brt-a", "tag=1", "--", "set", "interface", "brt-a", "type=internal", "--"),
        *("add-port", INT, "brt-b", "trunks=2,4", "--", "set", "interface", "brt-b", "type=internal"),
    )
    assert managed(**DECLARED)["result"] is True
    ids = phy.vsctl("get", "bridge", INT, "external_ids")
    assert 'corral-vlan-blue="3"' in ids
    assert 'corral-vlan-red="5"' in ids


def test_what_somebody_else_made_is_not_taken_over(managed: Any, phy: ModuleType) -> None:
    phy.vsctl("add-br", TUN, "--", "set", "bridge", TUN, "datapath_type=netdev")
    before = look(phy)
    assert_failed(
        managed(**DECLARED), f"bridges.tunnel: there is a bridge {TUN} that ovs.overlay_managed did not"
    )
    phy.vsctl(
        "del-br", TUN, "--", "add-port", PHY, "vx-hv2", "--", "set", "interface", "vx-hv2", "type=internal"
    )
    assert_failed(
        managed(**DECLARED), f"peers.hv2: there is a port vx-hv2 on {PHY} that ovs.overlay_managed did"
    )
    phy.vsctl("del-port", "vx-hv2")
    assert before[0]["Bridge"] != look(phy)[0]["Bridge"]
    assert INT not in phy.vsctl("list-br").split()


def test_a_host_without_its_address_is_told(managed: Any, phy: ModuleType) -> None:
    phy.run("ip", "address", "flush", "dev", PHY)
    sentence = f"peers.hypervisor: no network interface of this host has {ADDRESS}."
    assert_failed(managed(**DECLARED), sentence)
    preview = managed(test=True, **DECLARED)
    assert (preview["result"], INT in preview["changes"]) == (None, True)
    assert f"A run now would be refused: {sentence}" in preview["comment"]
    phy.run("ip", "address", "add", f"{ADDRESS}/24", "dev", "eth4")
    assert_failed(
        managed(**DECLARED),
        "peers.hypervisor: eth4 has 192.0.2.11, and in user space (datapath_type netdev) tunnels leave only"
        " by a bridge: give the address to a bridge that has eth4 as a port.",
    )
    phy.run("ip", "address", "flush", "dev", "eth4")
    assert INT not in phy.vsctl("list-br").split()


def test_a_wrong_declaration_touches_nothing(managed: Any, phy: ModuleType) -> None:
    before = look(phy)
    wrong = {"blue": BLUE, "red": {"key": 1001}}
    assert_failed(managed(**declared(networks=wrong)), "networks.red.key: 1001 is already the key of blue")
    assert look(phy) == before


@pytest.mark.parametrize(("encapsulation", "mtu"), [("vxlan", 1350), ("gre", 1358), ("geneve", 1350)])
def test_the_underlay_and_the_encapsulation_make_the_mtu(
    managed: Any, salt: Any, phy: ModuleType, encapsulation: str, mtu: int
) -> None:
    """S1.10."""
    phy.vsctl("set", "interface", PHY, "mtu_request=1400")
    run = managed(**declared(encapsulation=encapsulation))
    assert run["result"] is True, run
    assert phy.vsctl("get", "interface", "brt-app0", "mtu") == str(mtu)
    assert salt.cmd("ovs.networks")["blue"]["mtu"] == mtu
    assert managed(**declared(encapsulation=encapsulation, underlay_mtu=9000))["result"] is True
    assert salt.cmd("ovs.networks")["blue"]["mtu"] == mtu + 7600


def test_networks_tells_what_is_there(managed: Any, salt: Any, phy: ModuleType) -> None:
    """S3.4."""
    assert salt.cmd("ovs.networks") == {}
    assert managed(**DECLARED)["result"] is True
    shown = salt.cmd("ovs.networks")
    blue = shown["blue"]
    assert {key: blue[key] for key in ("key", "vlan", "mtu", "bridge", "ports", "healthy", "reason")} == {
        "key": 1001,
        "vlan": 1,
        "mtu": 1450,
        "bridge": "ov-blue",
        "ports": ["brt-app0", "gw-blue"],
        "healthy": True,
        "reason": "",
    }
    far = {"port": "vx-hv3", "address": "192.0.2.13", "encapsulation": "vxlan", "macs": []}
    assert shown["red"]["peers"] == {"hv3": far}
    assert blue["peers"].keys() == {"hv2", "hv3"}
    assert [flow["does"] for flow in blue["flows"]] == [
        "key 1001 from a tunnel becomes VLAN 1; the sender is learned",
        "VLAN 1 to all, or to whom nobody knows, goes to hv2, hv3 with key 1001",
    ]
    assert salt.cmd("ovs.networks", "red") == {"red": shown["red"]}
    with pytest.raises(CommandExecutionError, match="This host has no network green"):
        salt.cmd("ovs.networks", "green")
    phy.run("ovs-ofctl", "del-flows", TUN)
    lost = salt.cmd("ovs.networks")["blue"]
    assert lost["healthy"] is False
    assert lost["reason"].startswith("nothing of it is taken in from the tunnels and nothing of it gets to")
    assert (lost["vlan"], lost["key"], lost["peers"]) == (1, None, {})


def test_another_encapsulation_replaces_the_tunnels(managed: Any, phy: ModuleType) -> None:
    assert managed(**DECLARED)["result"] is True
    run = managed(**declared(encapsulation="gre", bfd=True))
    assert run["result"] is True, run
    assert set(phy.vsctl("list-ports", TUN).split()) == {"patch-int", "gre-hv2", "gre-hv3"}
    assert phy.vsctl("get", "interface", "gre-hv2", "bfd:enable") == '"true"'
    assert managed(**declared(encapsulation="gre", bfd=True))["changes"] == {}
    assert managed(**declared(encapsulation="gre"))["changes"].keys() == {
        f"{TUN}.ports.gre-hv2.bfd.enable",
        f"{TUN}.ports.gre-hv3.bfd.enable",
    }

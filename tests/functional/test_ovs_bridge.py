"""Bridges and ports on a real Open vSwitch, each state four ways."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.support import ovs
from tests.support.expect import assert_failed

A, B = "brt-ovs-a", "brt-ovs-b"
NETDEV = ("datapath_type=netdev",)
BRIDGE = {"datapath_type": "netdev", "stp": False, "rstp": False, "mcast_snooping": False}


@pytest.fixture
def bridges(switch: ModuleType) -> ModuleType:
    """Two bridges that somebody else made."""
    for name in (A, B):
        switch.vsctl("add-br", name, "--", "set", "bridge", name, *NETDEV)
    return switch


def test_bridge_present(four_ways: Any, switch: ModuleType) -> None:
    made = four_ways(
        "ovs.bridge_present",
        A,
        datapath_type="netdev",
        fail_mode="secure",
        mcast_snooping=True,
        external_ids={"role": "uplink"},
        other_config={"hwaddr": "aa:66:aa:66:00:00", "disable-in-band": True},
        look=switch.configuration,
        disturb=lambda: switch.vsctl("set", "bridge", A, "fail_mode=standalone", "external_ids:by=hand"),
        drift={f"{A}.fail_mode": {"old": "standalone", "new": "secure"}},
    )
    assert list(made) == [A]
    assert switch.run("cat", f"/sys/class/net/{A}/address") == "aa:66:aa:66:00:00"
    assert switch.vsctl("get", "bridge", A, "external_ids") == (
        "{by=hand, corral=ovs.bridge_present, role=uplink}"
    )


def test_bridge_absent(four_ways: Any, bridges: ModuleType) -> None:
    """An explicit word removes whatever it names, ports of others included, and says whose."""
    bridges.vsctl("add-port", A, "vnet90", "--", "set", "interface", "vnet90", "type=internal")
    ports = {A: {"type": "internal"}, "vnet90": {"type": "internal"}}
    there = {**BRIDGE, "ports": ports, "bonds": {}}
    removed = four_ways(
        "ovs.bridge_absent",
        A,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("add-br", A, "--", "set", "bridge", A, *NETDEV),
        drift={A: {"old": {**there, "ports": {A: {"type": "internal"}}}, "new": None}},
    )
    assert removed == {A: {"old": there, "new": None, "takes": "disconnects vnet90"}}
    assert bridges.vsctl("list-br").split().count(B) == 1


@pytest.mark.parametrize(
    ("settings", "disturbance", "drift"),
    [
        pytest.param(
            {"type": "internal", "tag": 10, "mtu": 1400},
            ("set", "port", "brt-web0", "tag=11"),
            {"tag": {"old": 11, "new": 10}},
            id="internal-access-vlan",
        ),
        pytest.param(
            {"type": "internal", "trunks": [30, "10-12", 0], "external_ids": {"role": "web"}},
            ("set", "port", "brt-web0", "trunks=30", "external_ids:role=db"),
            {
                "trunks": {"old": [30], "new": [0, 10, 11, 12, 30]},
                "external_ids.role": {"old": "db", "new": "web"},
            },
            id="trunks",
        ),
        pytest.param(
            {"type": "internal", "tag": 5, "trunks": [6], "vlan_mode": "native-untagged"},
            ("clear", "port", "brt-web0", "vlan_mode"),
            {"vlan_mode": {"old": None, "new": "native-untagged"}},
            id="native-vlan",
        ),
        pytest.param(
            {"type": "vxlan", "tag": 7, "options": {"remote_ip": "192.0.2.7", "key": 5001}},
            ("set", "interface", "brt-web0", "options:key=5002"),
            {"options.key": {"old": "5002", "new": "5001"}},
            id="tunnel",
        ),
    ],
)
def test_port_present(
    four_ways: Any, bridges: ModuleType, settings: dict[str, Any], disturbance: tuple[str, ...], drift: Any
) -> None:
    made = four_ways(
        "ovs.port_present",
        "brt-web0",
        bridge=A,
        **settings,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl(*disturbance),
        drift={f"{A}.ports.brt-web0.{key}": change for key, change in drift.items()},
    )
    assert list(made) == [f"{A}.ports.brt-web0"]
    assert "corral=" in bridges.vsctl("get", "port", "brt-web0", "external_ids")


def test_port_present_on_an_existing_nic(four_ways: Any, bridges: ModuleType) -> None:
    four_ways(
        "ovs.port_present",
        "eth1",
        bridge=A,
        trunks=[10, 20],
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("del-port", "eth1"),
        drift={f"{A}.ports.eth1": {"old": None, "new": {"type": "system", "trunks": [10, 20]}}},
    )
    assert int(bridges.vsctl("get", "interface", "eth1", "ofport")) > 0


def test_port_on_the_wrong_bridge_moves(four_ways: Any, bridges: ModuleType) -> None:
    """Its rows stay, with all that is not ours on them."""
    bridges.vsctl(
        *("add-port", B, "brt-web0", "tag=9", "--"),
        *("set", "interface", "brt-web0", "type=internal", "external_ids:iface-id=theirs"),
    )
    row = bridges.uuid("Interface", "brt-web0")
    there = {"type": "internal", "tag": 9}
    moved = four_ways(
        "ovs.port_present",
        "brt-web0",
        bridge=A,
        tag=10,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("set", "port", "brt-web0", "tag=9"),
        drift={f"{A}.ports.brt-web0.tag": {"old": 9, "new": 10}},
    )
    assert moved == {
        f"{B}.ports.brt-web0": {"old": there, "new": None},
        f"{A}.ports.brt-web0": {"old": None, "new": {"type": "internal", "tag": 10}},
    }
    assert bridges.uuid("Interface", "brt-web0") == row
    assert bridges.vsctl("port-to-br", "brt-web0") == A
    assert "corral" not in bridges.vsctl("get", "port", "brt-web0", "external_ids"), "adopted is not made"


def test_port_absent(four_ways: Any, bridges: ModuleType, state: Any) -> None:
    make = ("add-port", A, "brt-web0", "--", "set", "interface", "brt-web0", "type=internal")
    bridges.vsctl(*make)
    elsewhere = state("ovs.port_absent", "brt-web0", bridge=B)
    assert (elsewhere["result"], elsewhere["changes"]) == (True, {})
    four_ways(
        "ovs.port_absent",
        "brt-web0",
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl(*make),
        drift={f"{A}.ports.brt-web0": {"old": {"type": "internal"}, "new": None}},
    )
    gone = state("ovs.port_absent", "brt-web0", bridge="brt-ovs-none")
    assert (gone["result"], gone["changes"]) == (True, {}), "absent from a bridge that is not there"


def test_port_on_a_bridge_that_is_not_there(state: Any, switch: ModuleType) -> None:
    """A preview shows the port, since a state before it may make the bridge; a run refuses."""
    before = switch.configuration()
    preview = state("ovs.port_present", "brt-web0", bridge=A, type="internal", test=True)
    assert preview["result"] is None
    assert list(preview["changes"]) == [f"{A}.ports.brt-web0"]
    sentence = f"bridges.{A}: there is no bridge {A} on this host"
    assert f"A run now would be refused: {sentence}" in preview["comment"]
    assert_failed(state("ovs.port_present", "brt-web0", bridge=A, type="internal"), sentence)
    assert switch.configuration() == before


def test_a_missing_nic_is_refused_before_anything_is_touched(state: Any, switch: ModuleType) -> None:
    before = switch.configuration()
    declared = {
        A: {
            "datapath_type": "netdev",
            "ports": {"eth77": {}},
            "bonds": {"brt-bond0": {"members": ["eth1", "eth78"]}},
        }
    }
    preview = state("ovs.switch_managed", "switch", bridges=declared, test=True)
    assert preview["result"] is None
    assert "there is no network interface eth77" in preview["comment"]
    assert_failed(
        state("ovs.switch_managed", "switch", bridges=declared),
        f"bridges.{A}.ports.eth77: there is no network interface eth77 on this host.",
        f"bridges.{A}.bonds.brt-bond0.members: there is no network interface eth78 on this host.",
    )
    assert switch.configuration() == before


@pytest.fixture
def device() -> Iterator[str]:
    """A network interface that Open vSwitch did not make."""
    name = "brt-foreign"
    ovs.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-b")
    yield name
    ovs.run("ip", "link", "del", name)


@pytest.mark.parametrize("what", ["bridge", "port"])
def test_a_name_of_another_device_of_the_host_is_refused(
    state: Any, bridges: ModuleType, device: str, what: str
) -> None:
    """It would be written, and ovs-vswitchd could never set it up."""
    before = bridges.configuration()
    declared: dict[str, Any] = {
        "bridge": {device: {"datapath_type": "netdev"}},
        "port": {A: {"ports": {device: {"type": "internal"}}}},
    }[what]
    at = f"bridges.{device}" if what == "bridge" else f"bridges.{A}.ports.{device}"
    sentence = (
        f"{at}: there is already a network interface {device} on this host that Open vSwitch did not make."
    )
    preview = state("ovs.switch_managed", "switch", bridges=declared, test=True)
    assert f"A run now would be refused: {sentence}" in preview["comment"]
    assert_failed(state("ovs.switch_managed", "switch", bridges=declared), sentence)
    assert bridges.configuration() == before


def test_a_tunnel_is_no_network_interface_of_the_host(state: Any, bridges: ModuleType) -> None:
    bridges.vsctl(
        *("add-port", A, "brt-vx0", "--"),
        *("set", "interface", "brt-vx0", "type=vxlan", "options:remote_ip=192.0.2.7"),
    )
    before = bridges.configuration()
    assert_failed(
        state("ovs.port_present", "brt-vx0", bridge=A, type="system"),
        f"bridges.{A}.ports.brt-vx0.type: brt-vx0 is of type vxlan in Open vSwitch,"
        " not a network interface of this host.",
    )
    assert bridges.configuration() == before


@pytest.mark.parametrize(
    ("function", "settings", "sentence"),
    [
        ("port_present", {"tag": 5000}, f"bridges.{A}.ports.brt-x.tag: 5000 is not a VLAN id (1–4094)"),
        ("port_present", {"tagg": 5}, f"bridges.{A}.ports.brt-x.tagg: unknown key"),
        (
            "port_present",
            {"type": "internal", "mtu": "big"},
            f"bridges.{A}.ports.brt-x.mtu: 'big' is not valid",
        ),
        ("port_present", {"timeout": 0}, "timeout: 0 is not a number of seconds above 0"),
        ("bond_present", {"members": ["eth1", "eth1"]}, "'eth1' is already used by"),
        (
            "bond_present",
            {"mode": "balance-tcp", "members": ["eth1", "eth2"]},
            "balance-tcp forwards nothing",
        ),
    ],
)
def test_a_wrong_declaration_changes_nothing(
    state: Any, bridges: ModuleType, function: str, settings: dict[str, Any], sentence: str
) -> None:
    before = bridges.configuration()
    for test in (True, False):
        assert_failed(state(f"ovs.{function}", "brt-x", bridge=A, test=test, **settings), sentence)
    assert bridges.configuration() == before

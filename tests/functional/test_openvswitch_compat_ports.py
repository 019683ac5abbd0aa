"""Ports declared for Salt's own ``openvswitch_port``, up to 3007, on a real Open vSwitch."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed

A, B, FAKE = "brt-ovs-a", "brt-ovs-b", "brt-mgmt0"


@pytest.fixture
def bridges(switch: ModuleType) -> ModuleType:
    """Two bridges with a fake one that somebody else made."""
    for name in (A, B):
        switch.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
    switch.vsctl("add-br", FAKE, A, "123")
    return switch


INTERNAL = {"type": "internal"}
VXLAN = {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": "5001"}}


@pytest.mark.parametrize(
    ("arguments", "made", "disturbance", "drift"),
    [
        pytest.param(
            {"internal": True},
            INTERNAL,
            ("set", "interface", "brt-web0", "type=tap"),
            {"type": {"old": "tap", "new": "internal"}},
            id="internal",
        ),
        pytest.param(
            {"tunnel_type": "vlan", "id": 10, "internal": True},
            {**INTERNAL, "tag": 10},
            ("set", "port", "brt-web0", "tag=11"),
            {"tag": {"old": 11, "new": 10}},
            id="vlan",
        ),
        pytest.param(
            {"tunnel_type": "gre", "id": 5001, "remote": "192.0.2.7", "dst_port": 4789},
            {**VXLAN, "type": "gre"},
            ("set", "interface", "brt-web0", "options:key=5002"),
            {"options.key": {"old": "5002", "new": "5001"}},
            id="gre, and the dst_port that it once asked for",
        ),
        pytest.param(
            {"tunnel_type": "vxlan", "id": 5001, "remote": "192.0.2.7"},
            VXLAN,
            ("set", "interface", "brt-web0", "options:remote_ip=192.0.2.8"),
            {"options.remote_ip": {"old": "192.0.2.8", "new": "192.0.2.7"}},
            id="vxlan without dst_port",
        ),
        pytest.param(
            {"tunnel_type": "vxlan", "id": 5001, "remote": "192.0.2.7", "dst_port": 0},
            VXLAN,
            ("set", "interface", "brt-web0", "type=gre"),
            {"type": {"old": "gre", "new": "vxlan"}},
            id="vxlan with the 0 that stood for no dst_port",
        ),
        pytest.param(
            {"tunnel_type": "vxlan", "id": 5001, "remote": "192.0.2.7", "dst_port": 8472},
            {**VXLAN, "options": {**VXLAN["options"], "dst_port": "8472"}},  # type: ignore[dict-item]
            ("remove", "interface", "brt-web0", "options", "dst_port"),
            {"options.dst_port": {"old": None, "new": "8472"}},
            id="vxlan with dst_port",
        ),
    ],
)
def test_a_port(
    four_ways: Any, bridges: ModuleType, arguments: Any, made: Any, disturbance: tuple[str, ...], drift: Any
) -> None:
    changes = four_ways(
        "openvswitch_port.present",
        "brt-web0",
        bridge=A,
        **arguments,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("--no-wait", *disturbance),
        drift={f"{A}.ports.brt-web0.{key}": change for key, change in drift.items()},
    )
    assert changes == {f"{A}.ports.brt-web0": {"old": None, "new": made}}
    assert "corral=openvswitch_port.present" in bridges.vsctl("get", "port", "brt-web0", "external_ids")


def test_a_network_interface_of_the_host(four_ways: Any, bridges: ModuleType) -> None:
    four_ways(
        "openvswitch_port.present",
        "eth1",
        bridge=A,
        tunnel_type="vlan",
        id=0,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("set", "port", "eth1", "tag=5"),
        drift={"Port.eth1.tag": {"old": 5, "new": 0}},
    )
    assert bridges.vsctl("get", "port", "eth1", "tag") == "0"
    plain = four_ways(
        "openvswitch_port.present",
        "eth2",
        bridge=A,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("del-port", "eth2"),
        drift={f"{A}.ports.eth2": {"old": None, "new": {"type": "system"}}},
    )
    assert list(plain) == [f"{A}.ports.eth2"]


def test_a_port_of_a_fake_bridge(four_ways: Any, state: Any, bridges: ModuleType) -> None:
    at = f"{A}.ports.brt-web0"
    for vlan in ({}, {"tunnel_type": "vlan", "id": 123}):
        made = four_ways(
            "openvswitch_port.present",
            "brt-web0",
            bridge=FAKE,
            internal=True,
            **vlan,
            look=bridges.configuration,
            disturb=lambda: bridges.vsctl("set", "port", "brt-web0", "tag=5"),
            drift={f"{at}.tag": {"old": 5, "new": 123}},
        )
        assert list(made) == [at]
        assert bridges.vsctl("list-ports", FAKE) == "brt-web0"
        kept = state("openvswitch_port.absent", "brt-web0", bridge=A)
        assert (kept["result"], kept["changes"]) == (True, {}), "it is on the fake bridge, not on its parent"
        gone = state("openvswitch_port.absent", "brt-web0", bridge=FAKE)
        assert list(gone["changes"]) == [at], gone


def test_a_port_that_is_there_stays_as_it_is(state: Any, bridges: ModuleType) -> None:
    """What was True without changes stays so: a bond, a tunnel's further options, a port of any type."""
    bridges.vsctl("add-bond", A, "brt-bond0", "eth1", "eth2", "tag=4")
    bridges.vsctl(
        *("add-port", A, "brt-vx0", "--", "set", "interface", "brt-vx0", "type=vxlan"),
        *("options:remote_ip=192.0.2.7", "options:key=7", "options:local_ip=192.0.2.1"),
    )
    before = bridges.configuration()
    for name, arguments in {
        "brt-bond0": {},
        "brt-vx0": {"tunnel_type": "vxlan", "id": 7, "remote": "192.0.2.7"},
        A: {},
    }.items():
        run = state("openvswitch_port.present", name, bridge=A, **arguments)
        assert (run["result"], run["changes"]) == (True, {}), run
    assert state("openvswitch_port.present", "brt-vx0", bridge=A)["changes"] == {}
    assert bridges.configuration() == before


def test_a_bond(state: Any, bridges: ModuleType) -> None:
    bridges.vsctl("add-bond", A, "brt-bond0", "eth1", "eth2")
    run = state("openvswitch_port.present", "brt-bond0", bridge=A, tunnel_type="vlan", id=12)
    assert run["changes"] == {f"{A}.bonds.brt-bond0.tag": {"old": None, "new": 12}}, run
    before = bridges.configuration()
    assert_failed(
        state("openvswitch_port.present", "brt-bond0", bridge=A, internal=True),
        "brt-bond0 is a bond: make it absent first",
    )
    assert_failed(
        state("openvswitch_port.present", "eth1", bridge=A),
        "eth1 is a member of the bond brt-bond0: make that absent first",
    )
    assert bridges.configuration() == before
    assert state("openvswitch_port.absent", "brt-bond0", bridge=A)["result"] is True
    assert bridges.vsctl("list-ports", A) == ""


def test_a_port_becomes_internal(state: Any, bridges: ModuleType) -> None:
    """Also one with a VLAN, and a preview says so."""
    bridges.vsctl("--no-wait", "add-port", A, "brt-web0", "tag=3")
    for test, result in ((True, None), (False, True)):
        run = state(
            "openvswitch_port.present",
            "brt-web0",
            bridge=A,
            tunnel_type="vlan",
            id=3,
            internal=True,
            test=test,
        )
        assert run["result"] is result, run
        assert run["changes"][f"{A}.ports.brt-web0.type"] == {"old": "system", "new": "internal"}


def test_a_port_on_another_bridge_moves(state: Any, bridges: ModuleType) -> None:
    bridges.vsctl("add-port", B, "brt-web0", "--", "set", "interface", "brt-web0", "type=internal")
    row = bridges.uuid("Interface", "brt-web0")
    run = state("openvswitch_port.present", "brt-web0", bridge=A, internal=True)
    assert set(run["changes"]) == {f"{A}.ports.brt-web0", f"{B}.ports.brt-web0"}, run
    assert (bridges.vsctl("port-to-br", "brt-web0"), bridges.uuid("Interface", "brt-web0")) == (A, row)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("eth77", {}, "there is no network interface eth77 on this host"),
        ("eth77", {"tunnel_type": "vlan", "id": 10}, "there is no network interface eth77 on this host"),
        ("brt-x", {"bridge": "brt-none", "internal": True}, "there is no bridge brt-none on this host"),
        ("brt-x", {"tunnel_type": "vlan", "id": 4096}, "id: 4096 is not a VLAN id (0–4095)"),
        (
            "brt-x",
            {"bridge": FAKE, "internal": True, "tunnel_type": "vlan", "id": 5},
            f"id: {FAKE} is a fake bridge, and all its ports are on VLAN 123",
        ),
        ("brt-x; reboot", {"internal": True}, "is not an interface name"),
    ],
)
def test_a_wrong_port(state: Any, bridges: ModuleType, name: str, arguments: Any, sentence: str) -> None:
    before = bridges.configuration()
    assert_failed(state("openvswitch_port.present", name, **{"bridge": A, **arguments}), sentence)
    assert bridges.configuration() == before


@pytest.mark.parametrize("bridge", [A, None])
def test_no_port(four_ways: Any, bridges: ModuleType, bridge: str | None) -> None:
    make = ("add-port", A, "brt-web0", "--", "set", "interface", "brt-web0", "type=internal")
    bridges.vsctl(*make)
    four_ways(
        "openvswitch_port.absent",
        "brt-web0",
        **({"bridge": bridge} if bridge else {}),
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl(*make),
        drift={f"{A}.ports.brt-web0": {"old": INTERNAL, "new": None}},
    )


def test_no_port_where_none_is(state: Any, bridges: ModuleType) -> None:
    before = bridges.configuration()
    for place in ({}, {"bridge": A}, {"bridge": "brt-none"}):
        for test in (True, False):
            run = state("openvswitch_port.absent", "brt-web0", test=test, **place)
            assert (run["result"], run["changes"]) == (True, {}), run
    for name in (A, FAKE):
        assert_failed(
            state("openvswitch_port.absent", name), f"{name} is a bridge, which only openvswitch_bridge"
        )
    assert bridges.configuration() == before

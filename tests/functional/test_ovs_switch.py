"""The whole switch of a host as one declaration, on a real Open vSwitch."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from tests.support.expect import assert_failed

A, B = "brt-ovs-a", "brt-ovs-b"
DECLARED: dict[str, Any] = {
    A: {
        "datapath_type": "netdev",
        "ports": {
            "brt-web0": {"type": "internal", "tag": 10},
            "brt-vx0": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": 5001}},
            "brt-pa": {"type": "patch", "options": {"peer": "brt-pb"}},
        },
        "bonds": {"brt-bond0": {"members": ["eth1", "eth2"], "mode": "balance-slb"}},
    },
    B: {"datapath_type": "netdev", "ports": {"brt-pb": {"type": "patch", "options": {"peer": "brt-pa"}}}},
}


def test_switch_managed(four_ways: Any, salt: Any, switch: ModuleType) -> None:
    def disturb() -> None:
        """Alter three rows, and add what is not ours."""
        switch.vsctl(
            *("set", "port", "brt-web0", "tag=12", "--"),
            *("set", "interface", "brt-vx0", "options:dst_port=4790", "--"),
            *("del-port", "brt-pa", "--"),
            *("add-port", A, "vnet91", "--", "set", "interface", "vnet91", "type=internal"),
        )

    made = four_ways(
        "ovs.switch_managed",
        "switch",
        bridges=DECLARED,
        look=switch.configuration,
        disturb=disturb,
        drift={
            f"{A}.ports.brt-web0.tag": {"old": 12, "new": 10},
            f"{A}.ports.brt-vx0.options.dst_port": {"old": "4790", "new": None},
            f"{A}.ports.brt-pa": {"old": None, "new": {"type": "patch", "options": {"peer": "brt-pb"}}},
        },
    )
    assert set(made) == {
        *(A, B, f"{B}.ports.brt-pb", f"{A}.bonds.brt-bond0"),
        *(f"{A}.ports.{name}" for name in ("brt-web0", "brt-vx0", "brt-pa")),
    }
    assert "vnet91" in switch.vsctl("list-ports", A).split()
    shown = salt.cmd("ovs.show")["bridges"]
    assert salt.cmd("ovs.plan", bridges={A: shown[A], B: shown[B]}) == {}, "what is shown can be declared"


def test_purge_takes_what_it_made_and_nothing_else(state: Any, switch: ModuleType) -> None:
    switch.vsctl("add-br", "brt-ovs-c", "--", "set", "bridge", "brt-ovs-c", "datapath_type=netdev")
    assert state("ovs.switch_managed", "switch", bridges=DECLARED)["result"] is True
    by_another_state = state("ovs.port_present", "brt-extra", bridge=A, type="internal")
    assert by_another_state["result"] is True
    switch.vsctl("add-port", A, "vnet91", "--", "set", "interface", "vnet91", "type=internal")

    less = {A: {"ports": {"brt-web0": {}}, "bonds": {}}}
    run = state("ovs.switch_managed", "switch", bridges=less)
    assert run["result"] is True, run
    gone = {B, f"{A}.ports.brt-vx0", f"{A}.ports.brt-pa", f"{A}.bonds.brt-bond0"}
    assert set(run["changes"]) == gone
    assert all(change["new"] is None for change in run["changes"].values())
    assert set(switch.vsctl("list-ports", A).split()) == {"brt-web0", "brt-extra", "vnet91"}
    assert "brt-ovs-c" in switch.vsctl("list-br").split()

    unmentioned = state("ovs.switch_managed", "switch", bridges={A: {"fail_mode": "secure"}})
    assert list(unmentioned["changes"]) == [f"{A}.fail_mode"], (
        "ports that are not mentioned are not looked at"
    )

    switch.vsctl("del-port", "brt-extra")
    before = switch.configuration()
    assert_failed(
        state("ovs.switch_managed", "switch", bridges={}),
        f"bridges.{A}: is no longer declared but carries vnet91, which ovs.switch_managed did not make",
    )
    assert switch.configuration() == before
    asked = state("ovs.switch_managed", "switch", bridges={A: None})
    assert asked["changes"][A]["takes"] == "disconnects vnet91"
    assert A not in switch.vsctl("list-br").split()


def test_what_exists_is_adopted_but_not_ours(state: Any, switch: ModuleType) -> None:
    switch.vsctl(
        *("add-br", A, "--", "set", "bridge", A, "datapath_type=netdev", "--"),
        *("add-port", A, "brt-web0", "--", "set", "interface", "brt-web0", "type=internal"),
    )
    run = state("ovs.switch_managed", "switch", bridges={A: {"ports": {"brt-web0": {"tag": 10}}}})
    assert run["changes"] == {f"{A}.ports.brt-web0.tag": {"old": None, "new": 10}}
    later = state("ovs.switch_managed", "switch", bridges={A: {"ports": {}}})
    assert (later["result"], later["changes"]) == (True, {})
    assert switch.vsctl("list-ports", A) == "brt-web0"


def test_many_ports_are_one_transaction(state: Any, switch: ModuleType) -> None:
    ports = {
        f"brt-vx{n}": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": n}} for n in range(200)
    }
    before = int(switch.configuration()["next_cfg"])
    run = state(
        "ovs.switch_managed", "switch", bridges={A: {"datapath_type": "netdev", "ports": ports}}, timeout=60
    )
    assert run["result"] is True, run
    assert len(run["changes"]) == 201
    assert int(switch.configuration()["next_cfg"]) == before + 1
    assert len(switch.vsctl("list-ports", A).split()) == 200


def test_plan_is_the_preview(state: Any, salt: Any, switch: ModuleType) -> None:
    before = switch.configuration()
    preview = state("ovs.switch_managed", "switch", bridges=DECLARED, test=True)
    assert salt.cmd("ovs.plan", bridges=DECLARED) == preview["changes"]
    assert switch.configuration() == before


def test_a_secret_of_a_tunnel_is_neither_shown_nor_taken_away(
    state: Any, salt: Any, switch: ModuleType
) -> None:
    tunnel = {"type": "gre", "options": {"remote_ip": "192.0.2.7"}}
    declare = partial(state, "ovs.switch_managed", "switch")
    assert declare(bridges={A: {"datapath_type": "netdev", "ports": {"brt-gre0": tunnel}}})["result"] is True
    switch.vsctl("set", "interface", "brt-gre0", "options:psk=swordfish", "options:key=5")
    shown = salt.cmd("ovs.show")["bridges"][A]["ports"]["brt-gre0"]
    assert shown["options"] == {"remote_ip": "192.0.2.7", "key": "5", "psk": "(hidden)"}

    run = declare(bridges={A: {"ports": {"brt-gre0": tunnel}}})
    assert run["changes"] == {f"{A}.ports.brt-gre0.options.key": {"old": "5", "new": None}}
    assert "psk=swordfish" in switch.vsctl("get", "interface", "brt-gre0", "options")
    gone = declare(bridges={A: {"ports": {"brt-gre0": None}}})
    assert gone["result"] is True, gone
    assert "swordfish" not in repr(gone)


def test_what_another_tool_names_at_length_can_be_declared(state: Any, salt: Any, switch: ModuleType) -> None:
    """Neutron and OVN name patch ports after UUIDs; only a network interface has a short name."""
    ends = [
        "patch-br-int-to-provnet-6e3c9f1a-2f4b-4c55-9a3f-0d3a6f2b7c11",
        "patch-provnet-6e3c9f1a-to-br-int",
    ]
    for bridge, name, peer in ((A, *ends), (B, *reversed(ends))):
        switch.vsctl(
            *("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev", "--"),
            *("add-port", bridge, name, "--", "set", "interface", name, "type=patch", f"options:peer={peer}"),
        )
    shown = salt.cmd("ovs.show")["bridges"]
    run = state("ovs.switch_managed", "switch", bridges={A: shown[A], B: shown[B]})
    assert (run["result"], run["changes"]) == (True, {}), run

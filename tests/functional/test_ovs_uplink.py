"""The host's own address moved from its card onto a bridge, while a neighbour stays reached (S2.2)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corral.guard import hand
from tests.support import guard_net as net
from tests.support import guard_runs as runs
from tests.support.expect import assert_failed
from tests.support.guard_net import NEAR, SPACE, ip, there

BRIDGE, OTHER = "brt-ovs-u", "brt-ovs-v"
CARD: dict[str, Any] = {"datapath_type": "netdev", "ports": {NEAR: {}}, "persist": None}
CUT_OFF = {**CARD, "ports": {NEAR: {"tag": 7}}}
GUARD = {"within": "4s", "probes": [{"ping": net.THERE}, {"ping": net.THERE6}]}
LONG = {"within": "5m", "probes": [{"ping": net.THERE}]}
RUNS = int(os.environ.get("CORRAL_GUARD_RUNS", "3"))  # of those that are killed right after the change
State = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def card(switch: ModuleType) -> Iterator[str]:
    """The host reaches others by a card, which has its addresses and the way out."""
    with net.peer():
        net.settle(NEAR)
        assert reached()
        yield NEAR
        runs.watchdog_ended()
        hand.recover(False)


def reached() -> bool:
    return all(net.reached(one) for one in (net.THERE, net.THERE6, net.BEYOND))


def look() -> Any:
    return {name: held(name) for name in devices()}, rows()


def held(name: str) -> tuple[list[str], list[str], bool, int]:
    """Return the addresses, the routes, whether it is up, and the MTU of a device."""
    (link,) = json.loads(ip("-json", "address", "show", "dev", name))
    addresses = [one["local"] for one in link["addr_info"] if one["scope"] != "link"]
    routes = [
        f"{one['dst']} via {one['gateway']} metric {one.get('metric', 0)}"
        for family in ("-4", "-6")
        for one in json.loads(ip(family, "-json", "route", "show", "dev", name) or "[]")
        if "gateway" in one
    ]
    return sorted(addresses), sorted(routes), "UP" in link["flags"], link["mtu"]


def devices() -> list[str]:
    return [one["ifname"] for one in json.loads(ip("-json", "link", "show"))]


def mac(name: str) -> str:
    return str(json.loads(ip("-json", "link", "show", "dev", name))[0]["address"])


def rows() -> list[str]:
    from tests.support import ovs

    found = ovs.configuration()
    return sorted(json.dumps(row) for table in ("Bridge", "Port", "Interface") for row in found[table])


ADDRESSES = sorted([net.HERE, net.HERE6])
WAYS = sorted([f"default via {net.THERE} metric 42", f"default via {net.THERE6} metric 1024"])
AS_IT_WAS = (ADDRESSES, WAYS, True, 1500)
BARE = ([], [], True, 1500)


def back_on_the_card() -> None:
    ip("address", "add", f"{net.HERE}/24", "dev", NEAR)


def test_four_ways(four_ways: State) -> None:
    was = mac(NEAR)
    made = four_ways(
        "ovs.uplink_managed",
        BRIDGE,
        look=look,
        disturb=back_on_the_card,
        drift={f"{NEAR}.addresses.{net.HERE}/24": {"old": f"{net.HERE}/24", "new": None}},
        guard=LONG,
        **CARD,
    )
    assert set(made) == {
        BRIDGE,
        f"{BRIDGE}.ports.{NEAR}",
        f"{BRIDGE}.up",
        *(
            f"{name}.addresses.{one}"
            for name in (BRIDGE, NEAR)
            for one in (f"{net.HERE}/24", f"{net.HERE6}/64")
        ),
        *(f"{name}.routes.{one}" for name in (BRIDGE, NEAR) for one in ("0.0.0.0/0 metric 42", "::/0")),
    }
    assert held(BRIDGE) == AS_IT_WAS
    assert held(NEAR) == BARE
    assert mac(BRIDGE) == was
    assert reached()
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()


def test_a_connection_outlives_it(state: State) -> None:
    """The same address, the same MAC: whoever speaks with this host does not notice."""
    listens = "import socket\ns = socket.create_server(('', 7))\nprint(flush=True)\nc = s.accept()[0]\n"
    program = listens + "while d := c.recv(9): c.sendall(d)"
    argv = ["ip", "netns", "exec", SPACE, "python3", "-c", program]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            with socket.create_connection((net.THERE, 7), 5) as spoken:
                assert state("ovs.uplink_managed", BRIDGE, guard=LONG, **CARD)["result"] is True
                spoken.sendall(b"still")
                assert spoken.recv(9) == b"still"
        finally:
            server.kill()


def test_guarded_unless_it_is_said(state: State) -> None:
    preview = state("ovs.uplink_managed", BRIDGE, test=True, **CARD)
    usual = f"reverted unless gateway {net.THERE}, gateway {net.THERE6} answer within 30 s."
    assert preview["comment"].endswith(usual), preview["comment"]
    preview = state("ovs.uplink_managed", BRIDGE, test=True, guard=False, **CARD)
    assert preview["comment"].endswith("would be made."), preview["comment"]
    assert state("ovs.uplink_managed", BRIDGE, guard=False, **CARD)["result"] is True
    assert held(BRIDGE) == AS_IT_WAS
    assert reached()


@pytest.mark.parametrize(
    "declared",
    [
        CUT_OFF,
        {**CARD, "fail_mode": "secure", "flows": ["priority=9,actions=drop"]},
        {**CARD, "addresses": ["203.0.113.5/24"], "routes": []},
        {**CARD, "ports": {NEAR: {}, BRIDGE: {"tag": 7}}},
    ],
    ids=["wrong vlan", "flows that drop", "another address", "wrong vlan of the bridge"],
)
def test_what_cuts_the_host_off_is_reverted(state: State, declared: dict[str, Any]) -> None:
    before = look()
    answer = state("ovs.uplink_managed", BRIDGE, guard=GUARD, **declared)
    assert_failed(answer, "The change was reverted: ping")
    assert "Even so" not in answer["comment"], answer["comment"]
    assert look() == before
    assert reached()
    runs.nothing_is_armed()


@pytest.mark.parametrize("number", range(RUNS))
def test_a_run_that_is_killed_right_after_it_is_reverted(number: int) -> None:
    before = look()
    with runs.run("uplink", BRIDGE, CUT_OFF if number % 2 else CARD, LONG, held=True) as child:
        runs.applied(child)
        assert look() != before
        child.kill()
        child.wait()
        runs.watchdog_ended()
    assert look() == before
    assert reached()
    assert runs.outcome() == "reverted"
    runs.nothing_is_armed()


def test_after_a_reboot_in_the_middle_it_is_reverted(switch: ModuleType, tmp_path: Path) -> None:
    """The switch starts with what was declared, and the card has nothing: nobody gives it its address."""
    before = held(NEAR), rows()
    with runs.run("uplink", BRIDGE, CARD, LONG, held=True) as child:
        runs.applied(child)
        os.kill(runs.watched(), signal.SIGKILL)
        runs.watchdog_ended()
        child.kill()
    with runs.rebooted(switch, tmp_path):
        assert BRIDGE in devices() and held(NEAR) == BARE
        assert runs.at_boot("corral-guard-early.service") == ""
        assert runs.at_boot("corral-guard.service") == ""
    assert (held(NEAR), rows()) == before
    assert reached()
    runs.nothing_is_armed()


def test_killed_at_any_call_the_next_run_ends_right(state: State, switch: ModuleType) -> None:
    before = look()
    step, answer = 1 - runs.STRIDE, None
    while answer is None:
        step += runs.STRIDE
        with runs.run("uplink", BRIDGE, CARD, LONG, at=step) as child:
            answer = runs.answer(child)
        runs.watchdog_ended()
        assert state("ovs.uplink_managed", BRIDGE, guard=LONG, **CARD)["result"] is True, step
        assert (held(BRIDGE), held(NEAR)) == (AS_IT_WAS, BARE), step
        runs.nothing_is_armed()
        switch.vsctl("del-br", BRIDGE)
        net.settle(NEAR)
        assert look() == before, step
    assert answer["result"] is True
    assert step > answer["calls"] > 20


def test_killed_at_any_call_while_it_is_reverted() -> None:
    before = look()
    step, answer = 1 - runs.STRIDE, None
    while answer is None:
        step += runs.STRIDE
        with runs.run("uplink", BRIDGE, CARD, LONG, held=True) as child:
            runs.applied(child)
            os.kill(runs.watched(), signal.SIGKILL)
            runs.watchdog_ended()
            child.kill()
        with runs.run("recover", "", {}, at=step) as child:
            answer = runs.answer(child)
        with runs.run("recover", "", {}) as child:
            assert runs.answer(child) is not None
        assert look() == before, step
        runs.nothing_is_armed()
    assert step > answer["calls"] > 10


def test_over_a_bridge_that_is_there(state: State, switch: ModuleType) -> None:
    """Its MAC address is its own; the neighbours are told."""
    assert state("ovs.bridge_present", BRIDGE, datapath_type="netdev")["result"] is True
    ip("address", "add", "198.51.100.77/32", "dev", BRIDGE)
    assert state("ovs.uplink_managed", BRIDGE, guard=LONG, **CARD)["result"] is True
    assert held(BRIDGE)[0] == sorted([*ADDRESSES, "198.51.100.77"])
    assert switch.vsctl("get", "bridge", BRIDGE, "other_config") == "{}"
    known = json.loads(there("-json", "neigh", "show", net.HERE))
    assert [one["lladdr"] for one in known] == [mac(BRIDGE)]
    assert reached()


def test_only_what_is_declared(state: State) -> None:
    """What is not declared goes from the card, too: there it would be in the bridge's way."""
    ip("address", "add", "192.0.2.77/24", "dev", NEAR)
    declared = {**CARD, "addresses": ["192.0.2.2/24"], "gateway": net.THERE, "routes": [], "mtu": 1400}
    guard = {"within": "4s", "probes": [{"ping": net.THERE}]}
    answer = state("ovs.uplink_managed", BRIDGE, guard=guard, **declared)
    assert answer["result"] is True, answer
    assert held(NEAR) == BARE
    assert held(BRIDGE)[0] == ["192.0.2.2"]
    assert held(BRIDGE)[3] == 1400
    assert net.reached(net.BEYOND)
    again = state("ovs.uplink_managed", BRIDGE, test=True, guard=guard, **declared)
    assert (again["result"], again["changes"]) == (True, {}), again


def test_a_bridge_that_was_taken_down(state: State) -> None:
    assert state("ovs.uplink_managed", BRIDGE, guard=LONG, **CARD)["result"] is True
    ip("link", "set", BRIDGE, "down")
    assert not net.reached()
    answer = state("ovs.uplink_managed", BRIDGE, guard=False, **CARD)
    assert answer["result"] is True, answer
    assert f"{BRIDGE}.up" in answer["changes"]
    assert held(BRIDGE)[2]


def test_a_port_that_ovs_refuses_does_not_cut_the_host_off(state: State) -> None:
    tunnel = {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": 7}}
    declared = {**CARD, "ports": {NEAR: {}, "brt-vx0": tunnel, "brt-vx1": tunnel}}
    answer = state("ovs.uplink_managed", BRIDGE, guard=False, **declared)
    assert answer["result"] is False
    assert "ovs-vswitchd could not set up brt-vx" in answer["comment"], answer
    assert (held(BRIDGE), held(NEAR)) == (AS_IT_WAS, BARE)
    assert reached()


LACP = {"mode": "balance-tcp", "lacp": "active", "lacp_time": "fast"}
PARTNER, FAR_PORT = "brt-ovs-p", "brt-far"


@pytest.fixture
def partner(switch: ModuleType) -> Iterator[str]:
    """A switch at the other end of eth1 and eth2, with a host on it; it waits for LACP with one link up."""
    words = f"add-br {PARTNER} -- set bridge {PARTNER} datapath_type=netdev"
    words += f" -- add-bond {PARTNER} brt-bond1 eth3 eth4 bond_mode=active-backup lacp=active"
    words += " -- set port brt-bond1 other_config:lacp-time=fast other_config:lacp-fallback-ab=true"
    words += " other_config:bond-primary=eth3"
    words += f" -- add-port {PARTNER} {FAR_PORT} -- set interface {FAR_PORT} type=internal"
    switch.vsctl(*words.split())
    ip("netns", "add", "uplink-far")
    ip("link", "set", FAR_PORT, "netns", "uplink-far")
    ip("-n", "uplink-far", "address", "add", "198.18.7.9/24", "dev", FAR_PORT)
    ip("-n", "uplink-far", "link", "set", FAR_PORT, "up")
    ip("address", "add", "198.18.7.1/24", "dev", "eth1")
    deadline = time.monotonic() + 60
    while not net.reached("198.18.7.9"):  # until the other end has given LACP up for now
        assert time.monotonic() < deadline
    yield "198.18.7.9"
    ip("address", "flush", "dev", "eth1", "scope", "global")
    switch.vsctl("del-br", PARTNER)
    ip("netns", "delete", "uplink-far")


def test_over_a_bond(state: State, switch: ModuleType, partner: str) -> None:
    bonds = {"brt-bond0": {"members": ["eth1", "eth2"], **LACP}}
    declared = {"datapath_type": "netdev", "bonds": bonds, "persist": None}
    guard = {"within": "40s", "probes": [{"ping": partner}]}
    answer = state("ovs.uplink_managed", BRIDGE, guard=guard, **declared)
    assert answer["result"] is True, answer
    assert held(BRIDGE)[0] == ["198.18.7.1"] and held("eth1")[0] == []
    assert mac(BRIDGE) == mac("eth1")
    assert "lacp_status: negotiated" in switch.run("ovs-appctl", "bond/show", "brt-bond0")
    assert net.reached(partner)
    again = state("ovs.uplink_managed", BRIDGE, guard=guard, **declared)
    assert (again["result"], again["changes"]) == (True, {}), again
    before = look()
    cut_off = {**declared, "bonds": {"brt-bond0": {**bonds["brt-bond0"], "tag": 7}}}
    answer = state("ovs.uplink_managed", BRIDGE, guard={**guard, "within": "4s"}, **cut_off)
    assert_failed(answer, f"The change was reverted: ping {partner} did not answer")
    assert look() == before
    assert net.reached(partner)

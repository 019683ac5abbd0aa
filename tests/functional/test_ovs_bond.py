"""Bonds on a real Open vSwitch: both ends of an LACP bond on this host, over two pairs of cabled cards."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

A, B = "brt-ovs-a", "brt-ovs-b"
LACP = {"mode": "balance-tcp", "lacp": "active", "lacp_time": "fast"}


@pytest.fixture
def bridges(switch: ModuleType) -> ModuleType:
    for name in (A, B):
        switch.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
    return switch


@pytest.fixture
def cabled(bridges: ModuleType, state: Any) -> ModuleType:
    """``brt-bond0`` (eth1, eth2) on one bridge, cabled to ``brt-bond1`` (eth3, eth4) on the other."""
    for bond, bridge, members in (("brt-bond0", A, ["eth1", "eth2"]), ("brt-bond1", B, ["eth3", "eth4"])):
        made = state("ovs.bond_present", bond, bridge=bridge, members=members, **LACP)
        assert made["result"] is True, made
    return bridges


def awaited(look: Callable[[], dict[str, Any]], true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look until something is true of what is seen: LACP tells nobody when it is done."""
    deadline = time.monotonic() + 30
    while not true(seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    return seen


def test_bond_present(four_ways: Any, bridges: ModuleType) -> None:
    made = four_ways(
        "ovs.bond_present",
        "brt-bond0",
        bridge=A,
        members=["eth2", "eth1"],
        **LACP,
        up_delay=200,
        down_delay=100,
        tag=10,
        other_config={"bond-rebalance-interval": 10000},
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl(
            "set", "port", "brt-bond0", "bond_updelay=0", "other_config:lacp-time=slow", "lacp=passive"
        ),
        drift={
            f"{A}.bonds.brt-bond0.up_delay": {"old": 0, "new": 200},
            f"{A}.bonds.brt-bond0.lacp_time": {"old": "slow", "new": "fast"},
            f"{A}.bonds.brt-bond0.lacp": {"old": "passive", "new": "active"},
        },
    )
    assert list(made) == [f"{A}.bonds.brt-bond0"]


def test_a_member_is_replaced_without_dropping_the_other(four_ways: Any, cabled: ModuleType) -> None:
    """All of a bond is reconciled in one transaction; the member that stays keeps its row and its number."""
    kept = cabled.uuid("Interface", "eth1"), cabled.vsctl("get", "interface", "eth1", "ofport")
    port = cabled.uuid("Port", "brt-bond0")
    cabled.vsctl("del-port", "brt-bond1")
    before = int(cabled.configuration()["next_cfg"])
    four_ways(
        "ovs.bond_present",
        "brt-bond0",
        bridge=A,
        members=["eth1", "eth4"],
        mode="balance-slb",
        lacp=False,  # as YAML 1.1 reads a bare "off"
        up_delay=50,
        look=cabled.configuration,
        disturb=lambda: cabled.vsctl("set", "port", "brt-bond0", "bond_mode=active-backup"),
        drift={f"{A}.bonds.brt-bond0.mode": {"old": "active-backup", "new": "balance-slb"}},
    )
    assert (cabled.uuid("Interface", "eth1"), cabled.vsctl("get", "interface", "eth1", "ofport")) == kept
    assert cabled.uuid("Port", "brt-bond0") == port
    assert int(cabled.configuration()["next_cfg"]) == before + 3, "ours, the disturbance, and ours"
    assert "member eth4" in cabled.run("ovs-appctl", "bond/show", "brt-bond0")


@contextlib.contextmanager
def watched(ovs: ModuleType, bond: str) -> Iterator[list[str]]:
    """Look at a bond all the time, and collect what ovs-vswitchd says."""
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(ovs.run("ovs-appctl", "bond/show", bond))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def test_the_member_that_stays_forwards_throughout(state: Any, bridges: ModuleType) -> None:
    declare = partial(state, "ovs.bond_present", "brt-bond0", bridge=A)
    assert declare(members=["eth1", "eth3"])["result"] is True
    before = int(bridges.configuration()["next_cfg"])
    with watched(bridges, "brt-bond0") as seen:
        run = declare(members=["eth1", "eth2"], mode="balance-slb", up_delay=50, tag=7)
        awaited(lambda: {"last": seen[-1:]}, lambda look: "member eth2: enabled" in str(look["last"]))
    assert run["result"] is True, run
    assert int(bridges.configuration()["next_cfg"]) == before + 1
    assert "member eth3: enabled" in seen[0]
    assert [look for look in seen if "member eth1: enabled" not in look] == []


def test_a_bond_takes_over_ports(state: Any, bridges: ModuleType) -> None:
    bridges.vsctl("add-port", A, "eth1", "--", "add-port", B, "eth2")
    rows = [bridges.uuid("Interface", name) for name in ("eth1", "eth2")]
    taken = state("ovs.bond_present", "brt-bond0", bridge=A, members=["eth1", "eth2"])
    assert taken["result"] is True, taken
    assert set(taken["changes"]) == {f"{A}.ports.eth1", f"{B}.ports.eth2", f"{A}.bonds.brt-bond0"}
    assert [bridges.uuid("Interface", name) for name in ("eth1", "eth2")] == rows


def test_bond_absent(four_ways: Any, bridges: ModuleType) -> None:
    make = ("add-bond", A, "brt-bond0", "eth1", "eth2", "bond_mode=active-backup")
    bridges.vsctl(*make)
    was = {"members": ["eth1", "eth2"], "mode": "active-backup", "lacp": "off", "lacp_time": "slow"}
    four_ways(
        "ovs.bond_absent",
        "brt-bond0",
        bridge=A,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl(*make),
        drift={f"{A}.bonds.brt-bond0": {"old": {**was, "up_delay": 0, "down_delay": 0}, "new": None}},
    )


def test_status_of_a_negotiated_bond(salt: Any, cabled: ModuleType) -> None:
    """S0.8, S1.7: the bond's state as structure, from healthy to degraded to down."""
    status = awaited(lambda: salt.cmd("ovs.bond_status"), lambda seen: seen["brt-bond0"]["healthy"])
    bond = status["brt-bond0"]
    assert (bond["mode"], bond["lacp"], bond["state"], bond["reason"]) == (
        "balance-tcp",
        "negotiated",
        "healthy",
        "",
    )
    assert set(bond["members"]) == {"eth1", "eth2"}
    partners = {member["partner"] for member in bond["members"].values()}
    assert partners == {salt.cmd("ovs.lacp_status", "brt-bond1")["brt-bond1"]["system_id"]}
    assert {member["lacp"] for member in bond["members"].values()} == {"current attached"}
    assert bond["active_member"] in bond["members"]

    cabled.run("ip", "link", "set", "eth3", "down")  # the far end of eth1
    degraded = awaited(
        lambda: salt.cmd("ovs.bond_status", "brt-bond0"), lambda s: not s["brt-bond0"]["healthy"]
    )
    assert list(degraded) == ["brt-bond0"]
    assert degraded["brt-bond0"]["state"] == "degraded"
    assert degraded["brt-bond0"]["reason"] == "eth1: its link is down"

    cabled.run("ip", "link", "set", "eth4", "down")
    down = awaited(lambda: salt.cmd("ovs.bond_status"), lambda s: s["brt-bond0"]["state"] == "down")
    assert down["brt-bond0"]["reason"] == "eth1: its link is down; eth2: its link is down"


def test_status_names_crossed_cables(salt: Any, cabled: ModuleType) -> None:
    """Two partners behind one bond leave no trace in the database."""
    third = "brt-ovs-c"
    cabled.vsctl(
        *("del-port", "brt-bond1", "--", "add-br", third, "--"),
        *("set", "bridge", third, "datapath_type=netdev", "--"),
        *("add-port", B, "eth3", "lacp=active", "other_config:lacp-time=fast", "--"),
        *("add-port", third, "eth4", "lacp=active", "other_config:lacp-time=fast"),
    )
    seen = awaited(
        lambda: salt.cmd("ovs.bond_status")["brt-bond0"],
        lambda bond: bond["state"] == "degraded" and "cabled to LACP partner" in bond["reason"],
    )
    assert [member["link"] for member in seen["members"].values()] == ["up", "up"]


def test_status_of_no_such_bond(salt: Any, bridges: ModuleType) -> None:
    with pytest.raises(CommandExecutionError, match="no such bond as brt-none"):
        salt.cmd("ovs.bond_status", "brt-none")
    with pytest.raises(CommandExecutionError, match="no such bond as brt-none"):
        salt.cmd("ovs.lacp_status", "brt-none")

"""A guarded change of the switch over which this host is reached, with real daemons that are killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corral.guard import hand, journal
from tests.support import guard_net as net
from tests.support import guard_runs as runs
from tests.support.expect import assert_failed
from tests.support.guard_net import NEAR

BRIDGE, OTHER, MGMT = "brt-ovs-g", "brt-ovs-h", "brt-mgmt"
GUARD = {"within": "3s", "probes": [{"ping": net.THERE}]}
LONG = {"within": "5m", "probes": [{"ping": net.THERE}]}
RUNS = int(os.environ.get("CORRAL_GUARD_RUNS", "3"))  # of those that are killed right after the change
AS_IT_IS: dict[str, Any] = {
    BRIDGE: {"datapath_type": "netdev", "ports": {NEAR: {}, MGMT: {"type": "internal"}}},
    OTHER: {"datapath_type": "netdev", "other_config": {"mac-table-size": 500}},
}


def declared(**bridge: Any) -> dict[str, Any]:
    """Return the switch with something else about the bridge that all goes by."""
    ports = {**AS_IT_IS[BRIDGE]["ports"], **bridge.pop("ports", {})}
    return {**AS_IT_IS, BRIDGE: {**AS_IT_IS[BRIDGE], "ports": ports, **bridge}}


def without(*names: str) -> dict[str, Any]:
    ports = {name: port for name, port in AS_IT_IS[BRIDGE]["ports"].items() if name not in names}
    return {**AS_IT_IS, BRIDGE: {**AS_IT_IS[BRIDGE], "ports": ports}}


CUT_OFF = declared(ports={NEAR: {"tag": 7}})


@pytest.fixture(autouse=True)
def reached(state: Any, switch: ModuleType) -> Iterator[None]:
    """This host reaches others by an internal port of a bridge, which has the card."""
    with net.peer():
        assert state("ovs.switch_managed", "switch", bridges=AS_IT_IS)["result"] is True
        net.settle(MGMT)
        assert net.reached() and net.reached(net.BEYOND)
        yield
        runs.watchdog_ended()
        hand.recover(False)


def configuration(switch: ModuleType) -> Any:
    """Return what the database has, but for what counts writes and names rows."""
    found = switch.configuration()
    rows = {
        table: sorted(json.dumps(row) for row in found[table]) for table in ("Bridge", "Port", "Interface")
    }
    return rows


def by_name(switch: ModuleType) -> Any:
    """Return the configuration without the identities of rows, which are new when something is made again."""
    found = switch.configuration()
    names = {row[0][1]: row[1] for table in switch.COLUMNS for row in found[table]}
    text = json.dumps({table: found[table] for table in switch.COLUMNS})
    for identity, name in names.items():
        text = text.replace(identity, name)
    return {table: sorted(rows, key=repr) for table, rows in _sorted(json.loads(text)).items()}


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        inner = [_sorted(one) for one in value]
        return [inner[0], sorted(inner[1], key=repr)] if inner[:1] in (["set"], ["map"]) else inner
    return {key: _sorted(one) for key, one in value.items()} if isinstance(value, dict) else value


def test_a_change_that_leaves_the_host_reached_is_kept(state: Any, switch: ModuleType) -> None:
    bridges = declared(ports={"brt-web0": {"type": "internal", "tag": 7}})
    preview = state("ovs.switch_managed", "switch", test=True, guard=LONG, bridges=bridges)
    assert preview["comment"] == (
        f"1 change would be made and reverted unless ping {net.THERE} answer within 300 s."
    )
    answer = state("ovs.switch_managed", "switch", guard=LONG, bridges=bridges)
    assert (answer["result"], answer["changes"]) == (True, preview["changes"]), answer
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()
    before = switch.configuration()
    again = state("ovs.switch_managed", "switch", guard=LONG, bridges=bridges)
    assert (again["result"], again["changes"]) == (True, {})
    assert switch.configuration() == before


@pytest.mark.parametrize(
    "bridges",
    [
        CUT_OFF,
        without(NEAR),
        without(MGMT),
        {OTHER: {**AS_IT_IS[OTHER], "ports": {NEAR: {}}}},
        {**AS_IT_IS, OTHER: {**AS_IT_IS[OTHER], "ports": {NEAR: {}}}, BRIDGE: without(NEAR)[BRIDGE]},
        declared(fail_mode="secure", flows=["priority=9,actions=drop"]),
        declared(groups=["group_id=5,type=all"], flows=["priority=9,actions=group:5"]),
        {BRIDGE: None},
        {
            BRIDGE: None,
            OTHER: {**AS_IT_IS[OTHER], "bonds": {"brt-bond0": {"members": [NEAR, "eth1"]}}},
        },
    ],
    ids=[
        *("another vlan", "without the card", "without the port of the address", "bridge undeclared"),
        *("card moved", "flows", "groups", "bridge removed", "card in a bond"),
    ],
)
def test_a_change_that_cuts_the_host_off_is_reverted(
    state: Any, switch: ModuleType, bridges: dict[str, Any]
) -> None:
    switch.vsctl("set", "port", NEAR, "external_ids:owner=somebody", "other_config:x=y")
    switch.run("ovs-ofctl", "add-flow", BRIDGE, "cookie=0x77,priority=3,tcp,actions=NORMAL")
    switch.run("ovs-ofctl", "-OOpenFlow15", "add-group", BRIDGE, "group_id=7,type=all,bucket=NORMAL")
    switch.run("ovs-ofctl", "-OOpenFlow15", "add-flow", BRIDGE, "priority=3,udp,actions=group:7")
    before, network = by_name(switch), net.network(MGMT)
    flows = all_flows(switch)
    answer = state("ovs.switch_managed", "switch", guard=GUARD, bridges=bridges)
    assert_failed(answer, f"The change was reverted: ping {net.THERE} did not answer within 3 s.")
    assert "Even so" not in answer["comment"], answer["comment"]
    assert by_name(switch) == before
    assert net.network(MGMT) == network
    assert all_flows(switch) == flows
    assert net.reached() and net.reached(net.BEYOND)
    runs.nothing_is_armed()
    settled = state("ovs.switch_managed", "switch", bridges=AS_IT_IS)
    assert (settled["result"], settled["changes"]) == (True, {}), "what was ours is ours again"


def all_flows(switch: ModuleType) -> list[str]:
    """Return the flows and groups of the bridge."""
    look = ("ovs-ofctl", "-OOpenFlow14", "--names", "--no-stats")
    shown = switch.run(*look, "dump-flows", BRIDGE).splitlines()
    shown += switch.run(*look, "dump-groups", BRIDGE).splitlines()
    # A flag of the message that makes a flow; OpenFlow 1.0 always has it.
    return sorted(line.strip().replace("reset_counts ", "") for line in shown if "actions=" in line)


@pytest.mark.parametrize("number", range(RUNS))
def test_a_run_that_is_killed_right_after_the_change_is_reverted(switch: ModuleType, number: int) -> None:
    before, network = configuration(switch), net.network(MGMT)
    with runs.run("ovs", "switch", CUT_OFF, LONG, held=True) as child:
        runs.applied(child)
        child.kill()
        child.wait()
        runs.watchdog_ended()
    assert configuration(switch) == before
    assert net.network(MGMT) == network
    assert net.reached() and net.reached(net.BEYOND)
    assert runs.outcome() == "reverted"
    runs.nothing_is_armed()


def test_what_others_do_meanwhile_stays(state: Any, switch: ModuleType) -> None:
    new = {**without(MGMT), "brt-ovs-new": {"datapath_type": "netdev"}}
    with runs.run("ovs", "switch", new, LONG, held=True) as child:
        runs.applied(child)
        for bridge, port in ((BRIDGE, "vnet91"), ("brt-ovs-new", "vnet92")):
            switch.vsctl("add-port", bridge, port, "--", "set", "interface", port, "type=internal")
        child.kill()
        child.wait()
        runs.watchdog_ended()
    assert set(switch.vsctl("list-ports", BRIDGE).split()) == {NEAR, MGMT, "vnet91"}
    assert switch.vsctl("list-ports", "brt-ovs-new") == "vnet92"
    assert net.reached()


def test_a_daemon_that_hangs_is_asked_again(switch: ModuleType) -> None:
    before = configuration(switch)
    with runs.run("ovs", "switch", CUT_OFF, LONG, held=True) as child:
        runs.applied(child)
        with switch.stopped("ovsdb-server"):
            child.kill()
            child.wait()
            runs.tried_in_vain()
        runs.watchdog_ended()
    assert configuration(switch) == before
    assert net.reached()


def test_after_a_reboot_in_the_middle_the_boot_program_reverts(switch: ModuleType, tmp_path: Path) -> None:
    """The way of the unit: daemons and devices are new, the database is the one of the change."""
    before = by_name(switch)
    with runs.run("ovs", "switch", without(MGMT), LONG, held=True) as child:
        runs.applied(child)
        os.kill(runs.watched(), signal.SIGKILL)
        runs.watchdog_ended()
        child.kill()
    with runs.rebooted(switch, tmp_path):
        assert by_name(switch) != before
        assert runs.at_boot("corral-guard-early.service") == ""
        assert by_name(switch) != before, "no daemon can be asked early"
        assert runs.at_boot("corral-guard.service") == ""
        assert by_name(switch) == before
        runs.nothing_is_armed()
        assert runs.outcome() == "reverted"


def test_without_systemd_the_next_run_after_a_reboot_reverts(
    state: Any, switch: ModuleType, tmp_path: Path
) -> None:
    before = by_name(switch)
    with runs.run("ovs", "switch", without(NEAR), LONG, held=True) as child:
        runs.applied(child)
        os.kill(runs.watched(), signal.SIGKILL)
        runs.watchdog_ended()
        child.kill()
    with runs.rebooted(switch, tmp_path):
        assert by_name(switch) != before
        assert state("dhcp.subnet_absent", "guard-none")["result"] is True
        assert by_name(switch) == before
        runs.nothing_is_armed()


def test_killed_at_any_call_the_next_run_ends_right(state: Any, switch: ModuleType) -> None:
    before = by_name(switch)
    changed = declared(ports={"brt-web0": {"type": "internal", "tag": 7}})
    step, answer = 1 - runs.STRIDE, None
    while answer is None:
        step += runs.STRIDE
        with runs.run("ovs", "switch", changed, LONG, at=step) as child:
            answer = runs.answer(child)
        runs.watchdog_ended()
        assert state("ovs.switch_managed", "switch", bridges=changed)["result"] is True, step
        runs.nothing_is_armed()
        assert state("ovs.switch_managed", "switch", bridges=AS_IT_IS)["result"] is True, step
        assert by_name(switch) == before, step
    assert answer["result"] is True
    assert step > answer["calls"] > 20


def test_killed_at_any_call_while_it_is_reverted(switch: ModuleType) -> None:
    before, network = by_name(switch), net.network(MGMT)
    step, answer = 1 - runs.STRIDE, None
    while answer is None:
        step += runs.STRIDE
        with runs.run("ovs", "switch", without(MGMT), LONG, held=True) as child:
            runs.applied(child)
            os.kill(runs.watched(), signal.SIGKILL)
            runs.watchdog_ended()
            child.kill()
        with runs.run("recover", "", {}, at=step) as child:
            answer = runs.answer(child)
        with runs.run("recover", "", {}) as child:
            assert runs.answer(child) is not None
        assert by_name(switch) == before, step
        assert net.network(MGMT) == network, step
        runs.nothing_is_armed()
    assert step > answer["calls"] > 10


def test_nothing_of_the_switch_is_changed_beside_an_armed_guard(state: Any) -> None:
    with runs.run("ovs", "switch", CUT_OFF, LONG, held=True) as child:
        runs.applied(child)
        sentence = f"guard: switch (process {child.pid}) is being changed under a guard"
        assert_failed(state("ovs.bridge_present", OTHER, fail_mode="secure"), sentence)
        assert_failed(state("link.managed", MGMT, mtu=1400), sentence)
        assert_failed(state("ovs.switch_managed", "switch", bridges=AS_IT_IS), sentence)


def test_a_secret_is_not_in_the_journal_and_its_port_does_not_go_under_a_guard(
    state: Any, switch: ModuleType
) -> None:
    tunnel = {"brt-vx0": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": 7}}}
    with_tunnel = declared(ports=tunnel)
    assert state("ovs.switch_managed", "switch", bridges=with_tunnel)["result"] is True
    switch.vsctl("set", "interface", "brt-vx0", "options:psk=swordfish")
    answer = state("ovs.switch_managed", "switch", guard=LONG, bridges=AS_IT_IS)
    assert_failed(answer, f"guard: bridges.{BRIDGE}.ports.brt-vx0 would go with its psk")
    tunnel["brt-vx0"]["options"]["key"] = 8
    with runs.run("ovs", "switch", declared(ports=tunnel), LONG, held=True) as child:
        runs.applied(child)
        assert "swordfish" not in (journal.FOLDER / journal.JOURNAL).read_text()
        child.kill()
        child.wait()
        runs.watchdog_ended()
    options = switch.vsctl("get", "interface", "brt-vx0", "options")
    assert options == '{key="7", psk=swordfish, remote_ip="192.0.2.7"}'


def test_a_port_that_ovs_refuses_is_told_and_stays_where_the_host_is_reached(state: Any) -> None:
    """A guard is about being reached, and not about success."""
    tunnel = {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": 7}}
    bridges = declared(ports={"brt-vx0": tunnel, "brt-vx1": tunnel})
    answer = state("ovs.switch_managed", "switch", guard=LONG, bridges=bridges)
    assert answer["result"] is False
    assert "ovs-vswitchd could not set up brt-vx" in answer["comment"], answer
    assert "reverted" not in answer["comment"]
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()


def test_a_run_that_cannot_revert_leaves_it_to_the_watchdog(switch: ModuleType) -> None:
    before = configuration(switch)
    with runs.run("ovs", "switch", CUT_OFF, GUARD, held=True) as child:
        runs.applied(child)
        with switch.stopped("ovsdb-server"):
            assert child.stdin is not None
            print(file=child.stdin, flush=True)
            answer = runs.answer(child)
            assert answer is not None
            assert answer["result"] is False
            said = "did not answer within 3 s. The change could not be reverted yet: ovsdb-server"
            assert said in answer["comment"]
            assert runs.watched()
        runs.watchdog_ended()
    assert configuration(switch) == before
    assert net.reached()
    runs.nothing_is_armed()

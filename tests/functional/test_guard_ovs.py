"""A guarded change of the switch over which this host is reached, with real daemons that are killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
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
        if journal.read() is not None:
            hand.revert()


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
    preview = state("ovs.switch_managed", "switch", test=True, guard=GUARD, bridges=bridges)
    assert preview["comment"] == (
        f"1 change would be made and reverted unless ping {net.THERE} answer within 3 s."
    )
    answer = state("ovs.switch_managed", "switch", guard=GUARD, bridges=bridges)
    assert (answer["result"], answer["changes"]) == (True, preview["changes"]), answer
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()
    before = switch.configuration()
    again = state("ovs.switch_managed", "switch", guard=GUARD, bridges=bridges)
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
        {BRIDGE: None},
        {
            BRIDGE: None,
            OTHER: {**AS_IT_IS[OTHER], "bonds": {"brt-bond0": {"members": [NEAR, "eth1"]}}},
        },
    ],
    ids=[
        *("another vlan", "without the card", "without the port of the address", "bridge undeclared"),
        *("card moved", "flows", "bridge removed", "card in a bond"),
    ],
)
def test_a_change_that_cuts_the_host_off_is_reverted(
    state: Any, switch: ModuleType, bridges: dict[str, Any]
) -> None:
    switch.vsctl("set", "port", NEAR, "external_ids:owner=somebody", "other_config:x=y")
    switch.run("ovs-ofctl", "add-flow", BRIDGE, "cookie=0x77,priority=3,tcp,actions=NORMAL")
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
    shown = switch.run("ovs-ofctl", "--names", "--no-stats", "dump-flows", BRIDGE)
    return sorted(line.strip() for line in shown.splitlines() if "actions=" in line)

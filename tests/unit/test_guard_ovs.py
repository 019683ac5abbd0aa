"""What leads back from a plan for the switch, over switches and declarations of every shape."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corral.change import Change
from corral.errors import Error, Refused
from corral.ovs.back import back, flows_at_risk, marks, undo
from corral.ovs.columns import Record, Type
from corral.ovs.flows import Flow
from corral.ovs.host import Host, advance
from corral.ovs.model import Switch
from corral.ovs.operations import operations
from corral.ovs.own import MARK
from corral.ovs.plan import plan
from corral.ovs.rows import HIDDEN
from tests.support import switches


def _planned(current: Host, desired: Switch, exact: bool) -> Any:
    try:
        return plan(current, desired, exact=exact)
    except Error:  # a rule forbids it
        assume(False)


def _after(current: Host, todo: Any) -> Host:
    return replace(current, bridges=advance(current.bridges, todo))


def _stored(todo: Any, current: Host) -> dict[str, Any]:
    """Return what leads back as the journal gives it back."""
    return dict(json.loads(json.dumps(undo(todo, current, {}).data)))


@given(switches.hosts(), switches.declarations(), st.booleans())
def test_a_plan_and_what_leads_back_from_it_change_nothing(
    current: Host, desired: Switch, exact: bool
) -> None:
    todo = _planned(current, desired, exact)
    data = _stored(todo, current)
    after = _after(current, todo)
    led_back = _after(after, back(after, data))
    assert led_back.bridges == current.bridges
    assert back(led_back, data) == (), "what is done is not done again"


@given(switches.hosts(), switches.declarations(), st.booleans())
def test_a_plan_that_was_never_carried_out_needs_no_way_back(
    current: Host, desired: Switch, exact: bool
) -> None:
    todo = _planned(current, desired, exact)
    assert back(current, _stored(todo, current)) == ()


@given(switches.hosts(), switches.declarations(), st.booleans(), st.data())
def test_a_port_that_somebody_puts_on_a_bridge_meanwhile_stays(
    current: Host, desired: Switch, exact: bool, data: st.DataObject
) -> None:
    todo = _planned(current, desired, exact)
    stored = _stored(todo, current)
    after = _after(current, todo)
    assume(after.bridges)
    bridge = data.draw(st.sampled_from(sorted(after.bridges)))
    theirs = Change((bridge, "ports", "vnet0"), None, {"type": "system"})
    after = _after(after, [theirs])
    led_back = _after(after, back(after, stored)).bridges
    assert led_back[bridge]["ports"].pop("vnet0") == {"type": "system"}
    if bridge not in current.bridges:
        assert led_back.pop(bridge)["bonds"] == {}
    assert led_back == current.bridges


@given(switches.hosts(), switches.declarations(), st.booleans())
def test_what_is_made_again_has_the_mark_that_it_had(current: Host, desired: Switch, exact: bool) -> None:
    todo = _planned(current, desired, exact)
    stored = _stored(todo, current)
    after = _after(current, todo)
    now = switches.host(after.bridges, current.owners)
    written = operations(now, back(now, stored), "guard", marks(stored))
    guarded = [one["where"][0] for one in written if one["op"] == "wait"]
    assert all(one["where"][0] in guarded for one in written if one["op"] != "wait" and one.get("where"))
    for one in written:
        if one["op"] == "insert" and one["table"] in ("Bridge", "Port"):
            name, marked = one["row"]["name"], dict(one["row"].get("external_ids", ["map", []])[1])
            local = one["table"] == "Port" and name in current.bridges
            assert marked.get(MARK) == (None if local else current.owners.get(name))


def test_flows_and_columns_are_kept_as_they_were() -> None:
    current = replace(
        switches.host({"br0": {}}, {}),
        columns={("Port", "br0"): Record({"statistics": Type("string", "string")}, {}, {})},
    )
    todo = (
        Change(("br0", "flows", "priority=9"), None, "actions=drop"),
        Change(("Port", "br0", "other_config", "x"), "1", "2"),
        Change(("Interface", "br0", "options", "psk"), "swordfish", "marlin"),
    )
    flows = {"br0": {"priority=3,tcp": Flow("actions=NORMAL", 0x77)}}
    assert flows_at_risk(todo) == ["br0"]
    kept = json.loads(json.dumps(undo(todo, current, flows).data))
    assert kept["flows"] == {"br0": {"priority=3,tcp": ["actions=NORMAL", 0x77]}}
    assert kept["columns"] == [[["Port", "br0", "other_config", "x"], "1"]], "no secret is kept"


HOLDER = {"br0": {"ports": {"vx0": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "psk": HIDDEN}}}}}


@pytest.mark.parametrize("declared", [{"br0": {"ports": {"vx0": None}}}, {"br0": None}])
def test_a_secret_does_not_go_under_a_guard(declared: Any) -> None:
    current = switches.host(HOLDER, {})
    todo = plan(current, Switch.declare({"bridges": declared}))
    with pytest.raises(Refused, match=r"^guard: bridges\.br0\.ports\.vx0 would go with its psk"):
        undo(todo, current, {})


def test_a_secret_stays_where_it_is_when_its_port_is_led_back() -> None:
    current = switches.host(HOLDER, {})
    tunnel = {"vx0": {"options": {"remote_ip": "192.0.2.8"}}}
    todo = plan(current, Switch.declare({"bridges": {"br0": {"ports": tunnel}}}))
    after = _after(current, todo)
    (change,) = back(after, _stored(todo, current))
    assert change.new == {"remote_ip": "192.0.2.7", "psk": HIDDEN}, (
        "which is what is there: it is not written"
    )

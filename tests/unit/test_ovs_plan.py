"""Properties of the ovs planner over switches and declarations of every shape."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from corral.errors import Error
from corral.ovs.host import Bridges, Host, advance, declarable
from corral.ovs.model import Switch
from corral.ovs.needs import bridges_needed, interfaces_made, interfaces_needed, interfaces_touched
from corral.ovs.operations import operations
from corral.ovs.plan import MANAGED, plan
from corral.ovs.rows import host
from tests.support import switches


def _planned(current: Host, desired: Switch, exact: bool) -> Any:
    try:
        return plan(current, desired, exact=exact)
    except Error:  # a rule forbids it; the cases show which
        assume(False)


def _names(bridges: Bridges) -> list[str]:
    found = []
    for bridge in bridges.values():
        for kind in ("ports", "bonds"):
            for name, child in bridge[kind].items():
                found += [name, *child.get("members", ())]
                assert kind == "ports" or child["members"], "a bond without members"
    return found


@given(switches.hosts(), st.booleans())
def test_a_switch_declared_as_it_is_needs_nothing(current: Host, exact: bool) -> None:
    assume(all(len(bond["members"]) > 1 for br in current.bridges.values() for bond in br["bonds"].values()))
    as_it_is = Switch.declare({"bridges": declarable(current.bridges)})
    assert plan(current, as_it_is, exact=exact) == ()


ONE = switches.host({"br0": {"bonds": {"b0": {"members": ["n0", "n1"]}}}, "br1": {}}, {})
ITS_MEMBER_GOES_ELSEWHERE = Switch.declare(
    {
        "bridges": {
            "br0": {"bonds": {"b0": None, "b1": {"members": ["n0", "n2"]}}},
            "br1": {"bonds": {"b0": {"mode": "balance-slb"}}},
        }
    }
)


@given(switches.hosts(), switches.declarations(), st.booleans())
@example(ONE, ITS_MEMBER_GOES_ELSEWHERE, False)
def test_a_plan_leads_to_the_declaration(current: Host, desired: Switch, exact: bool) -> None:
    todo = _planned(current, desired, exact)
    after = Host(advance(current.bridges, todo), current.owners)
    assert plan(after, desired, exact=exact) == ()


@given(switches.hosts(), switches.declarations(), st.booleans())
def test_every_prefix_is_a_switch(current: Host, desired: Switch, exact: bool) -> None:
    todo = _planned(current, desired, exact)
    for length in range(len(todo) + 1):
        names = _names(advance(current.bridges, todo[:length]))
        assert len(names) == len(set(names))


@given(switches.hosts(), switches.declarations())
def test_a_plan_leaves_its_input_alone(current: Host, desired: Switch) -> None:
    before = repr(current)
    todo = _planned(current, desired, True)
    shown = repr(todo)
    advance(current.bridges, todo)
    assert (repr(current), repr(todo)) == (before, shown)


@given(switches.hosts())
def test_the_rows_of_these_switches_describe_them(current: Host) -> None:
    read = host(switches.tables(current.bridges, current.owners))
    assert read.bridges == current.bridges
    assert read.owners.items() <= current.owners.items()


@given(switches.hosts(), switches.declarations(), st.booleans())
def test_what_is_written_of_a_plan_is_guarded(current: Host, desired: Switch, exact: bool) -> None:
    todo = _planned(current, desired, exact)
    written = operations(current, todo, "test")
    guarded = [one["where"][0] for one in written if one["op"] == "wait"]
    assert all(one["where"][0] in guarded for one in written if one["op"] != "wait" and one.get("where"))


@given(switches.hosts(), switches.declarations(), st.booleans())
def test_what_a_plan_needs_and_touches_is_there(current: Host, desired: Switch, exact: bool) -> None:
    todo = _planned(current, desired, exact)
    after = advance(current.bridges, todo)
    assert bridges_needed(todo, current) == {}
    assert interfaces_touched(todo, current) <= {*_names(current.bridges), *_names(after)}
    assert interfaces_needed(todo).keys() <= set(_names(after))
    assert interfaces_made(todo).keys() <= after.keys() | set(_names(after))


@given(switches.hosts(), switches.declarations())
def test_nothing_of_others_goes_unasked(current: Host, desired: Switch) -> None:
    """What is neither declared, nor ours, nor in the way of what is declared survives an exact plan."""
    todo = _planned(current, desired, True)
    removed = {change.path for change in todo if len(change.path) in (1, 3) and change.removes}
    asked = repr(desired.declared()) + repr(interfaces_needed(todo))
    for path in removed:
        assert (
            current.owners.get(path[-1]) == MANAGED
            or f"'{path[-1]}'" in asked
            or _in_the_way(path, current, asked)
        )


def _in_the_way(path: Any, current: Host, asked: str) -> bool:
    spec = current.bridges[path[0]]
    children = [spec[path[1]][path[2]]] if len(path) == 3 else []
    return any(f"'{member}'" in asked for child in children for member in child.get("members", ()))

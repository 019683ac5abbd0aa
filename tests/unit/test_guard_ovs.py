"""What leads back from a plan for the switch, over switches and declarations of every shape."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from corral.errors import Error, Refused
from corral.ovs.back import back, marks, undo
from corral.ovs.host import Host, advance
from corral.ovs.model import Switch
from corral.ovs.operations import operations
from corral.ovs.plan import MANAGED, plan
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

"""What must hold for every plan of a pool."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import Refused
from corral.pool.layout import members
from corral.pool.model import whole
from corral.pool.plan import OFF, Current, plan, plan_absent, plan_stopped
from tests.support.pools import applied, current, desired, made, plain

NETWORKS = [
    {"bridge": "ovsbr0", "subnet": "one", "addresses": "10.0.0.10-10.0.0.29"},
    {"bridge": "ovsbr0", "vlan": 7, "subnet": "two", "addresses": "10.0.1.10-10.0.1.29"},
    {"bridge": "ovsbr1", "mac_prefix": "52:60:2f"},
]
POLICIES = ["highest_index", "lowest_index", "newest", "oldest"]

declarations = st.fixed_dictionaries(
    {
        "replicas": st.integers(0, 6),
        "image": st.just("small"),
        "guest": st.fixed_dictionaries(
            {"memory": st.sampled_from(["64M", "96M"]), "vcpus": st.integers(1, 2)}
        ),
        "networks": st.integers(0, 3).map(lambda count: NETWORKS[:count]),
        "scale_in": st.fixed_dictionaries(
            {"policy": st.sampled_from(POLICIES), "disks": st.sampled_from(["keep", "delete"])}
        ),
    }
)


@st.composite
def disturbed(draw: st.DrawFn) -> Current:
    """A host with a pool that something happened to."""
    data = plain(made(draw(declarations)))
    for name in list(data["guests"]):
        guest = data["guests"][name]
        match draw(
            st.sampled_from(["nothing", "stopped", "slow", "gone", "diskless", "unreserved", "memory"])
        ):
            case "stopped":
                guest["state"] = draw(st.sampled_from(OFF))
            case "slow":
                data["ready"].remove(name)
            case "gone":
                del data["guests"][name]
            case "diskless":
                guest["state"] = "stopped"
                del data["disks"][guest["disks"][0]["path"]]
            case "unreserved":
                macs = [nic["mac"] for nic in guest["nics"]]
                for subnet, theirs in data["reservations"].items():
                    data["reservations"][subnet] = [one for one in theirs if one["mac"] not in macs]
            case "memory":
                guest["memory"] = "32M"
    return current(data)


@given(declarations)
def test_nothing_to_do_for_what_is_as_declared(data: dict[str, Any]) -> None:
    assert plan(made(data), desired(data)) == ()


@given(disturbed(), declarations)
def test_a_plan_leads_to_what_is_declared(now: Current, data: dict[str, Any]) -> None:
    wanted = desired(data)
    after = applied(now, plan(now, wanted))
    assert plan(after, wanted) == ()
    there = members(after.host, "web")
    assert len(there) == data["replicas"]
    assert all(found.state == "running" for found in there.values())


@given(disturbed(), declarations, st.data())
def test_a_plan_may_stop_anywhere(now: Current, data: dict[str, Any], choice: st.DataObject) -> None:
    wanted = desired(data)
    todo = plan(now, wanted)
    halfway = applied(now, todo[: choice.draw(st.integers(0, len(todo)))])
    assert plan(applied(halfway, plan(halfway, wanted)), wanted) == ()


@given(disturbed(), declarations)
def test_guests_that_stay_keep_who_they_are(now: Current, data: dict[str, Any]) -> None:
    after = applied(now, plan(now, desired(data)))
    before, later = members(now.host, "web"), members(after.host, "web")
    for index in before.keys() & later.keys():
        assert (before[index].name, before[index].uuid) == (later[index].name, later[index].uuid)
        assert before[index].fields["disks"] == later[index].fields["disks"]
        pairs = zip(before[index].fields["nics"], later[index].fields["nics"], strict=False)
        assert all(old["mac"] == new["mac"] for old, new in pairs)


@given(disturbed(), declarations)
def test_disks_go_only_when_they_are_told_to(now: Current, data: dict[str, Any]) -> None:
    todo = plan(now, desired(data))
    lost = now.disks.keys() - applied(now, todo).disks.keys()
    if data["scale_in"]["disks"] == "keep":
        assert not lost
    shown = [step for step in todo if step.takes == "data loss"]
    assert bool(lost) == bool(shown)


@given(disturbed(), st.sampled_from(["keep", "delete"]))
def test_absent_leaves_nothing_but_disks_that_are_kept(now: Current, disks: str) -> None:
    wanted = whole("web", disks=disks)
    after = applied(now, plan_absent(now, wanted))
    assert plan_absent(after, wanted) == ()
    assert not members(after.host, "web")
    assert not any(after.reservations.values())
    assert after.disks == (now.disks if disks == "keep" else {})


@given(disturbed())
def test_stopped_stops_what_is_on(now: Current) -> None:
    names = {step.path[2] for step in plan_stopped(now, whole("web"))}
    assert names == {found.name for found in now.host.guests.values() if found.state not in OFF}


@given(declarations)
def test_a_pool_that_is_paused_is_left_alone(data: dict[str, Any]) -> None:
    assert plan(current({}), desired({**data, "paused": True})) == ()


def test_a_run_that_was_cut_off_after_the_disks_and_some_reservations() -> None:
    data = {"replicas": 3, "image": "small", "guest": {"memory": "64M"}, "networks": NETWORKS[:1]}
    done = plain(made(data))
    halfway = current({"disks": done["disks"], "reservations": {"one": done["reservations"]["one"][:2]}})
    todo = plan(halfway, desired(data))
    assert [step.path for step in todo] == [("web", "guests", f"web-00{index}") for index in range(3)]
    assert plan(applied(halfway, todo), desired(data)) == ()


def test_two_guests_that_claim_one_index() -> None:
    data = {"replicas": 1, "image": "small", "guest": {"memory": "64M"}}
    there = plain(made(data))
    there["guests"]["copy"] = {**there["guests"]["web-000"], "uuid": "6f1c4e8e-3a52-5b5e-9d0c-3f8f2e4b7a11"}
    with pytest.raises(Refused, match=r"pools\.web\.guests: .* both say they are index 0"):
        plan(current(there), desired(data))

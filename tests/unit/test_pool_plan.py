"""What must hold for every plan of a pool."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corral.errors import Refused
from corral.pool.layout import members
from corral.pool.model import absent, stopped
from corral.pool.plan import OFF, Current, plan, plan_absent, plan_stopped
from tests.support.pools import BASE, MINION, applied, current, desired, made, plain

NETWORKS = [
    {"bridge": "ovsbr0", "subnet": "one", "addresses": "10.0.0.10-10.0.0.29"},
    {"bridge": "ovsbr0", "vlan": 7, "subnet": "two", "addresses": "10.0.1.10-10.0.1.29"},
    {"bridge": "ovsbr1", "mac_prefix": "52:60:2f"},
]
FOLDER = "/var/lib/libvirt/images/pools/web"
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


def stranger(number: int, **fields: Any) -> dict[str, Any]:
    """A guest that is not of the pool."""
    mac = f"52:54:00:ff:00:{number:02x}"
    return {
        "state": "running",
        "uuid": f"6f1c4e8e-3a52-5b5e-9d0c-0000000000{number:02x}",
        "memory": "64M",
        "nics": [{"bridge": "ovsbr0", "mac": mac, "switch": "ovs", "model": "virtio"}],
        "disks": [],
        **fields,
    }


@st.composite
def disturbed(draw: st.DrawFn) -> Current:
    """A host with a pool that something happened to, and with what is not of the pool."""
    data = plain(made(draw(declarations)))
    _disturb(draw, data)
    left = draw(st.sampled_from([f"{FOLDER}/web-008.qcow2", f"{FOLDER}/web-009.qcow2"]))
    data["disks"] |= {f"{FOLDER}/web-009.qcow2": BASE}
    others = {
        "unmarked": stranger(1, state=draw(st.sampled_from(["running", "stopped", "paused"]))),
        "web2-000": stranger(2, corral={"id": MINION, "pool": "web2", "index": 0}),
        "half-marked": stranger(3, corral={"id": MINION, "pool": "web"}),
        "user": stranger(4, disks=[{"path": left, "format": "qcow2", "bus": "virtio"}]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(others))))
    data["guests"] |= {name: others[name] for name in chosen}
    return current(data)


def _disturb(draw: st.DrawFn, data: dict[str, Any]) -> None:
    for name in list(data["guests"]):
        guest = data["guests"][name]
        match draw(st.sampled_from(["nothing", "stopped", "slow", "gone", "unreserved", "memory"])):
            case "stopped":
                guest["state"] = draw(st.sampled_from(OFF))
            case "slow":
                data["ready"].remove(name)
            case "gone":
                del data["guests"][name]
            case "unreserved":
                macs = [nic["mac"] for nic in guest["nics"]]
                for subnet, theirs in data["reservations"].items():
                    data["reservations"][subnet] = [one for one in theirs if one["mac"] not in macs]
            case "memory":
                guest["memory"] = "32M"


def foreign(now: Current) -> dict[str, Any]:
    """Return all that is on a host and not the pool's."""
    ours = {found.name for found in members(now.host, "web").values()}
    guests = {name: found for name, found in now.host.guests.items() if name not in ours}
    files = {file for found in guests.values() for file in found.files}
    return {"guests": guests, "disks": {path: now.disks[path] for path in files if path in now.disks}}


def others_in(now: Current) -> frozenset[str]:
    """Return the names of a host's guests that are not of the pool."""
    return frozenset(foreign(now)["guests"])


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


@given(disturbed(), declarations, st.sampled_from(["keep", "delete"]))
def test_what_is_not_of_the_pool_is_left_alone(now: Current, data: dict[str, Any], disks: str) -> None:
    before = foreign(now)
    for todo in (
        plan(now, desired(data)),
        plan_stopped(now, stopped(MINION, "web", {})),
        plan_absent(now, absent(MINION, "web", {"disks": disks})),
    ):
        assert foreign(applied(now, todo)) == before
        assert not {step.path[2] for step in todo if step.path[1] == "guests"} & others_in(now)


@given(disturbed(), declarations, st.data())
def test_a_guest_whose_disk_cannot_be_seen_is_never_given_a_new_one(
    now: Current, data: dict[str, Any], choice: st.DataObject
) -> None:
    there = {index: found.name for index, found in members(now.host, "web").items()}
    assume(there)
    hidden = plain(now)
    name = choice.draw(st.sampled_from(sorted(there.values())))
    del hidden["disks"][hidden["guests"][name]["disks"][0]["path"]]
    try:
        todo = plan(current(hidden), desired(data))
    except Refused as refused:
        assert f"pools.web.guests.{name}: it is " in str(refused)
    else:
        assert [step for step in todo if step.path == ("web", "guests", name) and step.removes]


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
    wanted = absent(MINION, "web", {"disks": disks})
    after = applied(now, plan_absent(now, wanted))
    assert plan_absent(after, wanted) == ()
    assert not members(after.host, "web")
    assert not any(after.reservations.values())
    assert after.disks == (now.disks if disks == "keep" else foreign(now)["disks"])


@given(disturbed())
def test_stopped_stops_what_is_on(now: Current) -> None:
    names = {step.path[2] for step in plan_stopped(now, stopped(MINION, "web", {}))}
    assert names == {found.name for found in members(now.host, "web").values() if found.state not in OFF}


@given(declarations)
def test_a_pool_that_is_paused_is_left_alone(data: dict[str, Any]) -> None:
    assert plan(current({}), desired({**data, "paused": True})) == ()


def test_a_run_that_was_cut_off_after_the_disks_and_some_reservations() -> None:
    data = {"replicas": 3, "image": "small", "guest": {"memory": "64M"}, "networks": NETWORKS[:1]}
    done = plain(made(data))
    halfway = current({"disks": done["disks"], "reservations": {"one": done["reservations"]["one"][:2]}})
    todo = plan(halfway, desired(data))
    made_first = [step.path for step in todo if step.creates and len(step.path) == 3]
    assert made_first == [("web", "guests", f"web-00{index}") for index in range(3)]
    assert plan(applied(halfway, todo), desired(data)) == ()


def test_two_guests_that_claim_one_index() -> None:
    data = {"replicas": 1, "image": "small", "guest": {"memory": "64M"}}
    there = plain(made(data))
    there["guests"]["copy"] = {**there["guests"]["web-000"], "uuid": "6f1c4e8e-3a52-5b5e-9d0c-3f8f2e4b7a11"}
    with pytest.raises(Refused, match=r"pools\.web\.guests: .* both say they are index 0"):
        plan(current(there), desired(data))


@pytest.mark.parametrize("planner", [plan_stopped, plan_absent])
def test_a_guest_of_another_minion_is_left_to_it(planner: Any) -> None:
    data = {"replicas": 1, "image": "small", "guest": {"memory": "64M"}}
    there = plain(made(data))
    there["guests"]["web-000"]["corral"] = {"id": "hv2", "pool": "web", "index": 0}
    wanted = (stopped if planner is plan_stopped else absent)(MINION, "web", {})
    with pytest.raises(Refused, match=r"pools\.web\.guests\.web-000: it was made by hv2; "):
        planner(current(there), wanted)

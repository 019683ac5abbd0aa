"""One guard over several states: the address of the host moves from its card to a bridge (S2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from corral.guard import hand, journal
from tests.support import guard_net as net
from tests.support import guard_runs as runs
from tests.support.expect import assert_failed
from tests.support.guard_net import NEAR

BRIDGE = "brt-ovs-g"
PROBES = ["gateway", {"ping": net.BEYOND}]
HOLD = {"within": "5m", "probes": PROBES, "hold": True}
LAST = {"within": "5m"}
SHORT = {"within": "3s"}  # only where it is to run out
SWITCH = {BRIDGE: {"datapath_type": "netdev", "ports": {NEAR: {}}}}
ADDRESSES = [f"{net.HERE}/24", f"{net.HERE6}/64"]
ROUTES = [{"to": "default", "via": net.THERE6}]
OWN: dict[str, Any] = {"addresses": ADDRESSES, "up": True, "gateway": net.THERE, "routes": ROUTES}
GONE: dict[str, Any] = {"addresses": [], "gateway": None, "routes": []}


@pytest.fixture(autouse=True)
def reached(state: Any, switch: ModuleType) -> Iterator[None]:
    """This host reaches others by its card."""
    with net.peer():
        assert state("link.managed", NEAR, **OWN)["result"] is True
        assert net.reached() and net.reached(net.BEYOND) and net.reached(net.THERE6)
        yield
        runs.watchdog_ended()
        hand.recover(False)


def look(switch: ModuleType) -> Any:
    """Return what a move could move, but for what counts writes."""
    return {**switch.configuration(), "next_cfg": 0}, net.network(NEAR)


def begin(state: Any, hold: dict[str, Any] = HOLD) -> None:
    """Do the first two of three states, after which the host is cut off."""
    first = state("ovs.switch_managed", "switch", bridges=SWITCH, guard=hold)
    assert first["result"] is True, first
    assert state("link.managed", NEAR, guard=hold, **GONE)["result"] is True
    armed = hand.status()["armed"]
    assert (armed["name"], armed["products"]) == (f"switch, {NEAR}", ["ovs", "link"])
    assert armed["watched"] is True
    assert not net.reached()


def test_the_address_moves_under_one_guard(state: Any, switch: ModuleType) -> None:
    preview = state("ovs.switch_managed", "switch", test=True, bridges=SWITCH, guard=HOLD)
    assert "would be made under a guard that is held until gateway" in preview["comment"]
    assert journal.read() is None
    begin(state)
    last = state("link.managed", BRIDGE, guard=LAST, **OWN)
    assert last["result"] is True, last
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()
    assert net.reached() and net.reached(net.BEYOND) and net.reached(net.THERE6)
    for function, name, declared in (
        ("ovs.switch_managed", "switch", {"bridges": SWITCH}),
        ("link.managed", NEAR, GONE),
        ("link.managed", BRIDGE, OWN),
    ):
        again = state(function, name, guard=HOLD, **declared)
        assert (again["result"], again["changes"]) == (True, {}), again
    assert journal.read() is None, "what changes nothing arms nothing"


@pytest.mark.parametrize(
    ("name", "declared", "sentence"),
    [
        (BRIDGE, {**OWN, "gateway": "192.0.2.66"}, "did not answer within 3 s."),
        (
            "brt-none",
            OWN,
            "links.brt-none: there is no such link on this host. The change was reverted: what was",
        ),
    ],
    ids=["another gateway", "a link that is not there"],
)
def test_all_is_reverted_when_the_last_is_wrong(
    state: Any, switch: ModuleType, name: str, declared: dict[str, Any], sentence: str
) -> None:
    before = look(switch)
    begin(state)
    answer = state("link.managed", name, guard=SHORT, **declared)
    assert_failed(answer, "The change was reverted: ", sentence)
    assert "Even so" not in answer["comment"], answer["comment"]
    assert look(switch) == before
    assert net.reached() and net.reached(net.BEYOND) and net.reached(net.THERE6)
    runs.nothing_is_armed()


def test_a_last_state_with_nothing_to_do_ends_the_guard_too(state: Any, switch: ModuleType) -> None:
    harmless = {BRIDGE: {"datapath_type": "netdev"}}
    assert state("ovs.switch_managed", "switch", bridges=harmless, guard=HOLD)["result"] is True
    last = state("link.managed", NEAR, guard=LAST, **OWN)
    assert (last["result"], last["changes"]) == (True, {}), last
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()


def test_what_has_no_guard_is_refused_while_one_is_held(state: Any, switch: ModuleType) -> None:
    before = look(switch)
    begin(state)
    answer = state("link.managed", "lo", mtu=65000)
    assert_failed(answer, f"guard: switch, {NEAR} holds a guard for what follows: declare one here as well.")
    assert hand.revert().startswith(f"switch, {NEAR} is reverted")
    assert look(switch) == before


def test_a_run_that_ends_before_the_last_state_is_reverted(switch: ModuleType) -> None:
    before = look(switch)
    with runs.run("ovs", "switch", SWITCH, {**HOLD, "within": "15s"}) as child:
        answer = runs.answer(child)
    assert answer is not None and answer["result"] is True, answer
    runs.watchdog_ended()
    assert look(switch) == before
    assert runs.outcome() == "reverted"
    runs.nothing_is_armed()


def test_a_held_guard_that_nobody_ends_is_reverted_in_time(state: Any, switch: ModuleType) -> None:
    before = look(switch)
    begin(state, {**HOLD, "within": "15s"})
    runs.reverted()
    assert look(switch) == before
    answer = state("link.managed", BRIDGE, guard=LAST, **OWN)
    assert_failed(answer, "guard: what goes before this was reverted: nobody has said within 15 s that")
    runs.nothing_is_armed()

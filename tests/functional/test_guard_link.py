"""A guarded change of a link, with somebody real to be reached and processes that are killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.converge import converge
from corral.guard import hand, journal, watchdog
from corral.link.model import Link
from corral.link.plan import plan
from corral.link.wire import Netlink
from tests.support import guard_net as net
from tests.support import guard_runs as runs
from tests.support.expect import assert_failed
from tests.support.guard_net import NEAR

GUARD = {"within": "3s", "probes": ["gateway"]}
LONG = {"within": "5m", "probes": ["gateway"]}
CUT_OFF = {"up": False}
OTHERS = {"addresses": ["203.0.113.7/24"], "mtu": 1400}  # of no harm


@pytest.fixture(autouse=True)
def reached() -> Iterator[None]:
    """This host with a way out, on which it depends."""
    with net.peer():
        net.settle(NEAR)
        assert net.reached() and net.reached(net.BEYOND) and net.reached(net.THERE6)
        yield
        runs.watchdog_ended()
        hand.recover(False)


def test_a_change_that_leaves_the_host_reached_is_kept(state: Any) -> None:
    preview = state("link.managed", NEAR, test=True, guard=True, **OTHERS)
    assert preview["result"] is None
    assert preview["comment"] == (
        f"2 changes would be made and reverted unless gateway {net.THERE}, gateway {net.THERE6} answer"
        f" within 30 s."
    )
    assert journal.read() is None and not journal.watchdog()
    answer = state("link.managed", NEAR, guard=True, **OTHERS)
    assert answer["result"] is True, answer
    assert answer["changes"] == preview["changes"]
    assert runs.outcome() == "kept"
    runs.nothing_is_armed()
    again = state("link.managed", NEAR, guard=True, **OTHERS)
    assert (again["result"], again["changes"]) == (True, {})


@pytest.mark.parametrize(
    "declared",
    [CUT_OFF, {"mtu": 1300, **CUT_OFF}, {"addresses": [f"{net.THERE}/32"]}],
    ids=["down", "down and mtu", "the address of the other"],
)
def test_a_change_that_cuts_the_host_off_is_reverted(state: Any, declared: dict[str, Any]) -> None:
    """With all that Linux takes along: labels, routes, the addresses of IPv6."""
    before = net.network(NEAR)
    answer = state("link.managed", NEAR, guard=GUARD, **declared)
    assert_failed(answer, "The change was reverted: gateway ", "did not answer within 3 s.")
    assert "Even so" not in answer["comment"]
    assert net.network(NEAR) == before
    assert net.reached() and net.reached(net.BEYOND) and net.reached(net.THERE6)
    assert runs.outcome() == "reverted"
    runs.nothing_is_armed()


def test_what_was_ours_is_ours_again(state: Any) -> None:
    assert state("link.managed", NEAR, addresses=["203.0.113.7/24"])["result"] is True
    before = net.network(NEAR)
    answer = state("link.managed", NEAR, guard=GUARD, addresses=[], **CUT_OFF)
    assert_failed(answer, "The change was reverted")
    assert net.network(NEAR) == before
    assert list(state("link.managed", NEAR, addresses=[])["changes"]) == [f"{NEAR}.addresses.203.0.113.7/24"]


def test_what_others_add_meanwhile_stays(state: Any) -> None:
    with runs.run("link", NEAR, CUT_OFF | OTHERS, LONG, held=True) as child:
        runs.applied(child)
        net.ip("address", "add", "203.0.113.99/24", "dev", NEAR)
        child.kill()
        child.wait()
        runs.watchdog_ended()
    found = [one["local"] for one in net.network(NEAR)[0]]
    assert sorted(found) == sorted([net.HERE, net.HERE6, "203.0.113.99"])


@pytest.mark.parametrize(
    ("guard", "sentence"),
    [
        (
            {"probes": ["gateway", {"ping": "192.0.2.77"}]},
            "guard.probes[1].ping: 192.0.2.77 does not answer before the change.",
        ),
        (
            {"probes": [{"tcp": f"{net.THERE}:22"}]},
            f"guard.probes[0].tcp: {net.THERE}:22 does not answer before the change.",
        ),
        (
            {"probes": ["salt_master"]},
            "guard.probes[0]: no Salt master of this minion can be reached before the change.",
        ),
    ],
    ids=["ping", "tcp", "salt_master"],
)
def test_who_does_not_answer_before_the_change_is_told(state: Any, guard: Any, sentence: str) -> None:
    before = net.network(NEAR)
    assert_failed(state("link.managed", NEAR, guard=guard, **OTHERS), sentence)
    preview = state("link.managed", NEAR, test=True, guard=guard, **OTHERS)
    assert preview["result"] is None
    assert f"A run now would be refused: {sentence}" in preview["comment"]
    assert net.network(NEAR) == before
    assert journal.read() is None


def test_without_anybody_to_ask_there_is_no_guard(state: Any) -> None:
    net.ip("route", "delete", "default")
    net.ip("-6", "route", "delete", "default")
    before = net.network(NEAR)
    answer = state("link.managed", NEAR, guard=True, **OTHERS)
    assert_failed(answer, "guard: neither a default gateway nor a Salt master answers this host")
    assert net.network(NEAR) == before


def test_a_gateway_that_answers_no_ping_is_asked_by_arp(state: Any) -> None:
    net.there("-6", "address", "delete", f"{net.THERE6}/64", "dev", net.FAR)
    net.mute()
    preview = state("link.managed", NEAR, test=True, guard=True, **CUT_OFF)
    assert f"unless gateway {net.THERE} answer" in preview["comment"]
    assert state("link.managed", NEAR, guard=LONG, **OTHERS)["result"] is True
    assert_failed(state("link.managed", NEAR, guard=GUARD, **CUT_OFF), f"gateway {net.THERE} did not answer")


def test_the_way_out_is_part_of_a_gateway(state: Any) -> None:
    """A neighbour that answers is no gateway any more when no route leads by way of it."""
    answer = state("link.managed", NEAR, guard={"within": 3, "probes": ["gateway"]}, addresses=None, up=False)
    assert_failed(answer, "The change was reverted")
    assert net.reached(net.BEYOND)


def test_a_killed_run_is_reverted_at_once() -> None:
    before = net.network(NEAR)
    with runs.run("link", NEAR, CUT_OFF | OTHERS, LONG, held=True) as child:
        runs.applied(child)
        assert net.network(NEAR) != before
        child.kill()
        child.wait()
        runs.watchdog_ended()
    assert net.network(NEAR) == before
    assert net.reached(net.BEYOND)
    assert runs.outcome() == "reverted"
    runs.nothing_is_armed()


def test_nothing_of_salt_is_needed_any_more_to_revert(tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(runs.REPO / "_utils", tmp_path / "synced")
    monkeypatch.setenv("CORRAL_FROM", str(tmp_path / "synced"))
    before = net.network(NEAR)
    with runs.run("link", NEAR, CUT_OFF, LONG, held=True) as child:
        runs.applied(child)
        shutil.rmtree(tmp_path / "synced")
        child.kill()
        child.wait()
        runs.watchdog_ended()
    assert net.network(NEAR) == before


def test_a_run_that_hangs_is_reverted_in_time_and_told_so() -> None:
    before = net.network(NEAR)
    with runs.run("link", NEAR, CUT_OFF, GUARD, held=True) as child:
        runs.applied(child)
        os.kill(child.pid, signal.SIGSTOP)
        net.wait_up(NEAR)
        assert net.network(NEAR) == before
        os.kill(child.pid, signal.SIGCONT)
        answer = runs.answer(child)
    assert answer is not None
    assert_failed(
        answer, "The change was reverted: nobody has said within 3 s that the host is still reached."
    )
    assert net.network(NEAR) == before
    runs.nothing_is_armed()


def killed_with_its_watchdog(declared: dict[str, Any]) -> None:
    with runs.run("link", NEAR, declared, LONG, held=True) as child:
        runs.applied(child)
        os.kill(runs.watched(), signal.SIGKILL)
        runs.watchdog_ended()
        child.kill()


def test_the_next_run_of_any_product_reverts_what_a_killed_watchdog_has_left(state: Any) -> None:
    before = net.network(NEAR)
    killed_with_its_watchdog(CUT_OFF | OTHERS)
    assert net.network(NEAR) != before
    preview = state("dhcp.subnet_absent", "guard-none", test=True)
    assert preview["result"] is True
    assert journal.read() is not None, "a preview reverts nothing"
    assert state("dhcp.subnet_absent", "guard-none")["result"] is True
    assert net.network(NEAR) == before
    runs.nothing_is_armed()


def test_nothing_is_changed_beside_an_armed_guard(state: Any) -> None:
    with runs.run("link", NEAR, OTHERS, LONG, held=True) as child:
        runs.applied(child)
        answer = state("link.managed", "lo", mtu=65000)
        assert_failed(answer, f"guard: {NEAR} (process {child.pid}) is being changed under a guard")
        assert_failed(state("link.managed", "lo", mtu=65000, guard=True), "is being changed under a guard")
        assert state("dhcp.subnet_absent", "guard-none")["result"] is True
        assert child.stdin is not None
        print(file=child.stdin, flush=True)
        answer = runs.answer(child)
    assert answer is not None and answer["result"] is True, answer
    runs.nothing_is_armed()


def test_by_hand(state: Any, salt: Any) -> None:
    assert salt.cmd("guard.status")["armed"] is None
    before = net.network(NEAR)
    with runs.run("link", NEAR, OTHERS, LONG, held=True) as child:
        runs.applied(child)
        armed = salt.cmd("guard.status")["armed"]
        assert 200 < armed.pop("left") <= 300
        assert armed == {
            "name": NEAR,
            "products": ["link"],
            "probes": [f"gateway {net.THERE}", f"gateway {net.THERE6}"],
            "within": 300,
            "process": child.pid,
            "running": True,
            "watched": True,
        }
        assert salt.cmd("guard.revert") == f"{NEAR} is reverted: by hand."
        assert net.network(NEAR) == before
        assert child.stdin is not None
        print(file=child.stdin, flush=True)
        answer = runs.answer(child)
    assert answer is not None
    assert_failed(answer, "The change was reverted: by hand.")
    last = salt.cmd("guard.status")["last"]
    assert (last["name"], last["outcome"], last["why"]) == (NEAR, "reverted", "by hand.")
    for function in ("guard.revert", "guard.confirm"):
        with pytest.raises(Exception, match=hand.NONE):
            salt.cmd(function)


def test_confirmed_by_hand_is_kept_whatever_the_probes_say(salt: Any) -> None:
    with runs.run("link", NEAR, CUT_OFF, LONG, held=True) as child:
        runs.applied(child)
        assert salt.cmd("guard.confirm") == f"{NEAR} is kept as it is."
        assert child.stdin is not None
        print(file=child.stdin, flush=True)
        answer = runs.answer(child)
    assert answer is not None and answer["result"] is True, answer
    assert list(answer["changes"]) == [f"{NEAR}.up"]
    assert runs.outcome() == "confirmed"


def test_killed_at_any_call_the_next_run_ends_right(state: Any) -> None:
    """Before the journal, with it and no watchdog, armed, changed, probing, disarming."""
    before = net.network(NEAR)
    step, answer = 1 - runs.STRIDE, None
    while answer is None:
        step += runs.STRIDE
        with runs.run("link", NEAR, OTHERS, LONG, at=step) as child:
            answer = runs.answer(child)
        runs.watchdog_ended()
        if answer is None:
            kept = runs.outcome() == "kept" and net.network(NEAR) != before
            assert kept or journal.read() is not None or net.network(NEAR) == before, step
        assert state("link.managed", NEAR, **OTHERS)["result"] is True, step
        runs.nothing_is_armed()
        state("link.managed", NEAR, addresses=None, mtu=1500)
        assert net.network(NEAR) == before, step
    assert answer["result"] is True
    assert step > answer["calls"] > 20


def test_killed_at_any_call_while_it_is_reverted() -> None:
    before = net.network(NEAR)
    step, answer = 1 - runs.STRIDE, None
    while answer is None:
        step += runs.STRIDE
        killed_with_its_watchdog(CUT_OFF | OTHERS)
        with runs.run("recover", "", {}, at=step) as child:
            answer = runs.answer(child)
        with runs.run("recover", "", {}) as child:
            assert runs.answer(child) is not None
        assert net.network(NEAR) == before, step
        runs.nothing_is_armed()
    assert step > answer["calls"] > 10


def test_a_link_in_a_network_namespace_is_not_guarded() -> None:
    answer = converge(
        NEAR,
        {"local": True},
        declare=lambda: Link.declare({"name": NEAR, "namespace": net.SPACE}, at=f"links.{NEAR}"),
        wire=Netlink,
        plan=plan,
        guard=GUARD,
    )
    assert_failed(
        answer, f"guard: links.{NEAR} is to be in a network namespace, where no guard can follow it."
    )


def test_a_wrong_guard_touches_nothing(state: Any) -> None:
    before = net.network(NEAR)
    for test in (True, False):
        answer = state(
            "link.managed", NEAR, test=test, guard={"probes": ["gateway", {"ping": "x"}]}, **OTHERS
        )
        assert_failed(answer, "guard.probes[1].ping: 'x' is not an IP address")
    assert net.network(NEAR) == before


def test_the_masters_of_a_minion_are_asked_by_tcp() -> None:
    def managed(**declared: Any) -> dict[str, Any]:
        return converge(
            NEAR,
            {"master": ["192.0.2.77", net.THERE], "file_client": "remote"},
            declare=lambda: Link.declare({"name": NEAR, **declared}, at=f"links.{NEAR}"),
            wire=Netlink,
            plan=plan,
            guard={"within": 3, "probes": ["salt_master"]},
        )

    with net.listening(4506):
        assert managed(**OTHERS)["result"] is True
        said = f"The change was reverted: salt_master {net.THERE}:4506 did not answer within 3 s."
        assert_failed(managed(**CUT_OFF), said)
    assert_failed(managed(**CUT_OFF), "guard.probes[0]: no Salt master of this minion can be reached")


def test_routes_lead_back(state: Any) -> None:
    """A better route by way of nobody: the neighbour still answers, but it is no way out any more."""
    before = net.network(NEAR)
    answer = state("link.managed", NEAR, guard=GUARD, gateway="192.0.2.66", mtu=1400)
    assert_failed(answer, "The change was reverted: gateway ")
    assert net.network(NEAR) == before
    net.there("address", "add", "192.0.2.10/24", "dev", net.FAR)
    other = state("link.managed", NEAR, guard=LONG, gateway="192.0.2.10")
    assert other["result"] is True, "another gateway that answers is as good"
    assert state("link.managed", NEAR, gateway=None)["result"] is True
    routes = [{"to": "203.0.113.0/24", "via": net.THERE}]
    kept = state("link.managed", NEAR, guard=LONG, routes=routes)
    assert kept["result"] is True, kept
    before = net.network(NEAR)
    answer = state("link.managed", NEAR, guard=GUARD, routes=[], **CUT_OFF)
    assert_failed(answer, "The change was reverted: gateway ")
    assert net.network(NEAR) == before
    assert list(state("link.managed", NEAR, routes=[])["changes"]) == [f"{NEAR}.routes.203.0.113.0/24"]


@pytest.fixture
def kept() -> Iterator[Path]:
    """The file by which networkd brings the link up at boot, while it is on this host."""
    file = Path(f"/etc/systemd/network/00-corral-{NEAR}.network")
    state = Path("/run/systemd/netif/state")
    state.parent.mkdir(parents=True)
    state.touch()
    yield file
    file.unlink(missing_ok=True)
    shutil.rmtree("/run/systemd")


def test_the_files_of_the_distribution_lead_back_too(state: Any, kept: Path) -> None:
    answer = state("link.managed", NEAR, guard=GUARD, persist="networkd", **CUT_OFF)
    assert_failed(answer, "The change was reverted")
    assert not kept.exists()
    assert state("link.managed", NEAR, persist="networkd", mtu=1500)["result"] is True
    before = kept.read_text()
    answer = state("link.managed", NEAR, guard=GUARD, persist="networkd", mtu=1400, **CUT_OFF)
    assert_failed(answer, "The change was reverted")
    assert kept.read_text() == before


def test_after_a_reboot_files_lead_back_before_the_network_is_set_up(
    state: Any, kept: Path, tmp_path: Path
) -> None:
    assert state("link.managed", NEAR, persist="networkd", mtu=1500)["result"] is True
    before = kept.read_text()
    killed_with_its_watchdog({**CUT_OFF, **OTHERS, "persist": "networkd"})
    assert kept.read_text() != before
    with runs.another_boot(tmp_path):
        assert runs.at_boot("corral-guard-early.service") == ""
        assert kept.read_text() == before
        assert runs.outcome() == "reverted"
        assert runs.at_boot("corral-guard.service") == ""
    runs.nothing_is_armed()


def test_without_a_watchdog_nothing_is_changed(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "PROGRAM", Path("/nowhere/program.py"))
    before = net.network(NEAR)
    assert_failed(state("link.managed", NEAR, guard=LONG, **OTHERS), "The watchdog was not ready")
    assert net.network(NEAR) == before
    assert journal.read() is None

"""Killed at any moment: the next run ends right, and nothing half done is taken for done."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from corral.converge import converge
from corral.dhcp import files, paths, wire
from corral.dhcp.model import Reservation, Subnet
from corral.dhcp.plan import Absent, plan, plan_absent
from tests.support.dhcp_net import DECLARED, NET, ONE, TWO, Ask, seen, serving

pytest_plugins = ["tests.support.dhcp_clients"]

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir", "subprocess.Popen"}
OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_DIRECTORY  # a folder is opened to sync it
CHANGES: dict[str, tuple[Any, Any]] = {
    "made": (None, {**DECLARED, "reservations": [ONE]}),
    "changed": ({**DECLARED, "reservations": [ONE]}, {**DECLARED, "domain": "b.test", "reservations": [TWO]}),
    "only reservations": ({**DECLARED, "reservations": [ONE]}, {**DECLARED, "reservations": [TWO]}),
}


def declared(data: dict[str, Any]) -> Subnet:
    return Subnet.declare({**data, "name": NET}, f"dhcp.{NET}")


def managed(data: dict[str, Any]) -> dict[str, Any]:
    return converge(NET, {}, declare=lambda: declared(data), wire=wire.Dnsmasq, plan=plan)


def absent() -> dict[str, Any]:
    return converge(NET, {}, declare=lambda: Absent(name=NET), wire=wire.Removal, plan=plan_absent)


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run *act* in a process that is killed right before its write number *step*; False: it has fewer."""
    child = os.fork()
    if child == 0:
        left = [step]

        def hook(event: str, arguments: Any) -> None:
            if event in WRITES or (event == "open" and arguments[2] & OPENED_TO_WRITE):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("case", CHANGES)
def test_killed_while_it_is_managed(ask: Ask, case: str) -> None:
    before, after = CHANGES[case]
    step = 1
    while True:
        assert absent()["result"] is True
        if before:
            assert managed(before)["result"] is True
        if not killed_at(step, lambda: managed(after)):
            break
        answer = managed(after)
        assert answer["result"] is True, (step, answer)
        now = wire.look(NET)
        assert (now.running, now.own) == (True, declared(after).reservations), step
        assert managed(after)["changes"] == {}, step
        assert not [str(left) for place in (paths.CONFIG, paths.hosts(NET)) for left in place.glob(".*")], (
            step
        )
        if case == "only reservations":
            assert ask(TWO["mac"])["ip"] == TWO["address"], step
        step += 1
    assert step > 10, "the hook saw hardly a write"


def test_killed_while_it_is_removed(bridge: str) -> None:
    step = 1
    while True:
        assert managed({**DECLARED, "reservations": [ONE]})["result"] is True
        if not killed_at(step, absent):
            break
        assert absent()["result"] is True, step
        assert wire.look(NET).fields is None, step
        assert not any(place(NET).exists() for place in (paths.config, paths.state, paths.run)), step
        step += 1
    assert step > 5, "the hook saw hardly a write"


def test_a_reservation_that_dnsmasq_has_not_read_shows(ask: Ask) -> None:
    """Killed between the write and the signal: even going back to what was before is something to do."""
    assert managed(DECLARED)["result"] is True
    mine, other = (Reservation.declare(one) for one in (ONE, TWO))
    wire.write_reservations(NET, "web", [mine])
    seen()  # until dnsmasq has read that
    assert files.reserve(NET, "web", [other], serving())
    doubtful = wire.read_reservations(NET, "web")
    unread = "(not read by dnsmasq yet)"
    assert [(one.mac, one.name) for one in doubtful] == [(mine.mac, unread), (other.mac, unread)]
    assert ask(other.mac)["ip"] != other.address
    wire.write_reservations(NET, "web", [mine])
    assert wire.read_reservations(NET, "web") == (mine,)
    assert ask(mine.mac)["ip"] == mine.address

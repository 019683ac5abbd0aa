"""Killed at any moment: the next run ends right, and nothing half done is taken for done."""

from __future__ import annotations

from typing import Any

import pytest

from corral.converge import converge
from corral.dhcp import files, paths, wire
from corral.dhcp.model import Reservation, Subnet
from corral.dhcp.plan import Absent, plan, plan_absent
from corral.errors import Refused
from tests.support.dhcp_kills import killed_at
from tests.support.dhcp_net import DECLARED, NET, ONE, TWO, Ask, has_read, serving

pytest_plugins = ["tests.support.dhcp_clients"]

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
    has_read()
    assert files.reserve(NET, "web", [other], serving())
    doubtful = wire.read_reservations(NET, "web")
    unread = "(not read by dnsmasq yet)"
    assert [(one.mac, one.name) for one in doubtful] == [(mine.mac, unread), (other.mac, unread)]
    assert ask(other.mac)["ip"] != other.address
    wire.write_reservations(NET, "web", [mine])
    assert wire.read_reservations(NET, "web") == (mine,)
    assert ask(mine.mac)["ip"] == mine.address


@pytest.fixture
def unread(bridge: str) -> tuple[Reservation, ...]:
    """What a pool has on disk while dnsmasq has read something else about both of its guests."""
    assert managed(DECLARED)["result"] is True
    wire.write_reservations(NET, "web", map(Reservation.declare, (ONE, TWO)))
    has_read()
    moved = tuple(Reservation.declare({**one, "address": one["address"] + "1"}) for one in (ONE, TWO))
    assert files.reserve(NET, "web", moved, serving())
    return moved


def test_a_pool_killed_before_dnsmasq_has_read_it_is_in_nobodys_way(unread: Any) -> None:
    answer = managed({**DECLARED, "domain": "b.test"})
    assert answer["result"] is True, answer
    assert wire.read_reservations(NET, "web") == unread


def test_what_is_written_is_taken_read_or_not(unread: Any) -> None:
    mine = Reservation.declare({"mac": "52:60:2f:71:00:03", "address": unread[0].address})
    with pytest.raises(Refused, match=rf"{mine.address} is already reserved for {unread[0].mac} by 'web'"):
        wire.write_reservations(NET, "db", [mine])
    answer = managed({**DECLARED, "reservations": [mine.model_dump()]})
    assert f"web[0].address: {mine.address} is already reserved for {mine.mac}" in answer["comment"]
    wire.write_reservations(NET, "db", [mine.model_copy(update={"address": ONE["address"]})])


def test_what_a_pool_gave_up_is_in_no_removals_way(bridge: str) -> None:
    assert managed(DECLARED)["result"] is True
    wire.write_reservations(NET, "web", [Reservation.declare(ONE)])
    assert files.reserve(NET, "web", [], serving())
    assert absent()["result"] is True


def test_a_run_that_had_nothing_read_does_not_say_so(unread: Any) -> None:
    """Another run may have done what was left to do; what a third one left unread stays marked."""
    desired = declared({**DECLARED, "reservations": []})
    current = wire.look(NET)
    wire.Dnsmasq(desired).apply((), current, desired)
    assert wire.read_reservations(NET, "web") != unread

"""dnsmasq kept as declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corral.dhcp import paths, process, wire
from corral.dhcp.model import Reservation
from tests.support.dhcp_net import (
    BRIDGE,
    DECLARED,
    NET,
    ONE,
    TWO,
    Ask,
    kill,
    make_bridge,
    seen,
    serving,
    sh,
)
from tests.support.expect import assert_failed

pytest_plugins = ["tests.support.dhcp_clients"]

State = Callable[..., dict[str, Any]]
ENDS: list[Callable[[process.Process], None]] = [kill, process.end]


def edit(old: str, new: str) -> None:
    file = paths.config(NET)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_four_ways(four_ways: State, bridge: str) -> None:
    made = four_ways(
        "dhcp.subnet_managed",
        NET,
        look=seen,
        disturb=lambda: edit("10.71.0.199", "10.71.0.150"),
        drift={
            f"{NET}.range": {"old": "10.71.0.100-10.71.0.150", "new": DECLARED["range"]},
            f"{NET}.running": {"old": "with another configuration", "new": True},
        },
        **DECLARED,
        reservations=[ONE],
    )
    assert made == {NET: {"old": None, "new": {**DECLARED, "lease_time": 3600, "reservations": [ONE]}}}


@pytest.mark.parametrize("end", ENDS)
def test_dnsmasq_ended_behind_our_back(four_ways: State, bridge: str, end: Any) -> None:
    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=seen,
        disturb=lambda: end(serving()),
        drift={f"{NET}.running": {"old": False, "new": True}},
        **DECLARED,
    )


def test_a_reservation_taken_out_behind_our_back(four_ways: State, bridge: str) -> None:
    def disturb() -> None:
        wire.write_reservations(NET, "_declared", [Reservation.declare(ONE)])

    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=seen,
        disturb=disturb,
        drift={f"{NET}.reservations.{TWO['mac']}": {"old": None, "new": _value(TWO)}},
        **DECLARED,
        reservations=[ONE, TWO],
    )


def _value(one: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in one.items() if key != "mac"}


def test_a_line_that_is_not_ours_and_one_that_is_missing(four_ways: State, bridge: str) -> None:
    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=seen,
        disturb=lambda: edit("dhcp-authoritative\n", "log-dhcp\n"),
        drift={
            f"{NET}.lines": {"old": ["log-dhcp"], "new": ["dhcp-authoritative"]},
            f"{NET}.running": {"old": "with another configuration", "new": True},
        },
        **DECLARED,
    )


def test_a_device_made_anew_is_served_again(four_ways: State, ask: Ask) -> None:
    def disturb() -> None:
        sh("ip", "link", "delete", BRIDGE)
        make_bridge()
        assert ask(ONE["mac"], tries=1) == {}, "dnsmasq answers on the new device by itself"

    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=seen,
        disturb=disturb,
        drift={f"{NET}.running": {"old": "on a device that is gone", "new": True}},
        **DECLARED,
    )
    assert ask(ONE["mac"])["ip"]


def test_absent_four_ways(state: State, four_ways: State, bridge: str) -> None:
    def again() -> None:
        assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True

    again()
    four_ways(
        "dhcp.subnet_absent",
        NET,
        look=seen,
        disturb=again,
        drift={NET: {"old": {**DECLARED, "lease_time": 3600}, "new": None}},
    )
    assert process.find(NET) is None
    assert not any(place(NET).exists() for place in (paths.config, paths.state, paths.run))


def test_absent_is_refused_while_a_pool_has_reservations(state: State, bridge: str) -> None:
    state("dhcp.subnet_managed", NET, **DECLARED)
    wire.write_reservations(NET, "web", [Reservation.declare(ONE)])
    before = seen()
    assert_failed(state("dhcp.subnet_absent", NET), "dhcp.tdhcp: 'web' still has reservations in it.")
    assert seen() == before


def test_what_is_not_mentioned_stays_and_null_goes(state: State, bridge: str) -> None:
    needed = {"interface": BRIDGE, "network": DECLARED["network"]}
    full = {**DECLARED, "lease_time": "2h", "options": {"ntp-server": ["10.71.0.1"]}, "reservations": [ONE]}
    state("dhcp.subnet_managed", NET, **full)
    before = seen()
    less = state("dhcp.subnet_managed", NET, **needed)
    assert (less["result"], less["changes"]) == (True, {})
    assert seen() == before
    gone = state(
        "dhcp.subnet_managed", NET, **needed, router=None, lease_time=None, options=None, reservations=None
    )
    assert gone["result"] is True, gone
    assert gone["changes"] == {
        f"{NET}.router": {"old": "10.71.0.1", "new": None},
        f"{NET}.lease_time": {"old": 7200, "new": 3600},
        f"{NET}.options": {"old": {"ntp-server": ["10.71.0.1"]}, "new": None},
        f"{NET}.reservations.{ONE['mac']}": {"old": _value(ONE), "new": None},
    }
    shown = wire.look(NET)
    assert shown.running is True and shown.own == ()


def test_one_option_goes_by_null(state: State, bridge: str) -> None:
    both = {"options": {"ntp-server": "10.71.0.1", 66: "boot.test"}}
    state("dhcp.subnet_managed", NET, **DECLARED, **both)
    gone = state("dhcp.subnet_managed", NET, **DECLARED, options={**both["options"], 66: None})
    assert gone["result"] is True, gone
    left = {"ntp-server": ["10.71.0.1"]}
    assert gone["changes"] == {f"{NET}.options": {"old": {**left, "66": ["boot.test"]}, "new": left}}
    assert "boot.test" not in paths.config(NET).read_text()


def test_only_reservations_changed_does_not_restart(state: State, bridge: str) -> None:
    state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])
    before = serving()
    changed = state(
        "dhcp.subnet_managed", NET, **DECLARED, reservations=[{**ONE, "address": "10.71.0.21"}, TWO]
    )
    assert sorted(changed["changes"]) == [f"{NET}.reservations.{one['mac']}" for one in (ONE, TWO)]
    assert serving() == before


def test_show(state: State, salt: Any, bridge: str) -> None:
    assert salt.cmd("dhcp.show") == {}
    state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])
    wire.write_reservations(NET, "web", [Reservation.declare(TWO)])
    whole = {
        **DECLARED,
        "lease_time": 3600,
        "reservations": [ONE],
        "reserved_by": {"web": [TWO]},
        "running": True,
    }
    assert salt.cmd("dhcp.show") == {NET: whole}
    assert salt.cmd("dhcp.show", NET) == {NET: whole}
    assert salt.cmd("dhcp.leases", NET) == []


@pytest.mark.parametrize(
    "asked", [("show",), ("leases",), ("release", ONE["mac"])], ids=lambda words: words[0]
)
@pytest.mark.parametrize("name", ["typo", "../tdhcp", f"../dhcp/{NET}"])
def test_a_subnet_that_is_not_there(state: State, salt: Any, bridge: str, asked: Any, name: str) -> None:
    state("dhcp.subnet_managed", NET, **DECLARED)
    function, *words = asked
    with pytest.raises(CommandExecutionError) as refused:
        salt.cmd(f"dhcp.{function}", name, *words)
    assert str(refused.value) == f"dhcp.{name}: there is no such subnet on this host."

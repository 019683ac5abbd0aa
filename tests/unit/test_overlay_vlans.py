"""Local VLANs: each network keeps its own, and takes nobody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.errors import Refused
from corral.overlay.vlans import allocate, kept

NAMES = st.sampled_from(["blue", "red", "green", "web.a", "b-1"])
VLANS = st.integers(1, 9)


def test_new_networks_take_the_lowest_that_are_free() -> None:
    assert allocate(["blue", "red"], {}, {1, 3}) == {"blue": 2, "red": 4}


def test_a_network_keeps_what_it_has_while_others_come_and_go() -> None:
    first = allocate(["blue", "red"], {}, ())
    assert first == {"blue": 1, "red": 2}
    second = allocate(["red", "green"], first, ())
    assert second == {"red": 2, "green": 3}, "the VLAN of blue is not given away in the run that frees it"
    assert allocate(["blue", "green", "red"], second, ()) == {"blue": 1, "green": 3, "red": 2}


def test_of_two_networks_with_one_vlan_the_first_keeps_it() -> None:
    assert allocate(["blue", "red"], {"blue": 5, "red": 5}, ()) == {"blue": 5, "red": 1}


def test_what_is_written_down_is_read_again() -> None:
    ids = {"corral-vlan-blue": "5", "corral-vlan-web.a": "4094", "corral-mtu": "1450", "bridge-id": "br-int"}
    assert kept(ids) == {"blue": 5, "web.a": 4094}
    assert (
        kept({"corral-vlan-a": "0", "corral-vlan-b": "4095", "corral-vlan-c": "x", "corral-vlan-d": ""}) == {}
    )


def test_no_vlan_left() -> None:
    with pytest.raises(Refused) as raised:
        allocate(["blue"], {}, set(range(1, 4095)) - {7} | {7})
    assert str(raised.value) == "networks.blue: this host has no VLAN left for it (of 1–4094)."


@given(st.lists(NAMES, unique=True), st.dictionaries(NAMES, VLANS), st.sets(VLANS))
def test_an_allocation_holds(wanted: list[str], held: dict[str, int], used: set[int]) -> None:
    chosen = allocate(wanted, held, used - set(held.values()))
    assert list(chosen) == wanted
    assert len(set(chosen.values())) == len(wanted), "each network has its own"
    fresh = {vlan for name, vlan in chosen.items() if held.get(name) != vlan}
    assert not fresh & (used | set(held.values())), "nobody else's is taken"
    assert allocate(wanted, chosen, used) == chosen, "and the next run changes nothing"

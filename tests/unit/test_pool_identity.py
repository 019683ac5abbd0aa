"""Names, UUIDs, MAC addresses and addresses of a pool's guests."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from corral.errors import Refused
from corral.kinds import Mac
from corral.pool.identity import ATTEMPTS, address, assign, computed
from corral.pool.names import Names, letter

MAC = TypeAdapter(Mac)
PREFIXES = ("52:60:2f", "52:54:00")
words = st.text(min_size=1, max_size=12)
indexes = st.sets(st.integers(0, 500), max_size=60)


def test_identity_never_changes() -> None:
    """S0.3: these values are in people's DHCP configurations; another algorithm would be another herd."""
    identity = computed("hv1.example", "web", 7, PREFIXES)
    assert identity.uuid == "b7ca3840-cad5-53c0-b1ae-ed208a97f791"
    assert identity.macs == ("52:60:2f:13:9a:a6", "52:54:00:76:c6:35")


@given(words, words, indexes)
def test_identity_is_unique_in_a_pool(minion: str, pool: str, wanted: set[int]) -> None:
    given_ = assign(minion, pool, wanted, PREFIXES, ())
    values = [value for one in given_.values() for value in (one.uuid, *one.macs)]
    assert set(given_) == wanted
    assert len(values) == len(set(values))
    for one in given_.values():
        assert uuid.UUID(one.uuid).version == 5
        assert [address[:8] for address in one.macs] == list(PREFIXES)
        assert all(MAC.validate_python(address) == address for address in one.macs)


@given(words, words, indexes, st.integers(0, 500))
def test_identity_does_not_depend_on_the_others(minion: str, pool: str, wanted: set[int], one: int) -> None:
    alone = assign(minion, pool, {one}, PREFIXES, ())[one]
    assert assign(minion, pool, wanted | {one}, PREFIXES, ())[one] == alone


@given(indexes, st.sets(st.integers(0, 500), max_size=10))
def test_what_is_taken_is_not_given(wanted: set[int], others: set[int]) -> None:
    taken = {value for index in others for value in (computed("hv1", "web", index, PREFIXES).macs[0],)}
    given_ = assign("hv1", "web", wanted, PREFIXES, taken)
    assert given_ == assign("hv1", "web", wanted, PREFIXES, taken)
    assert not taken & {address for one in given_.values() for address in one.macs}
    for index in wanted & others:
        assert given_[index] == computed("hv1", "web", index, PREFIXES, attempt=1)


def test_minions_pools_and_networks_are_apart() -> None:
    seen = {
        computed(minion, pool, 0, ["52:54:00", "52:54:00"])
        for minion in ("hv1", "hv2")
        for pool in ("web", "db")
    }
    assert len({address for one in seen for address in one.macs}) == 8


def test_a_prefix_that_is_used_up() -> None:
    taken = {computed("hv1", "web", 0, ["52:54:00"], attempt).macs[0] for attempt in range(ATTEMPTS)}
    with pytest.raises(Refused, match="no MAC address below 52:54:00 is free for index 0"):
        assign("hv1", "web", [0], ["52:54:00"], taken)


@pytest.mark.parametrize(
    ("template", "index", "name"),
    [
        ("{pool}-{index:03d}", 7, "web-007"),
        ("{pool}{index}", 12, "web12"),
        ("{host}{letter}", 1, "kvmtest02b"),  # S2.9
        ("vm{index:2d}", 100, "vm100"),
    ],
)
def test_names(template: str, index: int, name: str) -> None:
    assert Names(template, "web", "kvmtest02").name(index) == name


def test_letters() -> None:
    assert [letter(index) for index in (0, 25, 26, 51, 52, 701, 702)] == [
        "a",
        "z",
        "aa",
        "az",
        "ba",
        "zz",
        "aaa",
    ]


@given(st.integers(0, 10_000))
def test_letters_are_unique(most: int) -> None:
    assert letter(most) != letter(most + 1)


def test_addresses() -> None:
    assert address("172.31.110.100", 100) == "172.31.110.200"
    assert address("10.0.0.250", 10) == "10.0.1.4"

"""The role ``firewall``: Corral's table of nftables holds the declared networks and no other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

GUESTS, OFFICE = "172.31.130.0/24", "172.31.131.0/24"
Role = Callable[..., dict[str, Any]]


def nft(*words: str) -> str:
    done = subprocess.run(["nft", "-s", *words], capture_output=True, text=True, check=True)
    return done.stdout


def masqueraded() -> list[str]:
    """Return the networks of the rules, as nft has them."""
    items = json.loads(nft("-j", "list", "table", "ip", "corral"))["nftables"]
    matches = [rule["rule"]["expr"][0]["match"]["right"]["prefix"] for rule in items if "rule" in rule]
    return [f"{prefix['addr']}/{prefix['len']}" for prefix in matches]


@pytest.fixture(autouse=True)
def firewall() -> Iterator[None]:
    """The firewall of somebody else, and none of ours, before and after the test."""

    def clean() -> None:
        for table in ("corral", "somebodys"):
            nft("add", "table", "ip", table)
            nft("delete", "table", "ip", table)

    clean()
    nft("add", "table", "ip", "somebodys")
    nft("add", "chain", "ip", "somebodys", "kept")
    yield
    clean()


@pytest.fixture
def role(salt: Any) -> Role:
    """Apply the role for these networks, and return what its state of the table says."""

    def apply(networks: list[str], test: bool = False) -> dict[str, Any]:
        pillar = {"corral": {"firewall": {"masquerade": networks}}}
        states = salt.cmd("state.sls", "firewall", test=test, pillar=pillar)
        assert isinstance(states, dict), states
        (nat,) = (state for state in states.values() if state["__id__"] == "corral-nat")
        return dict(nat)

    return apply


def test_a_second_run_changes_nothing(role: Role) -> None:
    preview = role([GUESTS], test=True)
    assert (preview["result"], bool(preview["changes"])) == (None, True)
    assert "corral" not in nft("list", "tables"), "test=True moved something"

    assert role([GUESTS])["result"] is True
    assert masqueraded() == [GUESTS]
    rules = nft("list", "ruleset")
    for test in (True, False):
        again = role([GUESTS], test=test)
        assert (again["result"], again["changes"]) == (True, {}), again
    assert nft("list", "ruleset") == rules


def test_a_network_with_host_bits_is_settled_after_one_run(role: Role) -> None:
    assert role(["172.31.130.1/24"])["changes"]
    assert masqueraded() == [GUESTS]
    assert role(["172.31.130.1/24"])["changes"] == {}


def test_a_network_that_is_no_longer_declared_goes(role: Role) -> None:
    role([GUESTS, OFFICE])
    assert masqueraded() == [GUESTS, OFFICE]
    assert role([OFFICE])["changes"]
    assert masqueraded() == [OFFICE]
    assert role([])["changes"]
    assert masqueraded() == []


def test_rules_made_by_hand_go_and_other_tables_stay(role: Role) -> None:
    role([GUESTS])
    others = nft("list", "table", "ip", "somebodys")
    nft("add", "rule", "ip", "corral", "postrouting", "ip", "saddr", OFFICE, "masquerade")
    assert role([GUESTS])["changes"]
    assert masqueraded() == [GUESTS]
    assert nft("list", "table", "ip", "somebodys") == others


def test_a_wrong_network_is_named_and_the_rules_stay(role: Role) -> None:
    role([GUESTS])
    wrong = role([GUESTS, "172.31.1310/24"])
    assert wrong["result"] is False
    assert "firewall.masquerade[1]" in wrong["changes"]["stderr"]
    assert masqueraded() == [GUESTS]

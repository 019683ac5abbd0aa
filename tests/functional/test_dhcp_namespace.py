"""Subnets of tenants that use the same addresses, each in a network namespace (S3.8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corral import netns
from corral.dhcp import paths, process, wire
from tests.support.dhcp_net import (
    BRIDGE,
    DECLARED,
    NET,
    ONE,
    OTHER,
    TWO,
    Ask,
    make_bridge,
    seen,
    serving,
    sh,
)
from tests.support.expect import assert_failed

pytest_plugins = ["tests.support.dhcp_clients"]

State = Callable[..., dict[str, Any]]
BLUE, RED = "tdhcp-blue", "tdhcp-red"
STRANGER = "52:60:2f:71:00:99"


@pytest.fixture
def tenants(ask: Ask) -> Iterator[Ask]:
    """Two namespaces, each with a bridge of the same name and address as the host's own."""
    for space in (BLUE, RED):
        sh("ip", "netns", "add", space)
        sh("ip", "-n", space, "link", "set", "lo", "up")
        make_bridge(within=space)
    yield ask
    for name in (NET, OTHER):
        running = process.find(name)
        if running:
            process.end(running)
    for space in {BLUE, RED} & set(netns.names()):
        sh("ip", "netns", "delete", space)


def both(state: State, **more: Any) -> None:
    for name, space in ((NET, BLUE), (OTHER, RED)):
        answer = state("dhcp.subnet_managed", name, **DECLARED, namespace=space, **more)
        assert answer["result"] is True, answer


def where(subnet: str = NET) -> str:
    running = process.find(subnet)
    return process.namespace(running) if running else ""


def test_four_ways(four_ways: State, tenants: Ask) -> None:
    def disturb() -> None:
        process.end(serving())
        sh("ip", "netns", "exec", RED, wire.dnsmasq(), f"--conf-file={paths.started(NET)}")
        assert where() == netns.identity(RED)

    made = four_ways(
        "dhcp.subnet_managed",
        NET,
        look=lambda: (seen(), where()),
        disturb=disturb,
        drift={f"{NET}.running": {"old": "in another network namespace", "new": True}},
        **DECLARED,
        namespace=BLUE,
        mtu=1450,
    )
    assert made[NET]["new"]["namespace"] == BLUE
    assert where() == netns.identity(BLUE)
    said = tenants(STRANGER, within=BLUE)
    assert said["mtu"] == "1450" and said["router"] == "10.71.0.1"


def test_two_tenants_of_the_same_addresses(state: State, salt: Any, tenants: Ask) -> None:
    both(state, reservations=[ONE])
    assert (
        state("dhcp.subnet_managed", "tdhcp3", test=True, **DECLARED)["comment"] == "1 change would be made."
    )
    assert [tenants(ONE["mac"], within=space)["ip"] for space in (BLUE, RED)] == [ONE["address"]] * 2
    tenants(STRANGER, within=RED)
    leases = {name: {one["mac"] for one in salt.cmd("dhcp.leases", name)} for name in (NET, OTHER)}
    assert leases == {NET: {ONE["mac"]}, OTHER: {ONE["mac"], STRANGER}}
    with wire.watch(NET) as news:
        assert salt.cmd("dhcp.release", NET, ONE["mac"]) == [ONE["address"]]
        assert news.wait(0)
    assert salt.cmd("dhcp.leases", NET) == []
    assert {one["mac"] for one in salt.cmd("dhcp.leases", OTHER)} == {ONE["mac"], STRANGER}
    shown = salt.cmd("dhcp.show")
    assert {name: (one["namespace"], one["running"]) for name, one in shown.items()} == {
        NET: (BLUE, True),
        OTHER: (RED, True),
    }


def test_a_reservation_is_read_without_a_restart(state: State, tenants: Ask) -> None:
    both(state)
    before = serving()
    assert state("dhcp.subnet_managed", NET, **DECLARED, namespace=BLUE, reservations=[TWO])["result"] is True
    assert serving() == before
    assert tenants(TWO["mac"], within=BLUE)["ip"] == TWO["address"]


def test_within_one_namespace_subnets_do_not_overlap(state: State, tenants: Ask) -> None:
    both(state)
    before = seen()
    assert_failed(
        state("dhcp.subnet_managed", OTHER, **DECLARED, namespace=BLUE),
        f"dhcp.tdhcp2.interface: {BRIDGE} is that of the subnet 'tdhcp' already.",
        "dhcp.tdhcp2.network: 10.71.0.0/24 overlaps 10.71.0.0/24 of the subnet 'tdhcp'.",
    )
    assert seen() == before


def test_another_namespace(state: State, tenants: Ask) -> None:
    both(state, reservations=[ONE])
    assert state("dhcp.subnet_absent", OTHER)["result"] is True
    for space in (RED, None):
        answer = state("dhcp.subnet_managed", NET, **DECLARED, namespace=space)
        assert answer["result"] is True, answer
        assert answer["changes"][f"{NET}.namespace"]["new"] == space
        assert where() == netns.identity(space)
    assert tenants(ONE["mac"])["ip"] == ONE["address"]


def test_a_namespace_made_anew_is_served_again(four_ways: State, tenants: Ask) -> None:
    def disturb() -> None:
        sh("ip", "netns", "delete", BLUE)
        sh("ip", "netns", "add", BLUE)
        make_bridge(within=BLUE)

    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=lambda: (seen(), where()),
        disturb=disturb,
        drift={f"{NET}.running": {"old": "in another network namespace", "new": True}},
        **DECLARED,
        namespace=BLUE,
    )
    assert tenants(STRANGER, within=BLUE)["ip"]


def test_what_is_missing_in_the_namespace(state: State, tenants: Ask) -> None:
    sh("ip", "-n", RED, "link", "delete", BRIDGE)
    assert_failed(
        state("dhcp.subnet_managed", NET, **DECLARED, namespace=RED),
        f"dhcp.tdhcp.interface: {BRIDGE} is no device of the namespace '{RED}'.",
    )
    sh("ip", "-n", BLUE, "address", "flush", "dev", BRIDGE)
    assert_failed(
        state("dhcp.subnet_managed", NET, **DECLARED, namespace=BLUE),
        f"dhcp.tdhcp.interface: {BRIDGE} has no address in 10.71.0.0/24, so dnsmasq would serve nothing.",
    )
    assert not paths.config(NET).exists()


def test_absent(state: State, tenants: Ask) -> None:
    both(state)
    sh("ip", "netns", "delete", RED)
    assert state("dhcp.subnet_absent", OTHER)["result"] is True
    assert process.find(OTHER) is None
    assert where() == netns.identity(BLUE)

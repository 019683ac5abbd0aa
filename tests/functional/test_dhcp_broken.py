"""Bad declarations and broken hosts: one sentence that names the path, and nothing moved."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corral.dhcp import paths, process, wire
from corral.dhcp.model import Reservation
from tests.support.dhcp_net import BRIDGE, DECLARED, NET, ONE, OTHER, TWO, Ask, seen, serving, sh
from tests.support.expect import assert_failed

pytest_plugins = ["tests.support.dhcp_clients"]

State = Callable[..., dict[str, Any]]

BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"range": "10.71.1.100-10.71.1.199"},
        "dhcp.tdhcp.range: 10.71.1.100-10.71.1.199 does not lie among the hosts",
    ),
    (
        {"range": "10.71.0.199-10.71.0.100"},
        "dhcp.tdhcp.range: '10.71.0.199-10.71.0.100' is not an address range",
    ),
    ({"network": "10.71.0.1/24"}, "dhcp.tdhcp.network: '10.71.0.1/24' is not a network"),
    ({"network": "fd00::/64"}, "dhcp.tdhcp.network: fd00::/64 is not an IPv4 network"),
    ({"router": "10.72.0.1"}, "dhcp.tdhcp.router: 10.72.0.1 is not a host of 10.71.0.0/24"),
    ({"router": "10.71.0.150"}, "dhcp.tdhcp.router: 10.71.0.150 lies in the range"),
    ({"broadcast": "10.71.0.254"}, "dhcp.tdhcp.broadcast: 10.71.0.254 is not the broadcast address"),
    ({"lease_time": 60}, "dhcp.tdhcp.lease_time: 60 s is shorter than dnsmasq's minimum"),
    ({"lease_tine": 600}, "dhcp.tdhcp.lease_tine: unknown key"),
    ({"dns": "yes"}, "dhcp.tdhcp.dns: "),
    ({"interface": "no/such"}, "dhcp.tdhcp.interface: 'no/such' is not an interface name"),
    ({"options": {"router": "10.71.0.9"}}, "dhcp.tdhcp.options.router: is declared by the key 'router'"),
    ({"options": {"ntp-server": 'a"b'}}, "dhcp.tdhcp.options.ntp-server: "),
    ({"options": {"mtu": 1400}}, "dhcp.tdhcp.options.mtu: is declared by the key 'mtu'"),
    ({"mtu": 67}, "dhcp.tdhcp.mtu: 67 is not an MTU (68–65535)"),
    ({"mtu": "1400"}, "dhcp.tdhcp.mtu: '1400' is not valid"),
    ({"namespace": "../x"}, "dhcp.tdhcp.namespace: '../x' is not a name"),
    ({"namespace": "nosuch"}, "dhcp.tdhcp.namespace: there is no network namespace 'nosuch' on this host."),
    ({"options": {66: {"a": "b"}}}, "dhcp.tdhcp.options.66: a dict is not a text or a whole number"),
    ({"options": {66: True}}, "dhcp.tdhcp.options.66: a bool is not a text or a whole number"),
    ({"options": {66: ["a", None]}}, "dhcp.tdhcp.options.66: a NoneType is not a text or a whole number"),
    ({"options": {66: []}}, "dhcp.tdhcp.options.66: has no value"),
    ({"options": {"003": "10.71.0.9"}}, "dhcp.tdhcp.options.003: is declared by the key 'router'"),
    ({"options": {66: "a", "066": "b"}}, "dhcp.tdhcp.options: 66 is declared more than once"),
    ({"options": {"²": "a"}}, "dhcp.tdhcp.options.²: '²' is neither the name nor the number"),
    ({"options": {"0255": "a"}}, "dhcp.tdhcp.options.0255: '0255' is neither the name nor the number"),
    ({"domain": True}, "dhcp.tdhcp.domain: True is not a domain name"),
    ({"domain": 5}, "dhcp.tdhcp.domain: 5 is not a domain name"),
    ({"lease_time": 2**32 - 1}, "dhcp.tdhcp.lease_time: 4294967295 s is longer than a lease can be"),
    (
        {"reservations": [ONE, {**TWO, "address": ONE["address"]}]},
        "dhcp.tdhcp.reservations[1].address: 10.71.0.11 is",
    ),
    (
        {"reservations": [ONE, {**TWO, "mac": ONE["mac"]}]},
        "dhcp.tdhcp.reservations[1].mac: 52:60:2f:71:00:01 is",
    ),
    (
        {"reservations": [ONE, {**TWO, "name": "ONE"}]},
        "dhcp.tdhcp.reservations[1].name: one is already reserved by",
    ),
    (
        {"reservations": [{**ONE, "address": "10.9.0.1"}]},
        "reservations[0].address: 10.9.0.1 lies outside 10.71.0.0/24",
    ),
    (
        {"reservations": [{**ONE, "address": "10.71.0.255"}]},
        "reservations[0].address: 10.71.0.255 is the network or",
    ),
    ({"reservations": [{**ONE, "name": "12h"}]}, "dhcp.tdhcp.reservations[0].name: '12h' is a lease time"),
    (
        {"reservations": [{**ONE, "mac": "52:60"}]},
        "dhcp.tdhcp.reservations[0].mac: '52:60' is not a MAC address",
    ),
    ({"interface": "brt-nosuch"}, "dhcp.tdhcp.interface: brt-nosuch is no device of this host."),
    (
        {"reservations": [{**ONE, "address": "10.71.0.2"}]},
        "reservations[0].address: 10.71.0.2 is this host's own.",
    ),
    (
        {"options": {"no-such-option": "1"}},
        "dhcp.tdhcp: dnsmasq refuses the configuration: bad dhcp-option at line",
    ),
]


@pytest.mark.parametrize(("wrong", "sentence"), BAD, ids=[sentence[:60] for _, sentence in BAD])
def test_bad_input(state: State, bridge: str, wrong: dict[str, Any], sentence: str) -> None:
    sh("ip", "address", "add", "10.71.0.2/24", "dev", BRIDGE)
    assert_failed(state("dhcp.subnet_managed", NET, **{**DECLARED, **wrong}), sentence)
    assert not paths.state(NET).exists() and not paths.config(NET).exists()


@pytest.mark.parametrize(("wrong", "sentence"), BAD[-3:], ids=[sentence[:60] for _, sentence in BAD[-3:]])
def test_bad_input_for_a_subnet_that_is_served(
    state: State, bridge: str, wrong: dict[str, Any], sentence: str
) -> None:
    sh("ip", "address", "add", "10.71.0.2/24", "dev", BRIDGE)
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[TWO])["result"] is True
    before = seen()
    assert_failed(state("dhcp.subnet_managed", NET, **{**DECLARED, **wrong}), sentence)
    assert seen() == before


def test_a_key_that_is_required(state: State, bridge: str) -> None:
    assert_failed(
        state("dhcp.subnet_managed", NET),
        "dhcp.tdhcp.interface: is required",
        "dhcp.tdhcp.network: is required",
    )
    assert_failed(state("dhcp.subnet_managed", "../x", **DECLARED), "dhcp.../x.name: '../x' is not a name")
    assert_failed(state("dhcp.subnet_absent", "../x"), "dhcp.../x.name: '../x' is not a name")


def test_a_device_without_an_address_in_the_network(state: State, bridge: str) -> None:
    sh("ip", "address", "flush", "dev", BRIDGE)
    wanted = f"dhcp.tdhcp.interface: {BRIDGE} has no address in 10.71.0.0/24, so dnsmasq would serve nothing."
    assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), wanted)
    preview = state("dhcp.subnet_managed", NET, test=True, **DECLARED)
    assert preview["result"] is None and preview["changes"], preview
    assert f"A run now would be refused: {wanted}" in preview["comment"]
    assert not paths.config(NET).exists()


def test_two_subnets_on_one_device(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    before = seen()
    assert_failed(
        state("dhcp.subnet_managed", OTHER, **DECLARED),
        f"dhcp.tdhcp2.interface: {BRIDGE} is that of the subnet 'tdhcp' already.",
        "dhcp.tdhcp2.network: 10.71.0.0/24 overlaps 10.71.0.0/24 of the subnet 'tdhcp'.",
    )
    assert seen() == before


def test_a_network_that_does_not_hold_what_a_pool_has_reserved(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    wire.write_reservations(NET, "web", [Reservation.declare(ONE)])
    before = seen()
    half = {**DECLARED, "network": "10.71.0.0/29", "range": "10.71.0.2-10.71.0.6"}
    assert_failed(
        state("dhcp.subnet_managed", NET, **half),
        "dhcp.tdhcp.reservations.web[0].address: 10.71.0.11 lies outside 10.71.0.0/29.",
    )
    taken = {**ONE, "mac": TWO["mac"]}
    assert_failed(
        state("dhcp.subnet_managed", NET, **DECLARED, reservations=[taken]),
        "dhcp.tdhcp.reservations.web[0].address: 10.71.0.11 is already reserved for 52:60:2f:71:00:02 "
        "by the subnet itself",
    )
    assert seen() == before


@pytest.fixture
def port_taken(bridge: str) -> Iterator[None]:
    """Another DHCP server, on all devices."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 67))
        yield


def test_a_start_that_is_refused_leaves_nothing(state: State, port_taken: None) -> None:
    before = seen()
    assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), "Address already in use")
    assert seen() == before
    assert not any(place(NET).exists() for place in (paths.config, paths.state, paths.run))


def test_a_restart_that_is_refused_puts_back_what_was(state: State, ask: Ask) -> None:
    """The port of DNS is taken: dnsmasq finds out when it starts, not when it checks its configuration."""
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])["result"] is True
    texts = seen()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("10.71.0.1", 53))
        failed = state("dhcp.subnet_managed", NET, **DECLARED, dns=True, reservations=[TWO])
    assert_failed(
        failed, "dhcp.tdhcp: dnsmasq does not start: failed to create listening socket for 10.71.0.1"
    )
    assert seen()[0] == texts
    assert wire.look(NET).running is True
    assert ask(ONE["mac"])["ip"] == ONE["address"]


def test_a_damaged_configuration_is_mended(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    good = paths.config(NET).read_text()
    paths.config(NET).write_text("dhcp-range=rubbish\n\0\n" + good[: len(good) // 3])
    mended = state("dhcp.subnet_managed", NET, **DECLARED)
    assert mended["result"] is True, mended
    assert mended["changes"][f"{NET}.network"] == {"old": None, "new": DECLARED["network"]}
    assert "dhcp-range=rubbish" in mended["changes"][f"{NET}.lines"]["old"]
    assert paths.config(NET).read_text() == good


def test_a_configuration_that_cannot_be_read_is_not_an_absent_one(state: State, bridge: str) -> None:
    paths.config(NET).mkdir(parents=True)
    try:
        assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), "tdhcp.conf cannot be read")
    finally:
        paths.config(NET).rmdir()


def test_the_configuration_removed_under_a_running_dnsmasq(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    paths.config(NET).unlink()
    mended = state("dhcp.subnet_managed", NET, **DECLARED)
    assert mended["result"] is True, mended
    assert mended["changes"][f"{NET}.interface"] == {"old": None, "new": BRIDGE}
    paths.config(NET).unlink()
    assert state("dhcp.subnet_absent", NET)["result"] is True
    assert process.find(NET) is None


def test_dnsmasq_not_installed(state: State, bridge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PATH", "/nonexistent")
    assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), "dnsmasq is not installed (package dnsmasq")
    assert state("dhcp.subnet_absent", NET)["result"] is True


def test_dnsmasq_is_not_given_the_environment_of_salt(
    state: State, bridge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDHCP_OF_SALT", "a secret")
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    given = process.environment(serving())
    assert f"PATH={wire.PATH}" in given
    assert not [word for word in given if word.startswith("TDHCP_OF_SALT")]


def test_output_that_is_no_text() -> None:
    assert wire.run(["printf", r"a\377"]) == (0, "a\ufffd")


def test_the_log_of_a_dnsmasq_that_ended_is_kept(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    seen()  # until it has said all
    process.end(serving())
    said = paths.log(NET).read_text()
    assert "exiting on receipt of SIGTERM" in said
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    assert paths.log(NET).with_name("log.1").read_text() == said
    assert "exiting on receipt of SIGTERM" not in paths.log(NET).read_text()


def test_a_pid_file_of_another_process(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    before = serving()
    paths.pid(NET).write_text(f"{os.getpid()}\n")
    assert process.find(NET) == before
    paths.pid(NET).unlink()
    assert process.find(NET) == before

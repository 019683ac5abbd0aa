"""Routes kept as declared by netlink."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corral import netns
from corral.link import namespace
from tests.support.expect import assert_failed

LINK, PEER, SPACE = "vt-route0", "vt-route1", "tns-route"
ADDRESSES = ["10.74.0.2/24", "fd74::2/64"]
State = Callable[..., dict[str, Any]]


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def routes(*inside: str, name: str = LINK) -> set[tuple[Any, ...]]:
    """Return the routes through a device that no address brought: where to, by whom, metric, made by whom."""
    found = [
        one
        for family in ("-4", "-6")
        for one in json.loads(ip(*inside, family, "-json", "route", "show", "dev", name) or "[]")
    ]
    return {
        (one["dst"], one.get("gateway"), one.get("metric"), str(one.get("protocol")))
        for one in found
        if one.get("protocol") != "kernel"
    }


def all_routes() -> Any:
    return routes(), ip("route", "show", "table", "all"), ip("-6", "route", "show", "table", "all")


@pytest.fixture
def link() -> Iterator[str]:
    """A device that is up, with addresses, and a cable in it."""
    ip("link", "add", LINK, "type", "veth", "peer", "name", PEER)
    for name in (LINK, PEER):
        ip("link", "set", name, "addrgenmode", "none")
        ip("link", "set", name, "up")
    ip("address", "add", ADDRESSES[0], "dev", LINK)
    ip("-6", "address", "add", ADDRESSES[1], "dev", LINK, "nodad")
    yield LINK
    ip("link", "delete", PEER)


def changed(**values: Any) -> dict[str, Any]:
    return {f"{LINK}.{key}": {"old": old, "new": new} for key, (old, new) in values.items()}


DECLARED: dict[str, Any] = {
    "gateway": "10.74.0.1",
    "routes": [
        {"to": "10.75.0.0/16", "via": "10.74.0.9", "metric": 50},
        {"to": "10.76.0.0/16"},
        {"to": "default", "via": "fd74::1"},
        {"to": "fd75::/64", "via": "fe80::1"},
    ],
}
DISTURBANCES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "gone": (["route", "delete", "default", "dev", LINK], changed(gateway=(None, "10.74.0.1"))),
    "another router": (
        ["route", "replace", "default", "via", "10.74.0.7", "dev", LINK],
        changed(gateway=("10.74.0.7", "10.74.0.1")),
    ),
    "another router, IPv6": (
        ["-6", "route", "replace", "default", "via", "fd74::7", "dev", LINK, "metric", "1024"],
        changed(**{"routes.::/0": ("fd74::7", "fd74::1")}),
    ),
    "a router where there was none": (
        ["route", "replace", "10.76.0.0/16", "via", "10.74.0.7", "dev", LINK],
        changed(**{"routes.10.76.0.0/16": ("10.74.0.7", "on link")}),
    ),
    "one more of ours": (
        ["route", "add", "10.79.0.0/16", "via", "10.74.0.7", "dev", LINK, "proto", "67", "metric", "9"],
        changed(**{"routes.10.79.0.0/16 metric 9": ("10.74.0.7", None)}),
    ),
    "one more of ours, IPv6": (
        ["-6", "route", "add", "fd79::/64", "via", "fd74::7", "dev", LINK, "proto", "67"],
        changed(**{"routes.fd79::/64": ("fd74::7", None)}),
    ),
}


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_four_ways(four_ways: State, link: str, disturbance: str) -> None:
    words, drift = DISTURBANCES[disturbance]
    made = four_ways(
        "link.managed", link, look=all_routes, disturb=lambda: ip(*words), drift=drift, **DECLARED
    )
    assert made == changed(
        **{
            "gateway": (None, "10.74.0.1"),
            "routes.10.75.0.0/16 metric 50": (None, "10.74.0.9"),
            "routes.10.76.0.0/16": (None, "on link"),
            "routes.::/0": (None, "fd74::1"),
            "routes.fd75::/64": (None, "fe80::1"),
        }
    )
    assert routes() == {
        ("default", "10.74.0.1", None, "67"),
        ("10.75.0.0/16", "10.74.0.9", 50, "67"),
        ("10.76.0.0/16", None, None, "67"),
        ("default", "fd74::1", 1024, "67"),
        ("fd75::/64", "fe80::1", 1024, "67"),
    }


def test_all_at_once(four_ways: State, link: str) -> None:
    """A route needs the address and the state that are declared beside it."""
    ip("address", "flush", "dev", link)
    ip("link", "set", link, "down")
    made = four_ways(
        "link.managed",
        link,
        look=all_routes,
        disturb=lambda: ip("link", "set", link, "down"),
        drift=changed(up=(False, True), gateway=(None, "10.74.8.1")),
        addresses=["10.74.8.2/24"],
        up=True,
        gateway="10.74.8.1",
    )
    assert list(made) == [f"{link}.addresses.10.74.8.2/24", f"{link}.up", f"{link}.gateway"]


def test_another_network_and_its_router(state: State, link: str) -> None:
    state("link.managed", link, addresses=["10.74.8.2/24"], gateway="10.74.8.1")
    answer = state("link.managed", link, addresses=["10.74.9.2/24"], gateway="10.74.9.1")
    assert answer["result"] is True, answer
    assert list(answer["changes"]) == [
        f"{link}.addresses.10.74.9.2/24",
        f"{link}.gateway",
        f"{link}.addresses.10.74.8.2/24",
    ]
    assert answer["changes"][f"{link}.gateway"] == {"old": "10.74.8.1", "new": "10.74.9.1"}
    assert routes() == {("default", "10.74.9.1", None, "67")}


def test_what_is_mentioned_is_exact_and_the_rest_stays(state: State, link: str) -> None:
    state("link.managed", link, **DECLARED)
    before = routes()
    assert state("link.managed", link, mtu=1500)["changes"] == {}
    assert state("link.managed", link, gateway="10.74.0.1")["changes"] == changed(gateway=("fd74::1", None))
    assert routes() == before - {("default", "fd74::1", 1024, "67")}
    other = state("link.managed", link, gateway="fd74::1")
    assert other["changes"] == changed(gateway=("10.74.0.1", "fd74::1"))
    assert {one[1] for one in routes() if one[0] == "default"} == {"fd74::1"}
    assert state("link.managed", link, gateway=None)["changes"] == changed(gateway=("fd74::1", None))
    left = [{"to": "10.76.0.0/16"}]
    assert state("link.managed", link, gateway="10.74.0.1", routes=left)["result"] is True
    assert routes() == {("default", "10.74.0.1", None, "67"), ("10.76.0.0/16", None, None, "67")}
    assert state("link.managed", link, routes=None)["result"] is True
    assert routes() == set()


def test_routes_of_others_stay(state: State, link: str) -> None:
    ip("route", "add", "10.77.0.0/16", "via", "10.74.0.9", "dev", link)
    ip("route", "add", "default", "via", "10.74.0.3", "dev", link, "proto", "dhcp", "metric", "100")
    ip("-6", "route", "add", "fd77::/64", "via", "fd74::9", "dev", link, "proto", "ra")
    theirs = routes()
    adopted = [{"to": "10.77.0.0/16", "via": "10.74.0.9"}]
    answer = state("link.managed", link, gateway="10.74.0.1", routes=adopted)
    assert answer["changes"] == changed(gateway=(None, "10.74.0.1"))
    assert routes() == {*theirs, ("default", "10.74.0.1", None, "67")}
    assert state("link.managed", link, gateway=None, routes=[])["result"] is True
    assert routes() == theirs


def test_in_a_namespace(state: State, link: str) -> None:
    """The host's own routes are of no concern there, nor are those that the device had before."""
    state("link.managed", link, gateway="10.74.0.1")
    wanted = {"namespace": SPACE, "gateway": "10.74.0.1"}
    try:
        answer = state("link.managed", link, **wanted)
        assert answer["result"] is True, answer
        assert answer["changes"][f"{link}.gateway"] == {"old": None, "new": "10.74.0.1"}
        assert routes("-n", SPACE) == {("default", "10.74.0.1", None, "67")}
        assert state("link.managed", link, **wanted)["changes"] == {}
    finally:
        if SPACE in netns.names():
            ip("-n", SPACE, "link", "set", link, "netns", "1")
            namespace.remove(SPACE)


def test_show(salt: Any, state: State, link: str) -> None:
    state("link.managed", link, **DECLARED)
    shown = salt.cmd("link.show", link)[link]
    assert shown["gateway"] == "10.74.0.1"
    assert {one["to"]: one for one in shown["routes"]} == {
        "10.75.0.0/16": {"to": "10.75.0.0/16", "via": "10.74.0.9", "metric": 50},
        "10.76.0.0/16": {"to": "10.76.0.0/16", "metric": 0},
        "::/0": {"to": "::/0", "via": "fd74::1", "metric": 1024},
        "fd75::/64": {"to": "fd75::/64", "via": "fe80::1", "metric": 1024},
    }
    assert state("link.managed", link, **shown)["changes"] == {}


AT = f"links.{LINK}"
BAD: list[tuple[dict[str, Any], str]] = [
    ({"gateway": "10.74.0.1/24"}, f"{AT}.gateway: '10.74.0.1/24' is not an IP address"),
    ({"gateway": "10.74.0.2"}, f"{AT}.gateway: 10.74.0.2 is an address of {LINK} itself."),
    ({"gateway": "10.99.0.1"}, f"{AT}.gateway: 10.99.0.1 is in no network that {LINK} has an address of."),
    (
        {
            "gateway": "10.74.0.1",
            "addresses": ["10.98.0.1/24"],
            "routes": [{"to": "10.1.0.0/16", "via": "fd79::1"}],
        },
        f"{AT}.routes[0].to: 10.1.0.0/16 is not reached by way of fd79::1, which is of IPv6",
    ),
    ({"routes": [{"to": "10.1.2.3/16"}]}, f"{AT}.routes[0].to: '10.1.2.3/16' is not a network"),
    ({"routes": [{"to": True}]}, f"{AT}.routes[0].to: 'True' is not a network"),
    ({"routes": [{"via": "10.74.0.1"}]}, f"{AT}.routes[0].to: is required"),
    (
        {"routes": [{"to": "default", "metric": -1}]},
        f"{AT}.routes[0].metric: -1 is not a metric (0–4294967295)",
    ),
    ({"routes": [{"to": "default", "metric": "1"}]}, f"{AT}.routes[0].metric: '1' is not valid"),
    ({"routes": [{"to": "default", "dev": "eth0"}]}, f"{AT}.routes[0].dev: unknown key"),
    ({"routes": {"to": "default"}}, f"{AT}.routes: a mapping is not valid"),
    (
        {"gateway": "10.74.0.1", "routes": [{"to": "0.0.0.0/0", "via": "10.74.0.2"}]},
        f"{AT}.routes: 0.0.0.0/0 is a duplicate route",
    ),
    ({"gateway": "10.74.0.1", "up": False}, f"{AT}.gateway: a device that is down has no routes"),
    (
        {"routes": [{"to": "10.70.0.0/16"}]},
        f"{AT}.routes.10.70.0.0/16: the route to 10.70.0.0/16 leads through {PEER} already.",
    ),
]


@pytest.mark.parametrize(("wrong", "sentence"), BAD, ids=[sentence for _, sentence in BAD])
def test_bad_input(state: State, link: str, wrong: dict[str, Any], sentence: str) -> None:
    ip("route", "add", "10.70.0.0/16", "dev", PEER)
    before = all_routes()
    assert_failed(state("link.managed", link, **{"mtu": 1400, **wrong}), sentence)
    assert all_routes() == before


def test_a_device_that_is_down(state: State, link: str) -> None:
    ip("link", "set", link, "down")
    sentence = f"{AT}.up: {link} is down, so no route leads through it."
    assert_failed(state("link.managed", link, gateway="10.74.0.1"), sentence)

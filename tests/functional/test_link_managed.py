"""Devices kept as declared by netlink."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from corral.change import Change
from corral.converge import converge
from corral.errors import Unavailable
from corral.link import netlink, wire
from corral.link.model import Device, Host, Link
from corral.link.plan import plan
from corral.link.route import OURS
from tests.support.expect import assert_failed

LINK, PEER = "vt-link0", "vt-link1"
State = Callable[..., dict[str, Any]]


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def add_by(maker: int, address: str) -> None:
    """Add an address with the mark of its maker, which ``ip`` of Debian 12 does not know."""
    bare, _, length = address.partition("/")
    index = json.loads(ip("-json", "link", "show", "dev", LINK))[0]["ifindex"]
    netlink.ask(
        lambda netlink: netlink.addr("add", index=index, address=bare, prefixlen=int(length), proto=maker)
    )


def held(name: str = LINK) -> Any:
    """Return what the kernel has, without counters of time."""
    (link,) = json.loads(ip("-json", "address", "show", "dev", name))
    addresses = [
        (one["local"], one["prefixlen"], one.get("broadcast"), one.get("dynamic"))
        for one in link["addr_info"]
        if one["scope"] != "link"
    ]
    return sorted(addresses), link["mtu"], "UP" in link["flags"]


def texts(name: str = LINK) -> list[str]:
    return [f"{address}/{length}" for address, length, _, _ in held(name)[0]]


@pytest.fixture
def link() -> Iterator[str]:
    ip("link", "add", LINK, "type", "veth", "peer", "name", PEER)
    yield LINK
    ip("link", "delete", LINK)


def test_four_ways(four_ways: State, link: str) -> None:
    made = four_ways(
        "link.managed",
        link,
        look=held,
        disturb=lambda: ip("address", "delete", "10.72.0.1/24", "dev", link),
        drift={f"{link}.addresses.10.72.0.1/24": {"old": None, "new": "10.72.0.1/24"}},
        addresses=["10.72.0.1/24", "fd72::1/64"],
        mtu=1400,
        up=True,
    )
    assert list(made) == [
        f"{link}.mtu",
        f"{link}.addresses.10.72.0.1/24",
        f"{link}.addresses.fd72::1/64",
        f"{link}.up",
    ]
    assert held() == ([("10.72.0.1", 24, "10.72.0.255", None), ("fd72::1", 64, None, None)], 1400, True)


@pytest.mark.parametrize(
    ("disturb", "drift"),
    [
        (lambda: add_by(OURS, "10.72.9.9/24"), {"addresses.10.72.9.9/24": ("10.72.9.9/24", None)}),
        (lambda: ip("link", "set", LINK, "mtu", "1300"), {"mtu": (1300, 1500)}),
        (lambda: ip("link", "set", LINK, "down"), {"up": (False, True)}),
    ],
    ids=["address added", "mtu", "down"],
)
def test_altered_behind_our_back(
    four_ways: State, link: str, disturb: Callable[[], Any], drift: dict[str, tuple[Any, Any]]
) -> None:
    four_ways(
        "link.managed",
        link,
        look=held,
        disturb=disturb,
        drift={f"{link}.{key}": {"old": old, "new": new} for key, (old, new) in drift.items()},
        addresses=["10.72.0.1/24"],
        mtu=1500,
        up=True,
    )


def test_down_with_addresses(four_ways: State, link: str) -> None:
    """Linux takes IPv6 addresses off a device that goes down; those that stay are there afterwards."""
    ip("link", "set", link, "up")
    ip("-6", "address", "add", "fd72::2/64", "dev", link)
    ip("-6", "address", "add", "fd72::9/64", "dev", link)
    four_ways(
        "link.managed",
        link,
        look=held,
        disturb=lambda: ip("address", "delete", "fd72::2/64", "dev", link),
        drift={f"{link}.addresses.fd72::2/64": {"old": None, "new": "fd72::2/64"}},
        addresses=["fd72::2/64"],
        up=False,
    )


def test_a_second_address_outlives_the_first_of_its_network(state: State, link: str) -> None:
    state("link.managed", link, addresses=["10.72.0.1/24", "10.72.0.2/24"], up=True)
    answer = state("link.managed", link, addresses=["10.72.0.2/24", "10.72.0.3/24"])
    assert answer["result"] is True, answer
    assert answer["changes"] == {
        f"{link}.addresses.10.72.0.3/24": {"old": None, "new": "10.72.0.3/24"},
        f"{link}.addresses.10.72.0.1/24": {"old": "10.72.0.1/24", "new": None},
    }
    assert texts() == ["10.72.0.2/24", "10.72.0.3/24"]


def test_another_address_of_the_network_keeps_the_routes_and_what_others_added(
    state: State, link: str
) -> None:
    """Linux takes the later addresses of a network with its first one, and routes with the last."""
    state("link.managed", link, addresses=["10.72.0.1/24"], up=True)
    ip("link", "set", PEER, "up")
    ip("address", "add", "10.72.0.9/24", "dev", link, "valid_lft", "600", "preferred_lft", "600")
    ip("route", "add", "default", "via", "10.72.0.254", "dev", link, "metric", "7272")
    answer = state("link.managed", link, addresses=["10.72.0.5/24"])
    assert answer["result"] is True, answer
    assert texts() == ["10.72.0.5/24", "10.72.0.9/24"]
    assert "via 10.72.0.254" in ip("route", "show", "default", "dev", link)


def test_a_narrow_mtu_is_refused_where_it_would_take_addresses_off(state: State, link: str) -> None:
    ip("-6", "address", "add", "fd72::2/64", "dev", link)
    before = held()
    assert_failed(
        state("link.managed", link, mtu=1000),
        "links.vt-link0.mtu: 1000 would take fd72::2/64 off, IPv6 needs 1280 at least.",
    )
    assert held() == before


def test_a_run_that_timed_out_changes_nothing_later(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    class Late(tuple[Change, ...]):
        """Steps that netlink's thread gets only after the run has given up."""

        def __iter__(self) -> Iterator[Change]:
            if threading.current_thread() is not threading.main_thread():
                released.wait(60)
            return super().__iter__()

    monkeypatch.setattr(netlink, "SECONDS", 0.2)
    before, others = held(), set(threading.enumerate())
    index = json.loads(ip("-json", "link", "show", "dev", link))[0]["ifindex"]
    current = Host({None: {link: Device(index=index)}})
    desired = Link.declare({"name": link, "mtu": 1400})
    with pytest.raises(Unavailable, match="netlink: no answer of the kernel"):
        wire.Netlink(desired).apply(Late(plan(current, desired)), current, desired)
    released.set()
    for thread in set(threading.enumerate()) - others:
        thread.join(60)
    assert held() == before


def test_addresses_of_others_stay(state: State, link: str) -> None:
    ip("link", "set", PEER, "up")
    ip("link", "set", link, "up")
    assert state("link.managed", link, addresses=["10.72.3.1/24"])["result"] is True
    ip("address", "add", "10.72.1.1/24", "dev", link, "valid_lft", "600", "preferred_lft", "600")
    ip("address", "add", "10.72.2.1/24", "dev", link)
    add_by(18, "10.72.2.9/32")  # as keepalived marks its own
    local = [one for one in netlink.look()[link].addresses if one.address.startswith("fe80")]
    assert local
    answer = state("link.managed", link, addresses=None)
    assert answer["changes"] == {f"{link}.addresses.10.72.3.1/24": {"old": "10.72.3.1/24", "new": None}}
    assert texts() == ["10.72.1.1/24", "10.72.2.1/24", "10.72.2.9/32"]
    assert [one for one in netlink.look()[link].addresses if one.address.startswith("fe80")] == local
    before = texts("lo")
    assert state("link.managed", "lo", addresses=[], up=True)["changes"] == {}
    assert texts("lo") == before and "127.0.0.1/8" in before


def test_what_is_not_mentioned_stays(state: State, link: str) -> None:
    state("link.managed", link, addresses=["10.72.0.1/24"], mtu=1400, up=True)
    before = held()
    answer = state("link.managed", link)
    assert (answer["result"], answer["changes"]) == (True, {})
    answer = state("link.managed", link, mtu=1450)
    assert answer["changes"] == {f"{link}.mtu": {"old": 1400, "new": 1450}}
    assert held()[0] == before[0]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"addresses": ["10.72.0.1"]},
            "links.vt-link0.addresses[0]: '10.72.0.1' is not an address with prefix length",
        ),
        (
            {"addresses": ["10.72.0.1/24", "10.72.0.1/25"]},
            "links.vt-link0.addresses: 10.72.0.1 is a duplicate address",
        ),
        (
            {"addresses": ["10.72.0.0/24"]},
            "links.vt-link0.addresses: 10.72.0.0/24 is the address of a network",
        ),
        (
            {"addresses": ["10.72.0.255/24"]},
            "links.vt-link0.addresses: 10.72.0.255/24 is the broadcast address",
        ),
        (
            {"addresses": ["fd72::1/64"], "mtu": 1000},
            "links.vt-link0.addresses: fd72::1/64 needs an MTU of 1280",
        ),
        ({"addresses": "10.72.0.1/24"}, "links.vt-link0.addresses: "),
        ({"mtu": 20}, "links.vt-link0.mtu: 20 is not an MTU (68–65535)"),
        ({"mtu": "big"}, "links.vt-link0.mtu: "),
        ({"mtu": None}, "links.vt-link0.mtu: None is not valid"),
        ({"up": "yes"}, "links.vt-link0.up: "),
        ({"mut": 1400}, "links.vt-link0.mut: unknown key"),
        (
            {"addresses": ["10.72.8.8/32"]},
            "links.vt-link0.addresses[0]: 10.72.8.8 is a duplicate address, vt-link1 has",
        ),
    ],
)
def test_bad_input(state: State, link: str, wrong: dict[str, Any], sentence: str) -> None:
    ip("address", "add", "10.72.8.8/24", "dev", PEER)
    before = held()
    assert_failed(state("link.managed", link, **{"mtu": 1400, "up": True, **wrong}), sentence)
    assert held() == before


def test_a_link_that_is_not_there(state: State) -> None:
    sentence = "links.vt-nosuch: there is no such link on this host."
    assert_failed(state("link.managed", "vt-nosuch", addresses=["10.72.0.1/24"]), sentence)
    preview = state("link.managed", "vt-nosuch", test=True, addresses=["10.72.0.1/24"], mtu=1500, up=True)
    assert preview["result"] is None and f"A run now would be refused: {sentence}" in preview["comment"]
    assert preview["changes"] == {
        "vt-nosuch.addresses.10.72.0.1/24": {"old": None, "new": "10.72.0.1/24"},
        "vt-nosuch.up": {"old": False, "new": True},
    }
    assert_failed(state("link.managed", "a/b", up=True), "links.a/b.name: 'a/b' is not an interface name")


def test_what_the_kernel_refuses(state: State) -> None:
    """A device without IPv6 takes no IPv6 address; what was done before that is shown."""
    ip("link", "add", "brt-link0", "type", "bridge")
    try:
        ip("link", "set", "brt-link0", "addrgenmode", "none")
        with open("/proc/sys/net/ipv6/conf/brt-link0/disable_ipv6", "w") as switch:
            switch.write("1")
        answer = state("link.managed", "brt-link0", addresses=["10.72.4.1/24", "fd72:4::1/64"])
        assert answer["result"] is False
        assert answer["comment"].startswith(
            "links.brt-link0.addresses.fd72:4::1/64: the kernel refuses 'fd72:4::1/64'"
        )
        assert answer["changes"] == {"brt-link0.addresses.10.72.4.1/24": {"old": None, "new": "10.72.4.1/24"}}
    finally:
        ip("link", "delete", "brt-link0")


def test_a_kernel_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "SECONDS", 0.2)
    released = threading.Event()
    with pytest.raises(Unavailable, match="netlink: no answer of the kernel"):
        netlink.ask(lambda _: released.wait(20))
    released.set()


def test_beside_a_running_event_loop(link: str) -> None:
    """A minion runs states beside its own event loop, where a second one must not be started."""

    async def inside() -> dict[str, Any]:
        wanted = {"name": link, "addresses": ["10.72.0.1/24"]}
        return converge(link, {}, declare=lambda: Link.declare(wanted), wire=wire.Netlink, plan=plan)

    assert asyncio.run(inside())["result"] is True


def test_show(salt: Any, state: State, link: str) -> None:
    state("link.managed", link, addresses=["10.72.0.1/24"], up=False)
    shown = {"addresses": ["10.72.0.1/24"], "mtu": 1500, "up": False, "gateway": None, "routes": []}
    assert salt.cmd("link.show", link) == {link: shown}
    assert {"lo", LINK, PEER} <= set(salt.cmd("link.show"))
    assert salt.cmd("link.show", "vt-nosuch") == {"vt-nosuch": None}

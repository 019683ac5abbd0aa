"""The address of the host moves from its card to a bridge, now and at the next boot (S2.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.link import persist
from corral.link.render import OUT
from tests.support.expect import assert_failed
from tests.support.link_keepers import (
    LINK,
    PEER,
    Networkd,
    State,
    booted_by_ifupdown,
    path_of,
    run,
    seen,
    texts,
)

pytest_plugins = ["tests.support.link_hosts"]

BRIDGE, SPACE = "brt-keep0", "tkeep-net"
DECLARED: dict[str, Any] = {
    "addresses": ["10.78.0.2/24", "fd78::2/64"],
    "up": True,
    "gateway": "10.78.0.1",
    "routes": [{"to": "default", "via": "fd78::1"}],
    "takes_over": [LINK],
}


@pytest.fixture
def bridge(link: str) -> Iterator[str]:
    """A card that somebody has set up, a bridge without anything, and the router at the end of the cable."""
    run("ip", "netns", "add", SPACE)
    run("ip", "link", "set", PEER, "netns", SPACE)
    run("ip", "-n", SPACE, "address", "add", "10.78.0.1/24", "dev", PEER)
    run("ip", "-n", SPACE, "link", "set", PEER, "up")
    by_hand()
    make_bridge()
    yield BRIDGE
    run("ip", "link", "delete", BRIDGE)
    run("ip", "-n", SPACE, "link", "set", PEER, "netns", "1")
    run("ip", "netns", "delete", SPACE)


def by_hand() -> None:
    run("ip", "link", "set", LINK, "up")
    for address in ("10.78.0.2/24", "10.78.5.5/24", "fd78::2/64"):
        run("ip", "address", "add", address, "dev", LINK, *(["nodad"] if ":" in address else ["brd", "+"]))
    run("ip", "route", "add", "default", "via", "10.78.0.1", "dev", LINK)
    run("ip", "-6", "route", "add", "default", "via", "fd78::1", "dev", LINK)


def make_bridge() -> None:
    run("ip", "link", "add", BRIDGE, "type", "bridge")


def look() -> Any:
    return seen(), held(LINK), held(BRIDGE)


def held(name: str) -> Any:
    (link,) = json.loads(run("ip", "-json", "address", "show", "dev", name))
    routes = [
        (one["dst"], one.get("gateway"), one.get("protocol"))
        for family in ("-4", "-6")
        for one in json.loads(run("ip", family, "-json", "route", "show", "dev", name) or "[]")
        if one.get("protocol") != "kernel"
    ]
    addresses = [one["local"] for one in link["addr_info"] if one["scope"] != "link"]
    return sorted(addresses), sorted(routes, key=str), "UP" in link["flags"]


def back_on_the_card() -> None:
    run("ip", "address", "add", "10.78.0.2/24", "dev", LINK)


def test_four_ways(four_ways: State, bridge: str) -> None:
    made = four_ways(
        "link.managed",
        bridge,
        look=look,
        disturb=back_on_the_card,
        drift={f"{LINK}.addresses.10.78.0.2/24": {"old": "10.78.0.2/24", "new": None}},
        **DECLARED,
    )
    assert made[f"{bridge}.gateway"] == {"old": f"10.78.0.1 through {LINK}", "new": "10.78.0.1"}
    assert held(bridge)[0] == ["10.78.0.2", "fd78::2"]
    assert held(bridge)[1] == [("default", "10.78.0.1", "67"), ("default", "fd78::1", "67")]
    assert held(LINK) == (["10.78.5.5"], [], True), "what is not declared stays on the card"


def test_not_without_the_word(state: State, bridge: str) -> None:
    before = look()
    declared = {**DECLARED, "takes_over": None}
    assert_failed(
        state("link.managed", bridge, **declared),
        f"links.{bridge}.addresses[0]: 10.78.0.2 is a duplicate address, {LINK} has it.",
        f"links.{bridge}.gateway: the route to 0.0.0.0/0 leads through {LINK} already.",
    )
    assert look() == before


def test_all_of_one_device(state: State, bridge: str) -> None:
    answer = state("link.managed", LINK, addresses=["10.78.0.2/24"], routes=[], takes_over=[LINK])
    assert answer["result"] is True, answer
    assert held(LINK) == (["10.78.0.2"], [], True)


def test_a_guard_brings_all_of_it_back(state: State, bridge: str) -> None:
    """The card is no port of the bridge, so the router is not reached through it."""
    persist.MAIN.write_text(f"source /etc/network/interfaces.d/*\nauto {LINK}\niface {LINK} inet dhcp\n")
    sign = Path("/usr/local/sbin/ifup")
    sign.write_text("#!/bin/sh\n")
    sign.chmod(0o755)
    try:
        before = texts(), held(LINK), held(bridge)[:2]
        guard = {"within": "5s", "probes": [{"ping": "10.78.0.1"}]}
        answer = state("link.managed", bridge, **DECLARED, persist="ifupdown", guard=guard)
        assert_failed(answer, "The change was reverted: ")
        assert (texts(), held(LINK), held(bridge)[:2]) == before
    finally:
        sign.unlink()


THEIRS: dict[str, tuple[str, str]] = {
    "networkd": (
        "/etc/systemd/network/10-theirs.network",
        f"[Match]\nName={LINK}\n[Network]\nAddress=10.78.0.2/24\n",
    ),
    "ifupdown": (
        str(persist.MAIN),
        "source /etc/network/interfaces.d/*\n"
        f"auto lo {LINK}\niface {LINK} inet static\n    address 10.78.0.2/24\n",
    ),
    "networkmanager": (
        "/etc/NetworkManager/system-connections/Wired.nmconnection",
        f"[connection]\nid=Wired\ninterface-name={LINK}\n",
    ),
    "ifcfg": (path_of("ifcfg"), f"DEVICE={LINK}\nBOOTPROTO=static\nIPADDR=10.78.0.2\nPREFIX=24\n"),
}


def write_theirs(manager: str) -> Path:
    path, text = THEIRS[manager]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def test_the_files_of_the_card(four_ways: State, bridge: str, manager: str) -> None:
    """They bring its address up no more, and the card itself all the same, as no switch does."""
    theirs = write_theirs(manager)
    ours = Path(path_of(manager))
    four_ways(
        "link.managed",
        bridge,
        look=look,
        disturb=back_on_the_card,
        drift={f"{LINK}.addresses.10.78.0.2/24": {"old": "10.78.0.2/24", "new": None}},
        **DECLARED,
        persist="auto",
    )
    assert "10.78.0.2" not in ours.read_text()
    wanted = {
        "networkd": THEIRS["networkd"][1],
        "ifupdown": "source /etc/network/interfaces.d/*\n"
        f"{OUT}auto lo {LINK}\nauto lo\n{OUT}iface {LINK} inet static\n{OUT}    address 10.78.0.2/24\n",
        "networkmanager": THEIRS["networkmanager"][1],
        "ifcfg": ours.read_text(),
    }[manager]
    assert theirs.read_text() == wanted
    if manager == "networkmanager":
        assert "autoconnect-priority=900" in ours.read_text()


@pytest.mark.parametrize("manager", ["ifupdown"], indirect=True)
def test_a_file_of_ours_that_declares_what_moves(state: State, bridge: str, manager: str) -> None:
    state("link.managed", LINK, addresses=["10.78.0.2/24"], persist=manager)
    answer = state("link.managed", bridge, **DECLARED, persist=manager)
    assert answer["result"] is True, answer
    assert "10.78.0.2" not in Path(path_of(manager)).read_text()
    assert state("link.managed", LINK, mtu=1500, persist=manager)["result"] is True
    assert state("link.managed", bridge, **DECLARED, persist=manager)["changes"] == {}


def test_a_file_with_a_secret_is_not_shown(state: State, bridge: str) -> None:
    sign = Path("/usr/local/sbin/ifup")
    sign.write_text("#!/bin/sh\n")
    sign.chmod(0o755)
    persist.MAIN.write_text(f"{THEIRS['ifupdown'][1]}\niface wlan0 inet dhcp\n    wpa-psk hush-hush\n")
    try:
        before = look()
        answer = state("link.managed", bridge, **DECLARED, persist="auto")
        assert_failed(answer, "/etc/network/interfaces holds a secret, which the change would show")
        assert look() == before
        preview = state("link.managed", bridge, test=True, **DECLARED, persist="auto")
        assert "hush-hush" not in str(preview)
    finally:
        sign.unlink()


def test_comes_back_by_networkd(state: State, bridge: str, networkd: Networkd) -> None:
    write_theirs("networkd")
    networkd.start()
    assert state("link.managed", bridge, **DECLARED, persist="auto")["result"] is True
    networkd.stop()
    run("ip", "link", "delete", bridge)
    run("ip", "link", "delete", LINK)
    run("ip", "link", "add", LINK, "type", "veth", "peer", "name", PEER, "netns", SPACE)
    run("ip", "-n", SPACE, "link", "set", PEER, "up")
    make_bridge()
    networkd.start()
    networkd.wait(bridge)
    again = state("link.managed", bridge, test=True, **DECLARED, persist="auto")
    assert (again["result"], again["changes"]) == (True, {}), again
    assert held(LINK) == ([], [], True)


def test_comes_back_by_ifupdown(state: State, bridge: str) -> None:
    write_theirs("ifupdown")
    assert state("link.managed", bridge, **DECLARED, persist="auto")["result"] is True
    for name in (bridge, LINK):
        run("ip", "address", "flush", "dev", name)
        run("ip", "link", "set", name, "down")
    booted_by_ifupdown(LINK, bridge)
    again = state("link.managed", bridge, test=True, **DECLARED, persist="auto")
    assert (again["result"], again["changes"]) == (True, {}), again
    assert held(LINK) == ([], [], True)

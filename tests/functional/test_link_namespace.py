"""Network devices in namespaces of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from corral import netns
from corral.link import namespace
from tests.support.expect import assert_failed

LINK, PEER = "vt-ns0", "vt-ns1"
SPACE, OTHER = "tns-blue", "tns-red"
BRIDGE, PORTS = "brt-ovs-ns", ("pt-ns0", "pt-ns1")
CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
State = Callable[..., dict[str, Any]]


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def held(space: str = SPACE, name: str = LINK) -> Any:
    """Return what a namespace, or the host (``""``), has of a device; ``None`` if it is not there."""
    if space and space not in netns.names():
        return None
    inside = ("-n", space) if space else ()
    devices = {one["ifname"]: one for one in json.loads(ip(*inside, "-json", "address", "show"))}
    if name not in devices:
        return None
    one = devices[name]
    addresses = [f"{a['local']}/{a['prefixlen']}" for a in one["addr_info"] if a["scope"] != "link"]
    return sorted(addresses), one["mtu"], "UP" in one["flags"]


def seen() -> Any:
    return held(), held(""), held(OTHER), held(SPACE, "lo"), netns.names()


def reaches(space: str, address: str) -> bool:
    words = ["ip", "netns", "exec", space, "ping", "-c", "1", "-w", "5", address]
    return subprocess.run(words, check=False, capture_output=True, timeout=30).returncode == 0


@pytest.fixture
def spaces() -> Iterator[None]:
    yield
    for name in {SPACE, OTHER} & set(netns.names()):
        namespace.remove(name)


@pytest.fixture
def link(spaces: None) -> Iterator[str]:
    ip("link", "add", LINK, "type", "veth", "peer", "name", PEER)
    ip("link", "set", PEER, "up")
    yield LINK
    ip("link", "delete", PEER)


def test_four_ways(four_ways: State, link: str) -> None:
    made = four_ways(
        "link.managed",
        link,
        look=seen,
        disturb=lambda: ip("-n", SPACE, "link", "set", link, "netns", "1"),
        drift={
            f"{link}.namespace": {"old": None, "new": SPACE},
            f"{link}.addresses.10.73.0.1/24": {"old": None, "new": "10.73.0.1/24"},
            f"{link}.up": {"old": False, "new": True},
        },
        namespace=SPACE,
        addresses=["10.73.0.1/24"],
        mtu=1450,
        up=True,
    )
    assert list(made)[:2] == [f"{link}.namespace", f"{link}.loopback"]
    assert (held(), held("")) == ((["10.73.0.1/24"], 1450, True), None)
    assert namespace.ours(SPACE)


@pytest.mark.parametrize(
    ("words", "drift"),
    [
        (("link", "set", "lo", "down"), {"loopback": (False, True)}),
        (("link", "set", LINK, "down"), {"up": (False, True)}),
        (("link", "set", LINK, "mtu", "1300"), {"mtu": (1300, 1450)}),
        (
            ("address", "delete", "10.73.0.1/24", "dev", LINK),
            {"addresses.10.73.0.1/24": (None, "10.73.0.1/24")},
        ),
    ],
)
def test_altered_behind_our_back(
    four_ways: State, link: str, words: tuple[str, ...], drift: dict[str, tuple[Any, Any]]
) -> None:
    four_ways(
        "link.managed",
        link,
        look=seen,
        disturb=lambda: ip("-n", SPACE, *words),
        drift={f"{link}.{key}": {"old": old, "new": new} for key, (old, new) in drift.items()},
        namespace=SPACE,
        addresses=["10.73.0.1/24"],
        mtu=1450,
        up=True,
    )


def test_what_is_not_mentioned_goes_along(state: State, link: str) -> None:
    """Linux takes addresses off a device that changes its namespace, and takes it down."""
    ip("address", "add", "10.73.0.9/24", "dev", link)
    ip("-6", "address", "add", "fd73::9/64", "dev", link)
    ip("link", "set", link, "up")
    here = held("")
    moved = {
        f"{link}.namespace": {"old": None, "new": SPACE},
        f"{link}.loopback": {"old": False, "new": True},
    }
    assert state("link.managed", link, namespace=SPACE)["changes"] == moved
    assert (held(), held("")) == (here, None)
    there = state("link.managed", link, namespace=OTHER)
    assert there["changes"][f"{link}.namespace"] == {"old": SPACE, "new": OTHER}
    assert (held(OTHER), held()) == (here, None)
    back = state("link.managed", link, namespace=None)
    assert back["changes"] == {f"{link}.namespace": {"old": OTHER, "new": None}}
    assert (held(""), held(OTHER)) == (here, None)


def test_two_tenants_have_the_same_address(state: State, link: str) -> None:
    for name, space in ((LINK, SPACE), (PEER, OTHER)):
        answer = state("link.managed", name, namespace=space, addresses=["10.73.0.1/24"], up=True)
        assert answer["result"] is True, answer
    assert held(SPACE, LINK) == held(OTHER, PEER)
    assert_failed(
        state("link.managed", "lo", namespace=SPACE, addresses=["10.73.0.1/32"]),
        f"links.lo.addresses[0]: 10.73.0.1 is a duplicate address, {LINK} has it.",
    )
    ip("-n", OTHER, "link", "set", PEER, "netns", "1")  # for the fixture


def test_internal_ports_of_a_switch(four_ways: State, state: State, switch: ModuleType, spaces: None) -> None:
    """A moved tap keeps its traffic; a restarted switch makes another, and leaves the old one dead."""
    one, two = PORTS
    switch.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
    for name in PORTS:
        switch.vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, "type=internal")
    wanted = {"namespace": OTHER, "addresses": ["10.73.0.2/24"], "up": True}
    assert state("link.managed", two, **wanted)["result"] is True

    four_ways(
        "link.managed",
        one,
        look=lambda: (held(SPACE, one), held("", one), held(SPACE, "lo")),
        disturb=lambda: switch.run(CTL, "--no-ovsdb-server", "restart"),
        drift={
            f"{one}.namespace": {"old": None, "new": SPACE},
            f"{one}.mtu": {"old": 1500, "new": 1450},
            f"{one}.addresses.10.73.0.1/24": {"old": None, "new": "10.73.0.1/24"},
            f"{one}.up": {"old": False, "new": True},
        },
        namespace=SPACE,
        addresses=["10.73.0.1/24"],
        mtu=1450,
        up=True,
    )
    assert state("link.managed", two, **wanted)["changes"][f"{two}.namespace"] == {"old": None, "new": OTHER}
    assert reaches(OTHER, "10.73.0.1")
    switch.vsctl("set", "port", one, "tag=5")
    switch.vsctl("set", "port", two, "tag=5")
    assert reaches(SPACE, "10.73.0.2")
    switch.vsctl("del-br", BRIDGE)
    assert held(SPACE, one) is held(OTHER, two) is None


def test_absent_four_ways(four_ways: State, spaces: None) -> None:
    namespace.make(SPACE)
    four_ways(
        "link.namespace_absent",
        SPACE,
        look=netns.names,
        disturb=lambda: ip("netns", "add", SPACE),
        drift={SPACE: {"old": "a network namespace", "new": None}},
    )


def test_absent_is_refused_while_something_is_in_it(state: State, link: str) -> None:
    state("link.managed", link, namespace=SPACE)
    assert_failed(
        state("link.namespace_absent", SPACE), f"namespaces.{SPACE}: the device {LINK} is in it still."
    )
    state("link.managed", link, namespace=None)
    sleeper = subprocess.Popen(
        ["ip", "netns", "exec", SPACE, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert sleeper.stdin and sleeper.stdout
    sleeper.stdin.write(b"in it\n")
    sleeper.stdin.flush()
    assert sleeper.stdout.readline() == b"in it\n"
    assert_failed(
        state("link.namespace_absent", SPACE),
        f"namespaces.{SPACE}: process {sleeper.pid} (cat) is in it still.",
    )
    sleeper.communicate()
    assert state("link.namespace_absent", SPACE)["result"] is True
    assert SPACE not in netns.names()


def test_a_namespace_of_somebody_else_is_not_ours(salt: Any, state: State, link: str) -> None:
    namespace.make(SPACE)
    ip("netns", "delete", SPACE)
    ip("netns", "add", SPACE)
    state("link.managed", link, namespace=OTHER, up=True)
    here = salt.cmd("link.namespaces")
    assert here[SPACE] == {"ours": False, "devices": [], "processes": {}}
    assert here[OTHER] == {"ours": True, "devices": [LINK], "processes": {}}
    assert salt.cmd("link.show", LINK, namespace=OTHER)[LINK]["up"] is True
    assert salt.cmd("link.show", LINK) == {LINK: None}


@pytest.mark.parametrize(
    ("name", "wrong", "sentence"),
    [
        (LINK, {"namespace": "a/b"}, f"links.{LINK}.namespace: 'a/b' is not a name"),
        (LINK, {"namespace": True}, f"links.{LINK}.namespace: True is not a name"),
        ("vt-nosuch", {"namespace": SPACE}, "links.vt-nosuch: there is no such link on this host."),
        ("lo", {"namespace": SPACE}, f"links.lo.namespace: there is no network namespace '{SPACE}'."),
    ],
)
def test_bad_input(state: State, link: str, name: str, wrong: dict[str, Any], sentence: str) -> None:
    before = seen()
    assert_failed(state("link.managed", name, **wrong), sentence)
    assert seen() == before


def test_a_name_that_two_namespaces_have(state: State, link: str) -> None:
    for space in (SPACE, OTHER):
        namespace.make(space)
        ip("-n", space, "link", "add", "vt-two", "type", "bridge")
    sentence = f"links.vt-two.namespace: a device of this name is in '{SPACE}' and in '{OTHER}'."
    assert_failed(state("link.managed", "vt-two", namespace=None), sentence)


def test_what_the_kernel_does_not_move(state: State, spaces: None) -> None:
    ip("link", "add", "brt-ns9", "type", "bridge")
    try:
        before = held("", "brt-ns9")
        sentence = f"links.brt-ns9.namespace: the kernel refuses '{SPACE}': Invalid argument."
        assert_failed(state("link.managed", "brt-ns9", namespace=SPACE), sentence)
        assert held("", "brt-ns9") == before
    finally:
        ip("link", "delete", "brt-ns9")

"""Traffic over an LACP bond to a partner switch, while links and members come and go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.functional.test_ovs_bond import awaited, watched
from tests.support.streams import Stream, joined

HERE, PARTNER = "brt-ovs-a", "brt-ovs-b"
BOND, ITS_BOND = "brt-bond0", "brt-bond1"
NEW, FAR_NEW = "brt-w0", "brt-w1"  # a third cable
LACP = {
    "mode": "balance-tcp",
    "lacp": "active",
    "lacp_time": "fast",
    "other_config": {"bond-rebalance-interval": 1000},  # new members get their share
}


@pytest.fixture
def cable(switch: ModuleType) -> Iterator[None]:
    switch.run("ip", "link", "add", NEW, "type", "veth", "peer", "name", FAR_NEW)
    for end in (NEW, FAR_NEW):
        switch.run("ip", "link", "set", end, "up")
    yield
    switch.run("ip", "link", "delete", NEW)


@pytest.fixture
def bonded(state: Any, switch: ModuleType, salt: Any) -> Iterator[Callable[..., dict[str, Any]]]:
    """Two switches with a namespace on each, and how they are declared, with more members or without."""

    def highstate(here: tuple[str, ...] = (), partner: tuple[str, ...] = ()) -> dict[str, Any]:
        ends = ((HERE, BOND, ("eth1", "eth2", *here)), (PARTNER, ITS_BOND, ("eth3", "eth4", *partner)))
        declared = {
            bridge: {"datapath_type": "netdev", "bonds": {bond: {"members": list(members), **LACP}}}
            for bridge, bond, members in ends
        }
        run = state("ovs.switch_managed", "switch", bridges=declared)
        assert run["result"] is True, run
        return dict(run["changes"])

    highstate()
    with joined(switch, HERE, PARTNER):
        status(salt, lambda bond: bond["state"] == "healthy")
        yield highstate


def status(salt: Any, true: Callable[[dict[str, Any]], bool], bond: str = BOND) -> dict[str, Any]:
    return awaited(lambda: salt.cmd("ovs.bond_status", bond)[bond], true)


def shared(stream: Stream, members: set[str]) -> None:
    """Wait until all of these members carry some of the flows: a bond rebalances now and then."""
    deadline = time.monotonic() + 30
    while stream.carriers(members) != members:
        assert time.monotonic() < deadline, f"not all of {members} carry flows"


def test_a_link_is_cut_and_mended(bonded: Any, switch: ModuleType, salt: Any) -> None:
    """S0.8, S1.7: all flows go on over the other link, and over both again."""
    with Stream() as stream:
        shared(stream, {"eth1", "eth2"})
        switch.run("ip", "link", "set", "eth3", "down")  # the partner's end of eth1
        stream.goes_on()
        degraded = status(salt, lambda bond: bond["state"] == "degraded")
        assert (degraded["healthy"], degraded["reason"]) == (False, "eth1: its link is down")
        assert stream.carriers(["eth1", "eth2"]) == {"eth2"}
        switch.run("ip", "link", "set", "eth3", "up")
        stream.goes_on()
        mended = status(salt, lambda bond: bond["state"] == "healthy")
        assert (mended["healthy"], mended["reason"], set(mended["members"])) == (True, "", {"eth1", "eth2"})
        shared(stream, {"eth1", "eth2"})
        assert bonded() == {}, "that a link was cut changes nothing in what is declared"


def test_a_member_comes_and_goes(bonded: Any, cable: None, switch: ModuleType, salt: Any) -> None:
    """All flows go on, and those members that stay are never out."""
    at = f"{HERE}.bonds.{BOND}.members"
    with watched(switch, BOND) as seen, Stream() as stream:
        stream.goes_on()
        assert bonded((NEW,))[at] == {"old": ["eth1", "eth2"], "new": [NEW, "eth1", "eth2"]}
        stream.goes_on()
        alone = status(salt, lambda bond: bond["state"] == "degraded")
        assert alone["reason"].startswith(f"{NEW}: "), "the partner has not been told yet"
        bonded((NEW,), (FAR_NEW,))
        status(salt, lambda bond: bond["state"] == "healthy")
        shared(stream, {"eth1", "eth2", NEW})

        assert list(bonded((), (FAR_NEW,))) == [at]
        stream.goes_on()
        status(salt, lambda bond: bond["state"] == "healthy")
        left = status(salt, lambda bond: bond["state"] == "degraded", ITS_BOND)
        assert left["reason"].startswith(f"{FAR_NEW}: ")
        bonded()
        status(salt, lambda bond: bond["state"] == "healthy", ITS_BOND)
        stream.goes_on()
    assert any(f"member {NEW}: enabled" in look for look in seen)
    for member in ("eth1", "eth2"):
        assert [look for look in seen if f"member {member}: enabled" not in look] == []

"""The planner of uplinks: what leads a host's address from its cards onto a bridge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corral.change import Change, changes
from corral.link.model import Device, Held
from corral.link.model import Host as Links
from corral.link.route import BY_KERNEL, OURS, HeldRoute
from corral.ovs.host import Host, made
from corral.uplink.model import Uplink
from corral.uplink.plan import Card, Current, announced, lacking, of_link, plan

STATIC, ROUTER, RA = 4, "192.0.2.1", 9
ROUTES = (
    HeldRoute("192.0.2.0/24", maker=BY_KERNEL),
    HeldRoute("0.0.0.0/0", ROUTER, 42, STATIC),
    HeldRoute("::/0", "fe80::1", 1024, RA),
)
ETH0 = Device(
    addresses=(Held("192.0.2.10/24", ours=False), Held("fe80::2/64", ours=False)),
    up=True,
    routes=ROUTES,
    index=2,
)
MACS = {"eth0": "52:54:00:00:00:02", "eth1": "52:54:00:00:00:01"}


def current(
    bridges: dict[str, Any] | None = None, cards: dict[str, Card] | None = None, **devices: Device
) -> Current:
    there = {"br0": Device(kind="openvswitch"), "eth0": ETH0, "eth1": Device(up=True, index=3), **devices}
    known = {name: Card(mac) for name, mac in MACS.items()}
    return Current(Host(bridges or {}), Links({None: there}), {**known, **(cards or {})})


def uplink(**declared: Any) -> Uplink:
    return Uplink.declare("br0", {"ports": {"eth0": {}}, "persist": None, **declared})


def shown(current: Current, desired: Uplink) -> list[str]:
    """Return the changes as lines."""
    return [f"{path}: {one['old']} -> {one['new']}" for path, one in changes(plan(current, desired)).items()]


def test_the_switch_then_the_bridge_then_the_card() -> None:
    (bridge, *todo) = plan(current(), uplink())
    assert bridge.path == ("br0",) and bridge.new["other_config"] == {"hwaddr": MACS["eth0"]}
    assert [change.dotted for change in todo] == [
        "br0.ports.eth0",
        "br0.addresses.192.0.2.10/24",
        "br0.up",
        "br0.routes.0.0.0.0/0 metric 42",
        "eth0.routes.0.0.0.0/0 metric 42",
        "eth0.addresses.192.0.2.10/24",
    ]
    assert [of_link(change) for change in (bridge, *todo)] == [False, False, *[True] * 5]
    assert announced(todo, "br0") == ("192.0.2.10",)


def carried_out(before: Current) -> Current:
    """Return the host after the move."""
    own = Device(
        addresses=(Held("192.0.2.10/24"),),
        up=True,
        routes=(ROUTES[0], replace(ROUTES[1], maker=OURS)),
        index=9,
        kind="openvswitch",
    )
    bare = replace(ETH0, addresses=ETH0.addresses[1:], routes=ROUTES[2:])
    spec = made("bridges", {"other_config": {"hwaddr": MACS["eth0"]}}, "br0")
    spec["ports"]["eth0"] = {"type": "system"}
    return current({"br0": spec}, br0=own, eth0=bare)


def test_nothing_is_left_to_do_after_it() -> None:
    after = carried_out(current())
    assert plan(after, uplink()) == ()
    assert (
        plan(
            after,
            uplink(addresses=["192.0.2.10/24"], routes=[{"to": "default", "via": ROUTER, "metric": 42}]),
        )
        == ()
    )


def test_what_comes_back_on_the_card_goes_again() -> None:
    after = carried_out(current())
    devices = dict(after.links.spaces[None])
    devices["eth0"] = replace(devices["eth0"], addresses=ETH0.addresses)
    back = Current(after.switch, Links({None: devices}), after.cards)
    assert plan(back, uplink()) == (Change(("eth0", "addresses", "192.0.2.10/24"), "192.0.2.10/24", None),)


def test_what_is_declared_is_all_that_the_bridge_gets() -> None:
    lines = shown(current(), uplink(addresses=["192.0.2.11/24"], gateway="192.0.2.2", routes=[]))[2:]
    assert lines == [
        "br0.addresses.192.0.2.11/24: None -> 192.0.2.11/24",
        "br0.up: False -> True",
        "br0.gateway: None -> 192.0.2.2",
        f"eth0.routes.0.0.0.0/0 metric 42: {ROUTER} -> None",
        "eth0.addresses.192.0.2.10/24: 192.0.2.10/24 -> None",
    ]


def test_the_mac_address_of_the_card_that_has_the_address() -> None:
    bond = {"ports": {}, "bonds": {"bond0": {"members": ["eth1", "eth0"]}}}
    assert plan(current(), uplink(**bond))[0].new["other_config"] == {"hwaddr": MACS["eth0"]}


@pytest.mark.parametrize("hwaddr", ["02:00:00:00:00:07", None])
def test_the_mac_address_that_is_declared(hwaddr: str | None) -> None:
    new = plan(current(), uplink(other_config={"hwaddr": hwaddr}))[0].new
    assert new.get("other_config", {}).get("hwaddr") == hwaddr


def test_a_bridge_with_an_address_keeps_its_mac_address() -> None:
    spec = made("bridges", {}, "br0")
    there = Device(addresses=(Held("198.51.100.1/24", ours=False),), up=True, index=9, kind="tun")
    paths = [change.dotted for change in plan(current({"br0": spec}, br0=there), uplink())]
    assert paths[:2] == ["br0.ports.eth0", "br0.addresses.192.0.2.10/24"]


def test_a_card_that_is_down_comes_up() -> None:
    todo = plan(current(eth0=replace(ETH0, up=False)), uplink())
    assert Change(("eth0", "up"), False, True) in todo


OTHER = made("bridges", {}, "br1")
OTHER["bonds"]["bond0"] = {"members": ["eth0", "eth1"]}
LENT = replace(ETH0, addresses=(Held("192.0.2.10/24", ours=False, lasting=False),))


@pytest.mark.parametrize(
    "there, declared, sentence",
    [
        (current({"br1": OTHER}), {}, "eth0 is on the bridge br1 already; take it off there first."),
        (
            current(cards={"eth0": Card(master="br9")}),
            {},
            "eth0 is a port of br9 already; take it off there first.",
        ),
        (
            current(cards={"eth0": Card(upper=("eth0.5", "eth0.6"))}),
            {},
            "eth0.5 and eth0.6 would get no frames any more; make it an internal port with that tag instead.",
        ),
        (
            current(cards={"eth0": Card(clients=("dhclient (process 7)",))}),
            {},
            "dhclient (process 7) would give eth0 its address again; have it let go of eth0 first.",
        ),
        (
            current(eth0=LENT),
            {},
            "192.0.2.10/24 of eth0 is lent by DHCP for a time; declare it under addresses where it is"
            " reserved for this host, or another one.",
        ),
        (current(eth0=LENT), {"addresses": ["192.0.2.10/24"]}, ""),
        (current(), {}, ""),
    ],
)
def test_what_is_in_the_way(there: Current, declared: dict[str, Any], sentence: str) -> None:
    expected = (f"bridges.br0.ports.eth0: {sentence}",) if sentence else ()
    assert tuple(lacking(there, uplink(**declared))) == expected


def test_it_is_kept_over_a_reboot_unless_it_is_said() -> None:
    assert uplink(persist="networkd").link.persist == "networkd"
    assert Uplink.declare("br0", {"ports": {"eth0": {}}}).link.persist == "auto"
    assert uplink().link.persist is None and "persist" in uplink().link.model_fields_set

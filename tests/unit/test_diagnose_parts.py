"""The pure parts beside the chain: a wider range, chains that drop, what hangs on what, and who is meant."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from corral.diagnose.attach import attachment
from corral.diagnose.netfilter import chains
from corral.diagnose.servers import wider
from corral.diagnose.target import resolve
from corral.errors import Refused
from corral.topology.devices import Devices
from corral.topology.domains import Domain
from corral.topology.seen import Namespace, Seen


@pytest.mark.parametrize(
    ("fields", "held", "expected"),
    [
        ({"range": "10.0.0.5-10.0.0.9"}, (), "10.0.0.5-10.0.0.14"),
        ({"range": "10.0.0.5-10.0.0.9", "router": "10.0.0.14"}, (), "10.0.0.5-10.0.0.13"),
        ({"range": "10.0.0.5-10.0.0.14", "router": "10.0.0.1"}, (), "10.0.0.2-10.0.0.14"),
        ({"range": "10.0.0.2-10.0.0.14", "router": "10.0.0.1"}, (), None),
        ({"router": "10.0.0.1"}, ("10.0.0.7",), "10.0.0.8-10.0.0.14"),
        ({"router": "10.0.0.14"}, (), None),
    ],
    ids=["to the end", "to the router", "from the router", "nothing left", "none yet", "none possible"],
)
def test_a_wider_range(fields: dict[str, str], held: tuple[str, ...], expected: str | None) -> None:
    taken = {int(IPv4Address(one)) for one in held}
    assert wider({"network": "10.0.0.0/28", **fields}, taken) == expected


def chain(**about: str) -> dict[str, Any]:
    return {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", **about}}


def test_chains_that_drop_what_is_forwarded() -> None:
    listed = [
        {"metainfo": {"version": "1.0.6"}},
        chain(policy="drop"),
        chain(policy="accept"),
        chain(policy="drop", hook="input"),
        chain(policy="drop", family="ip6"),
        chain(policy="drop", family="inet", table="corral", name="forward"),
        {"chain": {"family": "ip", "table": "filter", "name": "docker"}},
    ]
    assert chains({"nftables": listed}) == (
        "the chain FORWARD of the table ip filter",
        "the chain forward of the table inet corral",
    )


def device(index: int, name: str, kind: str, **about: Any) -> dict[str, Any]:
    plain = {"master": None, "link": None, "link_namespace": None, "addresses": [], "mac": "", "mtu": 1500}
    return {"index": index, "name": name, "kind": kind, "up": True, "carrier": True, **plain, **about}


def test_from_a_namespace_over_a_linux_bridge_and_a_vlan_to_the_switch() -> None:
    own = Namespace(
        "",
        [
            device(1, "veth0", "veth", link=1, link_namespace=0, master=2),
            device(2, "br9", "bridge"),
            device(3, "up0.7", "vlan", link=4, master=2, vlan=7),
            device(4, "up0", "tun"),
            device(5, "other", "tun", master=2),
        ],
        ids={0: "blue"},
    )
    there = Namespace("blue", [device(1, "eth0", "veth", link=1, link_namespace=0)], ids={0: ""})
    devices = Devices([own, there], ["up0", "elsewhere"])
    found = attachment(devices, ("blue", 1), {"up0", "elsewhere"})
    assert found.interfaces == (("up0", 7),)
    assert found.bridges == ("br9",)
    assert ("", 5) in found.places


def test_a_port_that_was_moved_into_a_namespace_is_one_itself() -> None:
    there = Namespace("blue", [device(9, "gw0", "tun")])
    devices = Devices([Namespace(""), there], ["gw0"])
    assert attachment(devices, ("blue", 9), {"gw0"}).interfaces == (("gw0", None),)


def interface(name: str, *ids: str) -> dict[str, Any]:
    return {"name": name, "external_ids": ["map", [list(one.split("=")) for one in ids]]}


GUEST = Domain("web", "u-1", "running", ({"mac": "52:54:00:00:00:01", "device": "vnet0"},))
SEEN = Seen(
    {
        "Interface": [
            interface("vnet0"),
            interface("gone0", "attached-mac=52:54:00:00:00:09"),
            interface("gw0"),
        ]
    },
    [
        Namespace("", [device(1, "vnet0", "tun", mac="fe:54:00:00:00:01"), device(2, "br9", "bridge")]),
        Namespace("pid 7", [device(3, "gw0", "tun", mac="52:54:00:00:00:07", up=False)]),
    ],
    domains=[GUEST, Domain("off", "u-2", "stopped", ({"mac": "52:54:00:00:00:02", "device": None},))],
)


@pytest.mark.parametrize(
    ("name", "mac", "tap"),
    [
        ("web", "52:54:00:00:00:01", "vnet0"),
        ("u-1", "52:54:00:00:00:01", "vnet0"),
        ("vnet0", "52:54:00:00:00:01", "vnet0"),
        ("52-54-00-00-00-01", "52:54:00:00:00:01", "vnet0"),
        ("off", "52:54:00:00:00:02", None),
        ("gw0", "52:54:00:00:00:07", "gw0 in the namespace pid 7"),
        ("52:54:00:00:00:07", "52:54:00:00:00:07", "gw0 in the namespace pid 7"),
        ("pid 7", "52:54:00:00:00:07", "gw0 in the namespace pid 7"),
        ("gone0", "52:54:00:00:00:09", None),
    ],
)
def test_who_is_meant(name: str, mac: str, tap: str | None) -> None:
    found, _ = resolve(name, None, SEEN, Devices(SEEN.namespaces, ["vnet0", "gone0", "gw0"]))
    assert (found.mac, found.tap.label if found.tap else None) == (mac, tap)


@pytest.mark.parametrize(("name", "mac"), [("nobody", None), ("web", "52:54:00:00:00:99")])
def test_nobody_is_meant(name: str, mac: str | None) -> None:
    with pytest.raises(Refused, match=f"network namespace {name}"):
        resolve(name, mac, SEEN, Devices(SEEN.namespaces, ["vnet0"]))

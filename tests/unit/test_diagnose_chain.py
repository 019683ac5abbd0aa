"""The verdict on a guest's way to its DHCP server: the first broken hop, its sentence, and what mends it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corral.diagnose.chain import HOPS, diagnosis
from corral.diagnose.facts import Addresses, Device, Facts, Netfilter, Port, Server, Target
from corral.diagnose.frames import Seen
from corral.ovs.trace import Trace

MAC = "52:60:2f:00:00:01"
TARGET = Target("web", MAC, guest="web", tap=Device("vnet0"), tap_name="vnet0")
PORT = Port("vnet0", "vnet0", "br0", 3, 5)
FAR = Port("dhcp0", "dhcp0", "br0", 4, 5)
SERVER = Server("dhcp0", subnet="blue", device=Device("dhcp0"), port=FAR, fields={"interface": "dhcp0"})
FACTS = Facts(
    TARGET,
    PORT,
    SERVER,
    request=Trace((("dhcp0", None),)),
    reply=Trace((("vnet0", None),)),
    addresses=Addresses(None, 3, 10),
)
DISCOVER, OFFER = Seen("DISCOVER", MAC, 1), Seen("OFFER", MAC, 1, "10.0.0.9", "10.0.0.1")
LISTENED: dict[str, Any] = {"at_tap": (), "at_server": (), "probed": True, "seconds": 5}


def server(**change: Any) -> Server:
    return replace(SERVER, **change)


def facts(**change: Any) -> Facts:
    return replace(FACTS, **change)


def test_nothing_is_broken() -> None:
    found = diagnosis(facts(**{**LISTENED, "at_tap": (OFFER,), "at_server": (DISCOVER, OFFER)}))
    assert (found["healthy"], found["broken"], found["reason"], found["fix"]) == (True, None, "", None)
    assert (found["guest"], found["mac"]) == ("web", MAC)
    assert [hop["hop"] for hop in found["hops"]] == [
        name for name in HOPS if name not in ("tunnel", "netfilter")
    ]
    assert found["hops"][-1]["seen"] == "an OFFER of 10.0.0.9 by 10.0.0.1 arrives at the guest"
    assert [one["kind"] for one in found["captured"]["server port"]] == ["DISCOVER", "OFFER"]
    assert found["captured"]["tap"] == [
        {
            "kind": "OFFER",
            "mac": MAC,
            "number": 1,
            "address": "10.0.0.9",
            "server": "10.0.0.1",
            "intact": True,
        }
    ]
    assert diagnosis(FACTS)["captured"] == {"tap": None, "server port": None}


def test_what_arrives_counts_more_than_what_was_concluded() -> None:
    found = diagnosis(facts(request=Trace(()), **{**LISTENED, "at_tap": (OFFER,)}))
    assert found["healthy"] is True
    assert {hop["hop"]: hop["ok"] for hop in found["hops"]}["path"] is None


def test_the_first_broken_hop_is_named() -> None:
    found = diagnosis(facts(server=server(running=False), request=Trace(()), addresses=Addresses(None, 0, 9)))
    assert [hop["hop"] for hop in found["hops"] if hop["ok"] is False] == ["server", "path", "addresses"]
    assert found["broken"] == "server"


FLOW = {"bridge": "br0", "table": 3, "match": "udp", "cookie": "0x7", "ours": False}
PRESENT = {"state": "ovs.port_present", "arguments": {"name": "vnet0", "bridge": "br0", "tag": 5}}
CASES: dict[str, tuple[Facts, str, str, Any]] = {
    "paused": (
        facts(target=replace(TARGET, state="paused")),
        "guest",
        "the guest web is paused",
        {"state": "guest.running", "arguments": {"name": "web"}},
    ),
    "no tap": (
        facts(target=replace(TARGET, tap=None)),
        "tap",
        "there is no device vnet0 on this host to carry its frames",
        None,
    ),
    "no device known": (
        facts(target=Target("x", MAC)),
        "tap",
        "x has no device on this host to carry its frames",
        None,
    ),
    "tap without carrier": (
        facts(target=replace(TARGET, tap=Device("vnet0", carrier=False))),
        "tap",
        "vnet0 is up, but has no carrier: its other end is down or gone",
        None,
    ),
    "down in a namespace without a name": (
        facts(target=replace(TARGET, tap=Device("p", "pid 7", up=False))),
        "tap",
        "p in the namespace pid 7 is down",
        None,
    ),
    "no port": (facts(port=None), "port", "vnet0 is no port of a switch", PRESENT),
    "no port, no server": (facts(port=None, server=None), "port", "vnet0 is no port of a switch", None),
    "port refused": (
        facts(port=replace(PORT, error="No such device")),
        "port",
        "Open vSwitch could not set up vnet0: No such device",
        None,
    ),
    "server runs otherwise": (
        facts(server=server(running="with another configuration")),
        "server",
        "dnsmasq of the subnet blue runs with another configuration",
        {"state": "dhcp.subnet_managed", "arguments": {"name": "blue", "interface": "dhcp0"}},
    ),
    "no device to serve on": (
        facts(server=server(device=None)),
        "server port",
        "there is no device dhcp0, on which dnsmasq of the subnet blue is to listen",
        None,
    ),
    "server is not plugged in": (
        facts(server=server(port=None)),
        "server port",
        "dhcp0, where dnsmasq of the subnet blue listens, is behind no port of a switch",
        None,
    ),
    "server's port refused": (
        facts(server=server(port=replace(FAR, error="x"))),
        "server port",
        "Open vSwitch could not set up dhcp0: x",
        None,
    ),
    "dropped by a flow": (
        facts(request=Trace((), dropped=FLOW)),
        "path",
        "a flow in table 3 of br0 drops a DISCOVER: udp (cookie 0x7, not Corral's)",
        None,
    ),
    "a flow of the tunnels' bridge drops its copy": (
        facts(port=replace(PORT, vlan=9), request=Trace((), dropped={**FLOW, "bridge": "br-tun"})),
        "path",
        "vnet0 is in VLAN 9, but dhcp0 is in VLAN 5: a broadcast does not leave its VLAN",
        PRESENT,
    ),
    "a flow of a bridge on the way drops it": (
        facts(request=Trace((), dropped={**FLOW, "bridge": "br1"})),
        "path",
        "a flow in table 3 of br1 drops a DISCOVER: udp (cookie 0x7, not Corral's)",
        None,
    ),
    "remarked on": (
        facts(request=Trace((), remarks=("one", "disallowed VLAN"))),
        "path",
        "br0 drops a DISCOVER from vnet0: disallowed VLAN",
        None,
    ),
    "untagged server": (
        facts(server=server(port=replace(FAR, vlan=0)), request=Trace((("dhcp0", 5),))),
        "path",
        "vnet0 is in VLAN 5, but dhcp0 is in no VLAN: a broadcast does not leave its VLAN",
        {"state": "ovs.port_present", "arguments": {"name": "vnet0", "bridge": "br0", "tag": None}},
    ),
    "server on the device of a VLAN": (
        facts(server=server(tag=7, port=replace(FAR, vlan=0)), request=Trace((("dhcp0", 5),))),
        "path",
        "vnet0 is in VLAN 5, but dhcp0 is in VLAN 7: a broadcast does not leave its VLAN",
        {"state": "ovs.port_present", "arguments": {"name": "vnet0", "bridge": "br0", "tag": 7}},
    ),
    "sent to others": (
        facts(request=Trace((("eth1", None),))),
        "path",
        "the switch forwards a DISCOVER from vnet0 to eth1, but not to dhcp0",
        None,
    ),
    "did not arrive": (
        facts(**LISTENED),
        "path",
        "by its flows the switch forwards a DISCOVER from vnet0 to dhcp0, but none arrived within 5 s",
        None,
    ),
    "answer dropped": (
        facts(reply=Trace((), dropped={**FLOW, "ours": True})),
        "reply",
        "a flow in table 3 of br0 drops an OFFER: udp (cookie 0x7, Corral's own)",
        None,
    ),
    "answer did not arrive": (
        facts(**{**LISTENED, "at_server": (DISCOVER, OFFER)}),
        "reply",
        "an OFFER left by dhcp0, but did not arrive at vnet0",
        None,
    ),
    "reservations only": (
        facts(addresses=Addresses(None, 0, 0, "10.0.0.5-10.0.0.9")),
        "addresses",
        "the subnet blue has no range, and no reservation for the guest",
        {
            "state": "dhcp.subnet_managed",
            "arguments": {"name": "blue", "interface": "dhcp0", "range": "10.0.0.5-10.0.0.9"},
        },
    ),
    "full, with no room": (
        facts(addresses=Addresses(None, 0, 2)),
        "addresses",
        "all 2 addresses of the range of the subnet blue are taken",
        None,
    ),
    "no answer": (
        facts(**{**LISTENED, "at_server": (DISCOVER,)}),
        "offer",
        "a DISCOVER arrives at dhcp0, but dnsmasq of the subnet blue has not answered it within 5 s:"
        " a firewall or its own configuration keeps it from that",
        None,
    ),
    "wrong checksum": (
        facts(**{**LISTENED, "at_tap": (replace(OFFER, intact=False),), "at_server": (DISCOVER, OFFER)}),
        "offer",
        "an OFFER arrives at the guest with a wrong checksum, so it is thrown away:"
        " its computing was left to a network card, of which there is none on this way (offload)",
        None,
    ),
    "nobody serves": (
        facts(server=None, others=("dnsmasq on eth1",), **{**LISTENED, "at_server": None}),
        "server",
        "no DHCP server of this host serves this switch (others: dnsmasq on eth1),"
        " and none elsewhere has answered",
        None,
    ),
    "tunnel": (
        facts(server=None, tunnels={"vx": {"healthy": False, "reason": "BFD is down"}}, **LISTENED),
        "tunnel",
        "the tunnel vx: BFD is down",
        None,
    ),
    "netfilter": (
        facts(
            port=None,
            meets=True,
            request=None,
            reply=None,
            linux_bridges=("br9",),
            netfilter=Netfilter(True, ("the chain f of the table ip t",)),
            server=server(port=None),
        ),
        "netfilter",
        "bridge-nf-call-iptables is 1, so frames on the Linux bridge br9 pass the chain f of the table ip t,"
        " whose policy is to drop them",
        {
            "state": "sysctl.present",
            "arguments": {"name": "net.bridge.bridge-nf-call-iptables", "value": 0},
        },
    ),
}


@pytest.mark.parametrize(("seen", "broken", "reason", "fix"), CASES.values(), ids=CASES)
def test_what_is_broken(seen: Facts, broken: str, reason: str, fix: Any) -> None:
    found = diagnosis(seen)
    assert (found["broken"], found["reason"], found["fix"]) == (broken, f"{reason}.", fix)
    assert found["healthy"] is False


def test_every_hop_can_be_broken() -> None:
    assert {broken for _, broken, _, _ in CASES.values()} == set(HOPS)


@pytest.mark.parametrize(
    ("change", "hop", "ok"),
    [
        ({"netfilter": Netfilter(False), "linux_bridges": ("br9",)}, "netfilter", True),
        ({"netfilter": Netfilter(True), "linux_bridges": ("br9",)}, "netfilter", True),
        ({"port": None, "linux_bridges": ("br9",)}, "port", None),
        ({"server": None}, "server", None),
        ({"server": None, "tunnels": {"vx": {"healthy": True}}}, "tunnel", True),
        ({"server": None, "request": Trace((("eth1", None),))}, "path", None),
        ({"at_tap": (), "seconds": 1}, "offer", None),
        ({"addresses": Addresses("10.0.0.9", 0, 1)}, "addresses", True),
    ],
)
def test_what_is_not_broken(change: dict[str, Any], hop: str, ok: bool | None) -> None:
    found = diagnosis(facts(**change))
    assert {one["hop"]: one["ok"] for one in found["hops"]}[hop] is ok

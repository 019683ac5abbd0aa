"""The way of a frame through structures, from what switches are scripted to say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from corral.errors import Refused
from corral.topology.domains import Domain
from corral.topology.path import Path
from corral.topology.trace import Visit, Way
from tests.support import seen as looks
from tests.support.topologies import Builder

Structure = dict[str, Any]
Script = Mapping[str, Way]
OWN, FAR = "52:54:00:00:00:00", "52:54:00:00:00:09"


def host(number: int = 1, *guests: str) -> Builder:
    """A host with guests on br-int, a bond on br-ex, a tunnel on br-tun to each other host of two."""
    build = Builder(f"kvm{number}")
    for bridge in ("br-int", "br-ex", "br-tun"):
        build.node(bridge, "bridge")
    build.node("br-phy", "bridge", addresses=[f"192.0.2.{number}/24"])
    build.patch("br-int", "br-ex")
    build.patch("br-int", "br-tun")
    build.bond("br-ex", "bond0", "eth0", "eth1")
    ends = {"local": f"192.0.2.{number}", "remote": f"192.0.2.{3 - number}"}
    build.port("br-tun", f"vx{number}", "tunnel", type="vxlan", key="7", **ends)
    for name in guests:
        build.guest(name, ("br-int", 10, "up"))
    return build


def asked(
    structure: Structure,
    script: Script,
    called: str,
    *,
    seen: Any = None,
    vlan: int | None = None,
    **about: Any,
) -> dict[str, Any]:
    """Return what ``ovs.path`` would; ``script`` has what each bridge does with the frame."""
    path = Path(structure, seen or looks.seen({}), called, **about)
    return path.ways(lambda bridge, device, tag: script[bridge], vlan)


def devices(found: dict[str, Any]) -> list[str]:
    return [step["device"] for step in found["steps"]]


def way(*outputs: tuple[str, int | None], visits: str = "br-int", **about: Any) -> Way:
    return Way(tuple(Visit(one, "table 0, priority 0") for one in visits.split()), outputs, **about)


def test_from_a_guest_to_another() -> None:
    found = asked(host(1, "web", "db").made, {"br-int": way(("vnet-db-0", None))}, "web", to="db")
    assert devices(found) == ["web", "vnet-web-0", "br-int", "vnet-db-0", "db"]
    assert found["steps"][2]["flow"] == "table 0, priority 0"
    assert (found["delivered"], found["sentence"]) == (True, "web reaches db on kvm1.")


@pytest.mark.parametrize(
    "mode, chosen",
    [
        ("active-backup", "the active member"),
        ("balance-slb", "by the source MAC and VLAN"),
        ("balance-tcp", "by the addresses and ports of each connection, one of eth0, eth1"),
    ],
)
def test_to_the_wire_by_a_bond(mode: str, chosen: str) -> None:
    structure = host(1, "web", "db").made
    structure["nodes"]["bond:bond0"]["mode"] = mode
    flooded = {"br-int": way(("vnet-db-0", None), ("eth1", 10), ("br-int", 10), visits="br-int br-ex")}
    if mode == "balance-tcp":
        flooded = {"br-int": way(("vnet-db-0", None), visits="br-int br-ex", bonds=(("bond0", 10),))}
    found = asked(structure, flooded, "web")
    member = "eth0" if mode == "balance-tcp" else "eth1"
    assert devices(found)[2:] == ["br-int", "br-int-br-ex", "br-ex-br-int", "br-ex", "bond0", member]
    assert found["steps"][-1]["chosen"] == chosen
    assert found["delivered"] is True
    assert found["sentence"] == f"web leaves kvm1 by {member} with the tag of VLAN 10."


def test_a_device_that_is_down_is_named() -> None:
    structure = host(1, "web").made
    structure["nodes"]["eth1"] |= {"state": "down", "reason": "it has no carrier"}
    found = asked(structure, {"br-int": way(("eth1", 10), visits="br-int br-ex")}, "web")
    assert found["delivered"] is False
    assert found["sentence"].endswith("But eth1 on kvm1 is down: it has no carrier.")


def test_through_a_tunnel_to_a_guest_of_another_host() -> None:
    fleet = {"kvm2": host(2, "far").made}
    tunnelled = {"br-int": way(("br-tun", 10), visits="br-int br-tun", remotes=("192.0.2.2",))}
    found = asked(host(1, "web").made, tunnelled, "web", to="far", fleet=fleet)
    steps = [(step["host"], step["device"]) for step in found["steps"]]
    assert steps[5:] == [
        ("kvm1", "br-tun"),
        ("kvm1", "vx1"),
        ("kvm2", "vx2"),
        ("kvm2", "br-tun"),
        ("kvm2", "br-tun-br-int"),
        ("kvm2", "br-int-br-tun"),
        ("kvm2", "br-int"),
        ("kvm2", "vnet-far-0"),
        ("kvm2", "far"),
    ]
    assert found["delivered"] is None, "nobody has asked that host's switch"
    assert found["sentence"] == (
        "web leaves kvm1 by the tunnel vx1 to kvm2 (192.0.2.2). On kvm2 it goes on by vx2, br-tun,"
        " br-tun-br-int, br-int-br-tun, br-int, vnet-far-0, where far is, as that host has told the Salt"
        " mine."
    )


@pytest.mark.parametrize("bonded", [False, True])
def test_what_carries_a_tunnel(bonded: bool) -> None:
    build = host(1, "web")
    build.made["nodes"]["vx1"]["egress"] = "br-phy"
    if bonded:
        build.bond("br-phy", "wires", "eth4", "eth5")
        for edge in build.made["edges"]:
            if edge["from"] == "bond:wires":
                edge["active"] = edge["to"] == "eth5"
    else:
        build.port("br-phy", "eth5", "nic")
    tunnelled = {"br-int": way(visits="br-int br-tun", remotes=("192.0.2.2",), keys={"192.0.2.2": "1001"})}
    found = asked(build.made, tunnelled, "web")
    carried = [step["device"] for step in found["steps"] if step.get("underlay")]
    assert carried == ["br-phy", *(["wires"] if bonded else []), "eth5"]
    assert [step["key"] for step in found["steps"] if step["kind"] == "vxlan"] == ["1001"]
    assert found["sentence"] == (
        f"web leaves kvm1 by the tunnel vx1 to 192.0.2.2. Its packets leave by {', '.join(carried)}."
    )


def test_the_tunnel_to_the_right_host_is_taken() -> None:
    """A frame is flooded into two tunnels; the guest is behind one of them."""
    build = host(1, "web")
    build.port("br-tun", "vx3", "tunnel", type="vxlan", key="7", remote="192.0.2.3", local="192.0.2.1")
    third = host(2, "far").made
    third["nodes"]["br-phy"]["addresses"] = ["192.0.2.3/24"]
    third["nodes"]["vx2"] |= {"local": "192.0.2.3", "remote": "192.0.2.1"}
    flooded = {"br-int": way(visits="br-int br-tun", remotes=("192.0.2.2", "192.0.2.3"))}
    found = asked(build.made, flooded, "web", to="far", fleet={"kvm3": {**third, "host": "kvm3"}})
    assert [step["device"] for step in found["steps"] if step["kind"] == "vxlan"] == ["vx3", "vx2"]


def test_a_tunnel_without_its_other_end() -> None:
    other = host(2, "far").made
    other["nodes"]["vx2"]["key"] = "8"
    tunnelled = {"br-int": way(visits="br-int br-tun", remotes=("192.0.2.2",))}
    found = asked(host(1, "web").made, tunnelled, "web", to="far", fleet={"kvm2": other})
    assert found["sentence"].endswith("kvm2 has no tunnel of this type and key back.")


@pytest.mark.parametrize(
    "drop, remarks, sentence",
    [
        (
            {"bridge": "br-int", "table": 3, "match": "ip, priority 9", "cookie": "0x7", "ours": False},
            (),
            "web does not reach db: br-int drops it: the flow ip, priority 9 of table 3.",
        ),
        (
            {"bridge": "br-int", "table": 5, "match": "", "cookie": "0x0", "ours": False},
            (),
            "web does not reach db: br-int drops it: there is no flow for it in table 5.",
        ),
        (
            None,
            ("no input bundle, dropping",),
            "web does not reach db: br-int drops it: no input bundle, dropping.",
        ),
        (None, (), "web does not reach db: br-int drops it."),
    ],
)
def test_a_frame_that_is_dropped(drop: Any, remarks: tuple[str, ...], sentence: str) -> None:
    found = asked(host(1, "web", "db").made, {"br-int": way(drop=drop, remarks=remarks)}, "web", to="db")
    assert (found["delivered"], found["sentence"]) == (False, sentence)
    assert found["steps"][-1].get("dropped_by") == drop


def test_a_guest_in_another_vlan() -> None:
    build = host(1, "web", "db")
    build.guest("alien", ("br-int", 20, "up"))
    flooded = {"br-int": way(("vnet-db-0", None), ("eth1", 10), visits="br-int br-ex")}
    found = asked(build.made, flooded, "web", to="alien")
    assert found["delivered"] is False
    assert found["sentence"] == (
        "web does not reach alien: br-int sends it to vnet-db-0, bond0, "
        "but vnet-alien-0 is in VLAN 20 and vnet-web-0 in VLAN 10."
    )


def test_a_frame_that_stays_on_the_host() -> None:
    found = asked(
        host(1, "web", "db", "mail").made, {"br-int": way(("vnet-db-0", None), ("vnet-mail-0", None))}, "web"
    )
    assert found["delivered"] is None
    assert found["sentence"] == "web does not get out: br-int sends it only to vnet-db-0, vnet-mail-0."


def linux(learned: str | None) -> tuple[Structure, Any]:
    """A tap on a Linux bridge, of which a veth pair leads to br-int, and another tap beside it."""
    build = host(1, "web")
    build.node("lbr", "linux_bridge")
    for name, mac in (("tap0", OWN), ("tap1", FAR)):
        build.port("lbr", name, "tap", mac=mac)
    build.port("lbr", "qvb", "veth")
    build.port("br-int", "qvo", "veth", vlan=10)
    build.edge("veth", "qvb", "qvo")
    ports = {"tap0": 2, "tap1": 3, "qvb": 4}
    devices = {"": [looks.device(name, index, "tun") for name, index in ports.items()]}
    entries = [] if learned is None else [{"mac": FAR, "index": ports[learned]}]
    return build.made, looks.seen({}, devices, learned=entries)


def test_over_a_linux_bridge_by_what_it_has_learned() -> None:
    structure, seen = linux("tap1")
    assert devices(asked(structure, {}, "tap0", to=FAR, seen=seen)) == ["tap0", "lbr", "tap1"]
    structure, seen = linux("qvb")
    found = asked(structure, {"br-int": way(("eth1", 10), visits="br-int br-ex")}, "tap0", to=FAR, seen=seen)
    assert devices(found)[:5] == ["tap0", "lbr", "qvb", "qvo", "br-int"], "it has moved"


def test_over_a_linux_bridge_to_the_wire() -> None:
    structure, seen = linux(None)
    found = asked(structure, {"br-int": way(("eth1", 10), visits="br-int br-ex")}, "tap0", seen=seen)
    assert devices(found)[:5] == ["tap0", "lbr", "qvb", "qvo", "br-int"]
    assert (devices(found)[-1], found["delivered"]) == ("eth1", True)


def test_by_a_macvlan_device() -> None:
    build = Builder("kvm1")
    build.node("eth0", "nic")
    held = [{"mac": OWN, "device": "macvtap0"}]
    build.edge("nic", build.node("guest:web", "guest", nics=held), build.node("macvtap0", "macvtap"), mac=OWN)
    build.edge("lower", "macvtap0", "eth0")
    found = asked(build.made, {}, "web")
    assert devices(found) == ["web", "macvtap0", "eth0"]
    assert found["sentence"] == "web leaves kvm1 by eth0."


def test_a_frame_that_goes_in_a_ring_is_left() -> None:
    build = Builder("kvm1")
    for bridge in ("br0", "br1"):
        build.node(bridge, "bridge")
    for one, other in (("v0", "v1"), ("v2", "v3")):
        build.port("br0", one, "veth")
        build.port("br1", other, "veth")
        build.edge("veth", one, other)
    build.guest("web", ("br0", 1, "up"))
    ring = {"br0": way(("v0", None), visits="br0"), "br1": way(("v3", None), visits="br1")}
    found = asked(build.made, ring, "web")
    assert (found["delivered"], len(found["steps"]) < 20) == (False, True)
    assert found["sentence"] == "web does not get out: it comes back to v1."


def sent(structure: Structure, called: str, to: str | None, vlan: int | None = None, **seen: Any) -> str:
    """Return the frame that the switch is asked about."""
    look = looks.seen({"br-int": [looks.plain("vnet-web-0", ofport=4)]}, **seen)
    return Path(structure, look, called, to=to).flow(f"vnet-{called}-0", vlan)


ARP = f"in_port=4,dl_src={OWN},dl_dst=ff:ff:ff:ff:ff:ff,arp,arp_op=1,arp_sha={OWN}"


@pytest.mark.parametrize(
    "to, vlan, addresses, flow",
    [
        (None, None, {}, f"{ARP},arp_spa=0.0.0.0"),
        (None, None, {OWN: ["10.0.0.7"]}, f"{ARP},arp_spa=10.0.0.7"),
        ("10.0.0.9", None, {}, f"{ARP},arp_spa=0.0.0.0,arp_tpa=10.0.0.9"),
        (FAR, 5, {}, f"in_port=4,dl_src={OWN},dl_dst={FAR},dl_vlan=5"),
        (
            "10.0.0.9",
            None,
            {FAR: ["10.0.0.9"], OWN: ["10.0.0.7"]},
            f"in_port=4,dl_src={OWN},dl_dst={FAR},icmp,nw_src=10.0.0.7,nw_dst=10.0.0.9,nw_ttl=64,icmp_type=8",
        ),
        (
            "2001:db8::9",
            None,
            {FAR: ["2001:db8::9"]},
            f"in_port=4,dl_src={OWN},dl_dst={FAR},icmp6,ipv6_src=::,ipv6_dst=2001:db8::9,nw_ttl=64,icmp_type=128",
        ),
        ("2001:db8::9", None, {}, f"in_port=4,dl_src={OWN},dl_dst=ff:ff:ff:ff:ff:ff,icmp6,"
         "ipv6_src=::,ipv6_dst=2001:db8::9,nw_ttl=64,icmp_type=128"),
    ],
)  # fmt: skip
def test_the_frame(to: str | None, vlan: int | None, addresses: dict[str, list[str]], flow: str) -> None:
    structure = host(1, "web").made
    structure["nodes"]["guest:web"]["nics"][0] |= {"addresses": addresses.get(OWN, [])}
    assert sent(structure, "web", to, vlan, addresses=addresses) == flow


def test_an_address_outside_goes_to_the_router() -> None:
    """What dnsmasq tells its clients is where the guest sends what is not for its own network."""
    structure = host(1, "web").made
    structure["nodes"]["guest:web"]["nics"][0]["addresses"] = ["10.0.0.7"]
    told = {"addresses": {FAR: ["10.0.0.1"]}, "routers": {"10.0.0.0/24": "10.0.0.1"}}
    assert sent(structure, "web", "203.0.113.5", **told) == (
        f"in_port=4,dl_src={OWN},dl_dst={FAR},icmp,nw_src=10.0.0.7,nw_dst=203.0.113.5,nw_ttl=64,icmp_type=8"
    )
    assert f"dl_dst={FAR}" not in sent(structure, "web", "10.0.0.8", **told)
    found = asked(
        structure,
        {"br-int": way(("eth1", 10), visits="br-int br-ex")},
        "web",
        to="203.0.113.5",
        seen=looks.seen({}, **told),
    )
    assert found["sentence"].startswith(
        "web leaves kvm1 by eth1 with the tag of VLAN 10, for 203.0.113.5, by the router"
    )


def test_an_address_that_nobody_knows() -> None:
    found = asked(
        host(1, "web").made, {"br-int": way(("eth1", 10), visits="br-int br-ex")}, "web", to="10.0.0.9"
    )
    assert found["delivered"] is None, "who is on the wire is not known here"
    assert "Nobody here knows the MAC address of 10.0.0.9" in found["sentence"]


@pytest.mark.parametrize(
    "called, about, sentence",
    [
        ("nobody", {}, "There is no guest, port or MAC address nobody on this host."),
        ("off", {}, "The guest off does not run, so it is on no switch."),
        ("web", {"nic": 1}, "nic: the guest web has no network card 1, it has 1."),
        ("web", {"nic": -1}, "nic: the guest web has no network card -1, it has 1."),
        ("web", {"to": "nobody"}, "to: there is no guest or port nobody, and it is no address."),
    ],
)
def test_what_nobody_is_called(called: str, about: dict[str, Any], sentence: str) -> None:
    seen = looks.seen({}, domains=[Domain("off", "uuid", "stopped", ())])
    with pytest.raises(Refused) as refused:
        asked(host(1, "web").made, {}, called, seen=seen, **about)
    assert str(refused.value) == sentence

"""What is made of the looks at a host, and what a namespace's netlink messages say."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from corral.guard.netlink import attribute
from corral.topology.domains import Domain, domain
from corral.topology.netlink import device
from corral.topology.structure import structure
from tests.support import seen as looks

Structure = dict[str, Any]
UUID = "6f1c4e8e-3a52-5b5e-9d0c-3f8f2e4b7a11"
MAC = "52:54:00:00:00:07"


def edges(found: Structure, kind: str) -> list[tuple[str, str]]:
    return [(edge["from"], edge["to"]) for edge in found["edges"] if edge["kind"] == kind]


def test_a_guest_of_libvirt() -> None:
    web = Domain("web", UUID, "paused", ({"mac": MAC, "device": "vnet0"}, {"mac": MAC, "device": None}))
    off = Domain("off", UUID.replace("6", "7"), "stopped", ({"mac": MAC, "device": None},))
    tap = looks.plain("vnet0", tag=10, external_ids={"vm-id": UUID, "attached-mac": MAC})
    found = structure(
        "kvm1",
        looks.seen(
            {"br0": [tap]},
            {"": [looks.device("vnet0", 4, "tun")]},
            [web, off],
            addresses={MAC: ["10.0.0.7", "fe80::7"]},
        ),
    )
    assert found["nodes"]["guest:web"] == {
        "kind": "guest",
        "name": "web",
        "uuid": UUID,
        "state": "down",
        "reason": "it is paused",
        "nics": [
            {"mac": MAC, "device": "vnet0", "addresses": ["10.0.0.7"]},
            {"mac": MAC, "device": None, "addresses": ["10.0.0.7"]},
        ],
    }
    assert found["nodes"]["vnet0"]["kind"] == "tap"
    assert edges(found, "nic") == [("guest:web", "vnet0")]
    assert "guest:off" not in found["nodes"], "one that does not run hangs on nothing"


@pytest.mark.parametrize("key", ["vm-id", "vm-uuid", "iface-id"])
def test_a_guest_without_libvirt(key: str) -> None:
    """Whoever attached the port has said whose it is; two cards are one guest's, if they say the same."""
    ids = {key: UUID, "attached-mac": MAC.upper()}
    ports = [looks.plain(name, external_ids=ids) for name in ("tap0", "tap1")]
    devices = {"": [looks.device("tap0", 2, "tun"), looks.device("tap1", 3, "tun")]}
    found = structure("kvm1", looks.seen({"br0": ports}, devices))
    guest = found["nodes"][f"guest:{UUID}"]
    assert (guest["state"], [nic["device"] for nic in guest["nics"]]) == ("unknown", ["tap0", "tap1"])
    assert guest["nics"][0]["mac"] == MAC
    assert len(edges(found, "nic")) == 2


def test_a_port_in_another_namespace_and_its_name_in_use_again() -> None:
    places = {
        "": [looks.device("eth0", 2)],
        "blue": [looks.device("p1", 7, "tun"), looks.device("eth0", 8, "veth")],
    }
    found = structure(
        "kvm1", looks.seen({"br0": [looks.plain("p1", "internal"), looks.plain("eth0")]}, places)
    )
    assert found["nodes"]["p1"] == {
        "kind": "internal",
        "name": "p1",
        "state": "up",
        "mac": "02:00:00:00:00:07",
        "mtu": 1500,
        "namespace": "blue",
    }
    assert "namespace" not in found["nodes"]["eth0"], "that of the host is the port"
    assert "eth0@blue" not in found["nodes"], "it hangs on nothing"


def test_a_veth_pair_across_namespaces() -> None:
    """The numbers of devices are used again in every namespace: only the namespace's id tells which it is."""
    here = looks.device("v0", 5, "veth", link=2, link_namespace=3)
    there = {name: looks.device("eth0", 2, "veth", link=5, link_namespace=0) for name in ("blue", "red")}
    ids = {"": {3: "red"}, "blue": {0: "green"}, "red": {0: ""}}
    places = {"": [here], **{name: [one] for name, one in there.items()}}
    found = structure("kvm1", looks.seen({"br0": [looks.plain("v0")]}, places, ids=ids))
    assert edges(found, "veth") == [("eth0@red", "v0")]
    assert found["nodes"]["eth0@red"]["namespace"] == "red"
    assert "eth0@blue" not in found["nodes"]


def test_devices_that_are_worth_showing() -> None:
    host = [
        looks.device("eth0", 2),  # a network card, also alone
        looks.device("gre0", 3, "gre", up=False),  # made by a module, of no use
        looks.device("ovs-system", 4, "openvswitch"),
        looks.device("vxlan_sys_4789", 5, "vxlan"),
        looks.device("mac0", 6, "macvlan", link=2),
        looks.device("eth0.7", 7, "vlan", link=2, vlan=7),
        looks.device("lbr", 8, "bridge"),
        looks.device("tap9", 9, "tun", master=8),
        looks.device("loner", 10, "veth"),
        looks.device("dummy0", 11, "dummy", addresses=["192.0.2.1/32"]),
    ]
    found = structure("kvm1", looks.seen({"br0": []}, {"": host}))
    assert set(found["nodes"]) == {"br0", "eth0", "mac0", "eth0.7", "lbr", "tap9", "dummy0"}
    assert edges(found, "lower") == [("mac0", "eth0"), ("eth0.7", "eth0")]
    assert [edge["vlan"] for edge in found["edges"] if edge["from"] == "eth0.7"] == [7]
    assert edges(found, "port") == [("lbr", "tap9")]
    assert found["nodes"]["lbr"]["kind"] == "linux_bridge"


def test_the_bridges_own_port_is_the_bridge() -> None:
    held = looks.device("br0", 3, "tun", addresses=["192.0.2.1/24"], up=False)
    found = structure(
        "kvm1", looks.seen({"br0": []}, {"": [held, looks.device("up0", 4, "macvlan", link=3)]})
    )
    assert found["nodes"]["br0"]["addresses"] == ["192.0.2.1/24"]
    assert (found["nodes"]["br0"]["state"], found["nodes"]["br0"]["local_port"]) == ("up", "down")
    assert edges(found, "lower") == [("up0", "br0")]


@pytest.mark.parametrize(
    "columns, state, reason",
    [
        ({}, "unknown", None),
        ({"link_state": "up", "admin_state": "up"}, "up", None),
        ({"link_state": "down"}, "down", None),
        ({"link_state": "up", "bfd_status": {"state": "down"}}, "down", "BFD is down"),
        ({"link_state": "up", "bfd_status": {"state": "up"}}, "up", None),
        ({"link_state": "up", "cfm_fault": True}, "down", "CFM reports a fault"),
        ({"ofport": -1, "error": "no remote_ip"}, "down", "no remote_ip"),
    ],
)
def test_the_state_of_a_tunnel(columns: dict[str, Any], state: str, reason: str | None) -> None:
    options = {"remote_ip": "192.0.2.2", "key": "7", "psk": "secret"}
    found = structure("kvm1", looks.seen({"br0": [looks.plain("vx", "vxlan", options=options, **columns)]}))
    vx = found["nodes"]["vx"]
    assert (vx["kind"], vx["type"], vx["remote"], vx["key"]) == ("tunnel", "vxlan", "192.0.2.2", "7")
    assert (vx["state"], vx.get("reason")) == (state, reason)
    assert "secret" not in str(found)


def test_patch_ports() -> None:
    ends = [("pa", "pb"), ("pb", "pa"), ("pc", "pa"), ("pd", "nobody")]
    ports = [looks.plain(name, "patch", options={"peer": peer}) for name, peer in ends]
    found = structure("kvm1", looks.seen({"br0": ports[:1], "br1": ports[1:]}))
    assert edges(found, "patch") == [("pa", "pb")]
    states = {name: found["nodes"][name]["state"] for name, _ in ends}
    assert states == {"pa": "up", "pb": "up", "pc": "down", "pd": "down"}
    assert found["nodes"]["pd"]["reason"] == "its peer nobody is not there"


def test_bonds_and_vlans() -> None:
    members = [looks.interface("eth0"), looks.interface("eth1")]
    bond = looks.port("bond0", *members, trunks=["set", [20, 21, 10]], vlan_mode="trunk")
    bonds = {
        "bond0": {
            "mode": "balance-slb",
            "lacp": "off",
            "state": "degraded",
            "healthy": False,
            "reason": "eth1: its link is down",
            "members": {
                "eth0": {"enabled": True, "active": True},
                "eth1": {"enabled": False, "active": False},
            },
        }
    }
    devices = {"": [looks.device("eth0", 2), looks.device("eth1", 3, carrier=False)]}
    found = structure("kvm1", looks.seen({"br0": [bond]}, devices, bonds=bonds))
    assert found["nodes"]["bond:bond0"] == {
        "kind": "bond",
        "name": "bond0",
        "state": "up",
        "healthy": False,
        "mode": "balance-slb",
        "lacp": "off",
        "reason": "eth1: its link is down",
    }
    assert found["edges"][0] == {
        "kind": "port",
        "from": "br0",
        "to": "bond:bond0",
        "trunks": [10, 20, 21],
        "vlan_mode": "trunk",
    }
    assert [edge["enabled"] for edge in found["edges"][1:]] == [True, False]
    assert found["nodes"]["eth1"]["reason"] == "it has no carrier"


def test_a_port_without_a_device() -> None:
    wrong = looks.plain("eth9", ofport=-1, error="could not open network device eth9 (No such device)")
    found = structure("kvm1", looks.seen({"br0": [wrong]}))
    assert found["nodes"]["eth9"]["kind"] == "missing"
    assert found["nodes"]["eth9"]["reason"].startswith("could not open network device eth9")


def test_the_cards_of_a_definition() -> None:
    xml = f"""<domain type='kvm'><name>web</name><uuid>{UUID.upper()}</uuid><devices>
      <interface type='bridge'><mac address='{MAC.upper()}'/><target dev='vnet0'/></interface>
      <interface type='hostdev'><mac address='52:54:00:00:00:08'/></interface>
      <interface type='user'/>
    </devices></domain>"""
    assert domain("web", "running", xml) == Domain(
        "web",
        UUID,
        "running",
        (
            {"mac": MAC, "device": "vnet0"},
            {"mac": "52:54:00:00:00:08", "device": None},
            {"mac": "", "device": None},
        ),
    )


def test_a_device_of_netlink() -> None:
    """An RTM_NEWLINK as linux/if_link.h has it; the flag in an attribute's number is no part of it."""
    about = attribute(1, b"vlan\0") + attribute(2 | 0x8000, attribute(1, struct.pack("=H", 7)))
    body = struct.pack("=BxHiII", 0, 1, 9, 0x1 | 0x10000, 0) + attribute(3, b"eth0.7\0")
    body += attribute(1, bytes.fromhex("020000000007")) + attribute(4, struct.pack("=I", 9000))
    body += attribute(5, struct.pack("=I", 2)) + attribute(18 | 0x8000, about)
    assert device(body) == {
        "index": 9,
        "name": "eth0.7",
        "kind": "vlan",
        "mac": "02:00:00:00:00:07",
        "mtu": 9000,
        "up": True,
        "carrier": True,
        "master": None,
        "link": 2,
        "link_namespace": None,
        "vlan": 7,
    }
    loopback = struct.pack("=BxHiII", 0, 772, 1, 0x1 | 0x8, 0)
    assert device(loopback) is None

"""What may be declared about overlays, and the sentence for what may not."""

from __future__ import annotations

from typing import Any

import pytest

from corral.errors import Invalid
from corral.overlay.model import Overlay

PEERS = {"hv1": "192.0.2.1", "hv2": "192.0.2.2", "hv3": "192.0.2.3"}
SERVED = {"key": 1, "subnet": "10.1.0.0/24", "served_by": "hv1"}


def overlay(networks: Any = None, **settings: Any) -> dict[str, Any]:
    return {"host": "hv1", "peers": PEERS, "networks": networks or {}, **settings}


def blue(**settings: Any) -> dict[str, Any]:
    return overlay({"blue": {"key": 1001, **settings}})


WRONG = [
    ({"host": "hv1"}, "peers: is required"),
    (overlay(host="hv9"), "peers: this host, hv9, is not among them"),
    (
        overlay(peers={"hv1": "192.0.2.1", "hv2": "192.0.2.1"}),
        "peers.hv2: 192.0.2.1 is already the address of hv1",
    ),
    (
        overlay(peers={"hv1": "192.0.2.1", "hv2": "2001:db8::2"}),
        "peers.hv2: 2001:db8::2 and 192.0.2.1 are of two IP versions, and an underlay has one",
    ),
    (overlay(peers={"hv1": "224.0.0.1"}), "peers.hv1: 224.0.0.1 is no address of a host in an underlay"),
    (overlay(peers={"hv1": "hv1.example"}), "peers.hv1: 'hv1.example' is not an IP address"),
    (
        overlay(peers={"hv1": ["192.0.2.1", "192.0.2.7"]}),
        "peers.hv1: a host has one address in the underlay, here are 2",
    ),
    (overlay(networks={"blue": {}}), "networks.blue.key: is required"),
    (blue(keys=1), "networks.blue.keys: unknown key"),
    (
        overlay({"blue": {"key": 7}, "red": {"key": 7}}),
        "networks.red.key: 7 is already the key of blue",
    ),
    (
        overlay({"blue": {"key": 0}}),
        "networks.blue.key: 0 is not valid, input should be greater than or equal to 1",
    ),
    (
        overlay({"blue": {"key": 1 << 24}}),
        "networks.blue.key: 16777216 is out of range for vxlan (24 bits: 1–16777215)",
    ),
    (
        overlay({"blue": {"key": 1 << 32}}, encapsulation="gre"),
        "networks.blue.key: 4294967296 is out of range for gre (32 bits: 1–4294967295)",
    ),
    (blue(hosts=["hv1", "hv9"]), "networks.blue.hosts[1]: 'hv9' is not among the peers"),
    (blue(hosts=["hv1", "hv1"]), "networks.blue.hosts[1]: 'hv1' is named twice"),
    (
        blue(subnet="10.1.0.0/24", hosts=["hv1"], served_by="hv2"),
        "networks.blue.served_by: 'hv2' is not a host of this network",
    ),
    (blue(served_by="hv1"), "networks.blue.served_by: needs a subnet"),
    (blue(gateway="10.1.0.1"), "networks.blue.gateway: needs a subnet"),
    (blue(subnet="10.1.0.0/24", dhcp={}), "networks.blue.dhcp: needs a host that serves it: served_by"),
    (
        blue(subnet="10.1.0.0/31", served_by="hv1"),
        "networks.blue.subnet: 10.1.0.0/31 has no room for a gateway and a guest",
    ),
    (
        blue(subnet="2001:db8:1::/64", served_by="hv1", dhcp={}),
        "networks.blue.dhcp: is for IPv4, and 2001:db8:1::/64 is not",
    ),
    (
        blue(subnet="10.1.0.0/24", gateway="10.2.0.1"),
        "networks.blue.gateway: 10.2.0.1 is not a host of 10.1.0.0/24",
    ),
    (
        blue(subnet="10.1.0.0/24", served_by="hv1", dhcp={"interface": "eth0"}),
        "networks.blue.dhcp.interface: follows from the network and cannot be declared",
    ),
    (
        overlay({"blue": {"key": 1, "ports": ["p1"]}, "red": {"key": 2, "ports": {"p1": {}}}}),
        "networks.red.ports.p1: is already a port of blue",
    ),
    (
        overlay({"blue": {**SERVED, "namespace": None}, "red": {**SERVED, "key": 2, "namespace": None}}),
        "networks.red.subnet: 10.1.0.0/24 overlaps 10.1.0.0/24 of blue, and hv1 serves both in one namespace",
    ),
    (
        overlay({"blue": {**SERVED, "namespace": "t"}, "red": {**SERVED, "key": 2, "namespace": "t"}}),
        "networks.red.subnet: 10.1.0.0/24 overlaps 10.1.0.0/24 of blue, and hv1 serves both in one namespace",
    ),
    (
        overlay({"blue": {"key": 1, "bridge": "br-int"}}),
        "networks.blue.bridge: the bridge of blue would be br-int, which is already the integration bridge",
    ),
    (
        overlay({"blue": {"key": 1, "ports": {"patch-tun": {"type": "internal"}}}}),
        "networks.blue.ports.patch-tun: a port of blue would be patch-tun, which is already the patch port to"
        " the tunnel bridge",
    ),
    (
        overlay(bridges={"integration": "br0", "tunnel": "br0"}),
        "bridges.tunnel: 'br0' is already the integration bridge",
    ),
    (overlay(encapsulation="gre", dst_port=4789), "dst_port: GRE has no ports"),
    (
        overlay(encapsulation="ipip"),
        "encapsulation: 'ipip' is not valid, input should be 'vxlan', 'gre', 'geneve' or 'stt'",
    ),
    (
        overlay(underlay_mtu=100),
        "underlay_mtu: 100 is not valid, input should be greater than or equal to 576",
    ),
]


@pytest.mark.parametrize(("declared", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_what_is_wrong_is_said_with_its_path(declared: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        Overlay.declare(declared)
    assert str(raised.value) == sentence


def test_two_tenants_may_use_the_same_addresses() -> None:
    """S3.8: each is served in a namespace of its own."""
    both = Overlay.declare(overlay({"blue": SERVED, "red": {**SERVED, "key": 2}}))
    assert (both.namespace("blue"), both.namespace("red")) == ("ov-blue", "ov-red")
    assert both.gateway("red") == "10.1.0.1/24"


def test_one_namespace_of_the_host_is_declared_by_null() -> None:
    assert Overlay.declare(overlay({"blue": {**SERVED, "namespace": None}})).namespace("blue") is None


def test_a_host_has_the_networks_that_name_it_and_tunnels_to_who_shares_one() -> None:
    declared = {"blue": {"key": 2, "hosts": ["hv1", "hv3"]}, "red": {"key": 1, "hosts": ["hv2", "hv3"]}}
    one = Overlay.declare(overlay(declared))
    assert (list(one.here), one.neighbours) == (["blue"], ["hv3"])
    three = Overlay.declare(overlay(declared, host="hv3"))
    assert (list(three.here), three.neighbours) == (["red", "blue"], ["hv1", "hv2"])


def test_a_network_that_is_null_is_on_no_host() -> None:
    assert Overlay.declare(overlay({"blue": None})).here == {}


def test_the_mine_has_addresses_in_lists() -> None:
    assert Overlay.declare(overlay(peers={"hv1": ["192.0.2.1"]})).address == "192.0.2.1"

"""Overlays over three hosts, with real VXLAN and GRE between them."""

from __future__ import annotations

from typing import Any

import pytest

from corral.overlay.flows import LEARNED_COOKIE
from lab.tree import Tree
from tests.support.three_hosts import PEERS, PEERS_V6, Hypervisor

BLUE = {"key": 1001, "subnet": "10.1.0.0/24"}
RED = {"key": 2002, "subnet": "10.1.0.0/24"}  # the same addresses: another tenant
Three = list[Hypervisor]


def overlay(networks: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"peers": PEERS, "datapath_type": "netdev", "networks": networks, **settings}


def managed(one: Hypervisor, networks: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Declare networks on a host, and return the changes that this has made."""
    answer = one.state("ovs.overlay_managed", "overlay", **overlay(networks, **settings))
    assert answer["result"] is True, answer
    return dict(answer["changes"])


def apart(hosts: Three, networks: dict[str, Any], **settings: Any) -> None:
    """Have the hosts choose different VLANs for the same networks: on some, others chose first, and go."""
    for number, one in enumerate(hosts):
        others = {f"other{key}": {"key": key} for key in range(1, 1 + number)}
        if others:
            managed(one, {**others, **networks}, **settings)
        managed(one, networks, **settings)


def endpoints(hosts: Three, network: str, mtu: int = 1450) -> dict[str, str]:
    """Have an endpoint on each host join a network, as libvirt would; return their MACs by address."""
    found = {}
    for one in hosts:
        address = f"10.1.0.1{one.name[-1]}"
        found[address] = one.endpoint(network, f"ov-{network}", f"{address}/24", mtu)
    return found


@pytest.mark.parametrize(
    ("how", "width"),  # of a packet, over an underlay of 1500
    [
        ({"encapsulation": "vxlan"}, 1450),
        ({"encapsulation": "gre", "bfd": True}, 1458),
        ({"encapsulation": "geneve"}, 1450),
        ({"encapsulation": "vxlan", "peers": PEERS_V6}, 1430),
    ],
    ids=["vxlan", "gre", "geneve", "vxlan-ipv6"],
)
def test_a_network_has_another_vlan_on_each_host(three: Three, how: dict[str, Any], width: int) -> None:
    """S3.2, S3.3, S1.10, S1.12: endpoints reach their own tenant's, at full width, and nobody else's."""
    apart(three, {"blue": BLUE, "red": RED}, **how)
    assert [one.vlan("blue") for one in three] == [1, 2, 3]

    blue, red = endpoints(three, "blue", width), endpoints(three[:2], "red", width)
    whole = ("-M", "do", "-s", str(width - 28))  # IP and ICMP headers
    for one in three:
        for address, mac in blue.items():
            if not address.endswith(one.name[-1]):
                assert one.reaches("blue", address, *whole), f"{one.name}: {address}\n{one.flows()}"
                assert one.neighbour("blue", address) == mac, "the other tenant has answered"
    assert three[0].reaches("red", "10.1.0.12")
    assert three[0].neighbour("red", "10.1.0.12") == red["10.1.0.12"] != blue["10.1.0.12"]
    assert three[0].silent("red", "10.1.0.13"), "only the other tenant has this address"
    tunnels = three[0].minion.call("ovs.tunnel_status")
    assert {name: (one["healthy"], one["mtu"]["guest"]) for name, one in tunnels.items()} == dict.fromkeys(
        tunnels, (True, width)
    )

    learned = f"cookie={LEARNED_COOKIE | RED['key']:#x}"
    assert f" {learned}, table=20" in three[0].flows()
    managed(three[0], {"blue": BLUE}, **how)
    assert learned not in three[0].flows(), "what was learned of a network goes with it"
    assert three[0].reaches("blue", "10.1.0.12")


def test_a_switch_that_was_restarted_is_healed_by_one_run(three: Three) -> None:
    networks = {"blue": {**BLUE, "ports": {"app0": {"type": "internal"}}}}
    apart(three, networks)
    first, second, _ = three
    first.endpoint_of("blue", "app0", "10.1.0.11/24", 1450)
    second.endpoint_of("blue", "app0", "10.1.0.12/24", 1450)
    assert second.reaches("blue", "10.1.0.11")

    second.restart_switch()
    assert second.flows() == "", "the flows are lost, and nothing else takes their place"
    changes = managed(second, networks)
    assert changes
    assert all(path.startswith("br-tun.flows.") for path in changes)
    assert managed(second, networks) == {}
    assert second.vlan("blue") == 2, "the VLAN is still its own"
    second.sh("ip", "netns", "delete", "blue")
    second.endpoint_of("blue", "app0", "10.1.0.12/24", 1450)
    assert second.reaches("blue", "10.1.0.11")
    assert first.reaches("blue", "10.1.0.12")


def serving(**settings: Any) -> dict[str, Any]:
    """Return the pillar of two tenants with the same addresses, both served by the same host."""
    served = {"served_by": "hv1", "dhcp": {"range": "10.1.0.100-10.1.0.101"}, **settings}
    return {"corral": {"overlay": overlay({"blue": {**BLUE, **served}, "red": {**RED, **served}})}}


def applied(one: Hypervisor, pillar: dict[str, Any]) -> dict[str, Any]:
    """Apply the role to a host; return the changes of its states."""
    states = one.apply("overlay", pillar)
    wrong = {key: state["comment"] for key, state in states.items() if state["result"] is not True}
    assert not wrong, wrong
    return {key: state["changes"] for key, state in states.items() if state["changes"]}


def lease_of(one: Hypervisor, network: str) -> dict[str, str]:
    """Have a new endpoint on a host lease an address of a network; return what it got, and from what MAC."""
    one.endpoint(network, f"ov-{network}")
    lease = one.lease(network)
    assert lease, f"{network} on {one.name}: nobody answers\n{one.flows()}"
    assert one.reaches(network, lease["router"])
    return {**lease, "mac": one.neighbour(network, lease["router"])}


def test_two_tenants_are_served_with_the_same_addresses(three: Three) -> None:
    """S3.8, S3.6: over the tunnels, before and after the serving host's switch has lost everything."""
    first, second, third = three
    pillar = serving()
    for one in three:
        applied(one, pillar)
        assert applied(one, pillar) == {}
    leases = [lease_of(one, network) for one in (second, third) for network in ("blue", "red")]
    expected = {"router": "10.1.0.1", "server": "10.1.0.1", "mtu": "1450"}
    assert all(lease.items() >= expected.items() for lease in leases)
    assert sorted(lease["ip"] for lease in leases) == ["10.1.0.100"] * 2 + ["10.1.0.101"] * 2
    assert len({lease["mac"] for lease in leases}) == 2, "each tenant has a gateway of its own"

    first.restart_switch()
    assert applied(first, pillar)
    assert applied(first, pillar) == {}
    assert second.reaches("blue", "10.1.0.1")
    assert third.reaches("red", "10.1.0.1")
    for network in ("blue", "red"):
        assert second.lease(network)["router"] == "10.1.0.1"

    elsewhere = serving(served_by="hv2")
    for one in three:
        applied(one, elsewhere)
        assert applied(one, elsewhere) == {}
    assert first.sh("ip", "netns", "list") == ""
    assert first.ask("pgrep", "dnsmasq").returncode == 1
    second_gateway = third.lease("red")
    assert second_gateway["router"] == "10.1.0.1"
    assert third.reaches("red", "10.1.0.1")
    assert third.neighbour("red", "10.1.0.1") in {lease["mac"] for lease in leases}


def test_guests_of_other_hosts_are_served_over_the_tunnels(three: Three) -> None:
    """Real guests of libvirt lease addresses from another host, and reach each other and nobody else."""
    first, second, third = three
    for one in three:
        applied(one, serving())
    guests = {("web", "blue"): second, ("db", "blue"): third, ("other", "red"): third}
    for (name, network), one in guests.items():
        one.guest(name, f"ov-{network}")
    address = {name: one.guest_address(name) for (name, _), one in guests.items()}
    assert {address["web"], address["db"]} == {"10.1.0.100", "10.1.0.101"}
    assert address["other"] in (address["web"], address["db"]), "two tenants, one address"

    ping = "ping -c 1 -w 10 {}".format
    assert "1 packets received" in first.in_guest("ov-blue", address["web"], ping(address["db"]))
    assert first.in_guest("ov-blue", address["db"], "cat /sys/class/net/eth0/address").strip() == (
        first.neighbour("ov-blue", address["db"])
    )
    shown = first.minion.call("ovs.networks")
    assert [len(shown[name]["peers"][peer]["macs"]) for name, peer in (("blue", "hv2"), ("red", "hv3"))] == [
        1,
        1,
    ]
    assert shown["blue"]["peers"]["hv3"]["macs"] == [first.neighbour("ov-blue", address["db"])]
    assert all(flow["packets"] for flow in shown["blue"]["flows"])

    third.restart_switch()
    applied(third, serving())
    assert "1 packets received" in first.in_guest("ov-blue", address["web"], ping(address["db"]))


def test_a_pool_joins_by_the_name_of_a_bridge(three: Three) -> None:
    """A pool of the serving host has reservations in the network's subnet; that of another host leases."""
    first, second, _ = three
    pool = {"image": "small", "guest": {"memory": "96M", "type": "qemu", "tcg_cache": "16M"}}
    network = {"bridge": "ov-blue", "offload": False}
    reserved = {**network, "subnet": "blue", "addresses": "10.1.0.10-10.1.0.19"}
    disk = str(Tree.prepare().disk)
    for one, replicas, wired in ((first, 2, reserved), (second, 1, network)):
        applied(one, serving(dhcp={"range": "10.1.0.150-10.1.0.150"}))
        made = one.state("image.present", "small", source="file", format="raw", path=disk)
        assert made["result"] is True, made
        ready = {"ready": "lease" if "subnet" in wired else "none"}
        run = one.state("guest_pool.running", "web", replicas=replicas, networks=[wired], boot=ready, **pool)
        assert run["result"] is True, run
    assert first.in_guest("ov-blue", "10.1.0.11", "hostname").strip() == "web-001"
    second.endpoint("blue", "ov-blue", "10.1.0.200/24")
    assert second.reaches("blue", "10.1.0.10")
    booting = ("-w", "300")
    assert second.reaches("blue", "10.1.0.150", *booting), (
        "the other pool's guest, which leases from the range"
    )

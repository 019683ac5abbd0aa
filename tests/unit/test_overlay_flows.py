"""Flows, names and MTU of overlays, without a switch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.overlay import names
from corral.overlay.flows import Way, flows
from corral.overlay.mtu import network_mtu

BOTH = ["vx-hv2", "vx-hv3"]


def test_every_table_ends_in_a_drop_or_a_flood() -> None:
    assert flows([], []) == [
        "table=0,priority=2,in_port=patch-int,actions=resubmit(,20)",
        "table=20,priority=1,actions=resubmit(,21)",
        "table=0,priority=1,actions=drop",
        "table=10,priority=1,actions=drop",
        "table=21,priority=1,actions=drop",
    ]


def test_both_ways_of_a_network() -> None:
    """S3.3: the VLAN becomes the key on the way out, the key the VLAN on the way in."""
    into, out = flows([Way(1001, 5, ["vx-hv3"])], BOTH)[3:5]
    assert into == (
        "table=10,priority=2,tun_id=0x3e9,vlan_tci=0x0000/0x1000,"
        "dl_src=00:00:00:00:00:00/01:00:00:00:00:00,"
        "actions=push_vlan:0x8100,set_field:4101->vlan_vid,"
        "learn(table=20,hard_timeout=300,priority=2,delete_learned,limit=8192,cookie=0x6c650000000003e9,"
        "NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
        "load:0->NXM_OF_VLAN_TCI[],load:0x3e9->NXM_NX_TUN_ID[],output:NXM_OF_IN_PORT[]),output:patch-int"
    )
    assert out == "table=21,priority=2,dl_vlan=5,actions=pop_vlan,set_field:0x3e9->tun_id,output:vx-hv3"


def test_networks_on_every_host_share_one_list_of_tunnels() -> None:
    found = flows([Way(1, 5, BOTH), Way(2, 6, BOTH), Way(3, 7, [])], BOTH)
    assert [one for one in found if "output:vx-" in one] == [
        "table=22,priority=1,actions=output:vx-hv2,output:vx-hv3"
    ]
    assert sum("resubmit(,22)" in one for one in found) == 2
    assert not [one for one in found if "dl_vlan=7" in one], "a network that no peer has goes nowhere"


@given(st.sets(st.integers(1, 40), max_size=6), st.integers(0, 4))
def test_what_comes_out_of_a_tunnel_goes_into_none(vlans: set[int], peers: int) -> None:
    tunnels = [f"vx-{number}" for number in range(peers)]
    found = flows([Way(1000 + vlan, vlan, tunnels[: vlan % (peers + 1)]) for vlan in vlans], tunnels)
    assert len(set(found)) == len(found)
    from_tunnels = [one for one in found if one.startswith("table=10,")]
    assert len(from_tunnels) == len(vlans) + 1
    assert not [one for one in from_tunnels if "output:vx-" in one or "resubmit" in one]
    assert {one.partition("actions=")[2] for one in found if "in_port=vx-" in one} <= {"resubmit(,10)"}


@pytest.mark.parametrize(
    ("encapsulation", "version", "bytes_added"),
    [
        ("vxlan", 4, 50),
        ("vxlan", 6, 70),
        ("gre", 4, 42),
        ("gre", 6, 62),
        ("geneve", 4, 50),
        ("stt", 4, 72),
    ],
)
def test_what_is_left_for_a_packet(encapsulation: str, version: int, bytes_added: int) -> None:
    assert network_mtu(1500, encapsulation, version) == 1500 - bytes_added


def test_a_name_that_fits_is_the_name() -> None:
    assert names.tunnel("vxlan", "hv2") == "vx-hv2"
    assert names.gateway("blue") == "gw-blue"


@given(st.text(min_size=1), st.sampled_from([*names.TUNNEL.values(), names.BRIDGE]))
def test_any_name_is_one_of_a_device(name: str, prefix: str) -> None:
    made = names.short(prefix, name)
    assert len(made.encode()) <= names.LONGEST
    assert made.startswith(prefix)
    assert made.replace("_", "-").replace("-", "").isalnum()


def test_long_names_that_begin_alike_are_told_apart() -> None:
    made = {names.tunnel("vxlan", f"hypervisor-{number}.example.com") for number in range(200)}
    assert len(made) == 200

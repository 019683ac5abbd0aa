"""Every type of tunnel that a switch may have, and a port that carries customers' VLANs, four ways."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed
from tests.support.ovs_parts import A

FAR = {"remote_ip": "192.0.2.7"}
TYPES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("vxlan", {**FAR, "key": 5001, "dst_port": 4790, "csum": True}, "dst_port", "4789"),
    (
        "vxlan",
        {"remote_ip": "flow", "key": "flow", "local_ip": "192.0.2.1"},
        "local_ip",
        "192.0.2.2",
    ),
    ("gre", {**FAR, "key": 5001, "seq": True, "df_default": False}, "key", "7"),
    ("geneve", {**FAR, "key": "flow", "tos": "inherit", "ttl": 9}, "ttl", "8"),
    ("erspan", {**FAR, "key": 30, "erspan_ver": 1, "erspan_idx": 3}, "erspan_idx", "4"),
    ("ip6gre", {"remote_ip": "2001:db8::7", "key": 30}, "key", "31"),
    ("gtpu", {**FAR, "key": 123}, "key", "124"),
]


@pytest.mark.parametrize(
    ("kind", "options", "key", "other"), TYPES, ids=[f"{one[0]}-{one[2]}" for one in TYPES]
)
def test_tunnels(
    four_ways: Any,
    parts: Callable[[], Any],
    switch: ModuleType,
    kind: str,
    options: dict[str, Any],
    key: str,
    other: str,
) -> None:
    declared = str(options[key]).lower() if isinstance(options[key], bool) else str(options[key])
    four_ways(
        "ovs.tunnel_present",
        "brt-tun0",
        bridge=A,
        type=kind,
        **options,
        look=parts,
        disturb=lambda: switch.vsctl("set", "interface", "brt-tun0", f'options:{key}="{other}"'),
        drift={f"{A}.ports.brt-tun0.options.{key}": {"old": other, "new": declared}},
    )
    assert int(switch.vsctl("get", "interface", "brt-tun0", "ofport")) > 0


def test_a_type_that_this_switch_does_not_have(state: Any, parts: Callable[[], Any]) -> None:
    """STT is gone from Open vSwitch 3.6 on, and DPDK is a matter of how it was built."""
    before = parts()
    answer = state(
        "ovs.port_present", "brt-dpdk0", bridge=A, type="dpdk", options={"dpdk-devargs": "0000:01:00.0"}
    )
    assert_failed(answer, f"bridges.{A}.ports.brt-dpdk0: this Open vSwitch has no type dpdk, only")
    assert parts() == before


def test_a_tunnel_is_taken_away(state: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    state("ovs.tunnel_present", "brt-tun0", bridge=A, type="gre", **FAR)
    gone = state("ovs.tunnel_absent", "brt-tun0")
    assert (gone["result"], list(gone["changes"])) == (True, [f"{A}.ports.brt-tun0"])
    assert "brt-tun0" not in switch.vsctl("list-ports", A)


def test_customers_vlans(four_ways: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    four_ways(
        "ovs.port_present",
        "brt-p1",
        bridge=A,
        vlan_mode="dot1q-tunnel",
        tag=100,
        cvlans=[10, "20-22"],
        other_config={"qinq-ethtype": "802.1q"},
        look=parts,
        disturb=lambda: switch.vsctl("set", "port", "brt-p1", "cvlans=10"),
        drift={f"{A}.ports.brt-p1.cvlans": {"old": [10], "new": [10, 20, 21, 22]}},
    )

"""S3.5, S3.8: two tenants with the same addresses, and the way of each one's guest to its own DHCP server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.support.diagnose_rig import guest, lease

PHY, INT, TUN = "brt-ovs-phy", "brt-ovs-int", "brt-ovs-tun"
ADDRESS = "192.0.2.11"
NETWORK = {"subnet": "10.75.0.0/24", "served_by": "hypervisor", "dhcp": {"range": "10.75.0.100-10.75.0.109"}}
OVERLAY: dict[str, Any] = {
    "host": "hypervisor",
    "peers": {"hypervisor": ADDRESS, "hv2": "192.0.2.12"},
    "datapath_type": "netdev",
    "bridges": {"integration": INT, "tunnel": TUN},
    "networks": {"tdblue": {"key": 1001, **NETWORK}, "tdred": {"key": 2002, **NETWORK}},
}
GUESTS = {"tdblue": "52:60:2f:75:00:01", "tdred": "52:60:2f:75:00:02"}
State = Callable[..., dict[str, Any]]


@pytest.fixture
def tenants(switch: ModuleType, state: State, salt: Any) -> Iterator[dict[str, Any]]:
    """Two networks that this host serves, each with the guest ``brt-NETWORK``; returns the services."""
    switch.vsctl("add-br", PHY, "--", "set", "bridge", PHY, "datapath_type=netdev")
    switch.run("ip", "address", "add", f"{ADDRESS}/24", "dev", PHY)
    switch.run("ip", "link", "set", PHY, "up")
    assert state("ovs.overlay_managed", "overlay", **OVERLAY)["result"] is True
    services = salt.cmd("ovs.overlay_services", **OVERLAY)
    try:
        for function, parts in (("link.managed", "links"), ("dhcp.subnet_managed", "dhcp")):
            for name, part in services[parts].items():
                made = state(function, name, **part)
                assert made["result"] is True, made
        with contextlib.ExitStack() as stack:
            for network, mac in GUESTS.items():
                stack.enter_context(guest(switch, network, f"brt-{network}", mac))
                switch.vsctl("add-port", f"ov-{network}", f"brt-{network}")
            yield services
    finally:
        for name in services["dhcp"]:
            state("dhcp.subnet_absent", name)
        for part in services["links"].values():
            state("link.namespace_absent", part["namespace"])


def test_each_is_served_by_its_own(salt: Any, switch: ModuleType, tenants: dict[str, Any]) -> None:
    for network, mac in GUESTS.items():
        found = salt.cmd("ovs.diagnose", f"brt-{network}")
        assert found["healthy"] is True, found
        assert found["mac"] == mac
        seen = {hop["hop"]: hop["seen"] for hop in found["hops"]}
        (server,) = (name for name, part in tenants["dhcp"].items() if network in part["interface"])
        assert seen["server"].startswith(f"dnsmasq of the subnet {server} listens on gw-{network} in the")
        assert lease(switch, network)


def test_a_guest_in_a_vlan_of_no_network(salt: Any, switch: ModuleType, tenants: dict[str, Any]) -> None:
    """Of two servers alike, the one that has had the guest before is its own."""
    assert lease(switch, "tdred")
    vlan = int(switch.vsctl("get", "port", "gw-tdred", "tag"))
    switch.vsctl("set", "port", "brt-tdred", "tag=77")
    found = salt.cmd("ovs.diagnose", "brt-tdred", seconds=1)
    assert (found["broken"], found["reason"]) == (
        "path",
        f"brt-tdred is in VLAN 77, but gw-tdred is in VLAN {vlan}: a broadcast does not leave its VLAN.",
    ), found
    (mended,) = salt.cmd("state.single", found["fix"]["state"], **found["fix"]["arguments"]).values()
    assert mended["result"] is True, mended
    assert salt.cmd("ovs.diagnose", "brt-tdred")["healthy"] is True
    assert switch.vsctl("get", "port", "brt-tdred", "tag") == str(vlan)

"""S2.5, S3.5: the way of a real guest of libvirt to its DHCP server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.support import ovs
from tests.support.dhcp_net import forget
from tests.support.diagnose_rig import SERVED, SERVER, SUBNET, VLAN, address
from tests.support.guest_rig import OVS_BRIDGE, sh, virsh

NAME, FIRST, SECOND = "tguest-diag", "52:60:2f:73:01:01", "52:60:2f:73:01:02"
State = Callable[..., dict[str, Any]]


@pytest.fixture
def web(guest_fields: dict[str, Any], state: State) -> Iterator[str]:
    """A running guest with two cards, the first in the server's VLAN; returns the device of that one."""
    ovs.vsctl(
        *("add-port", OVS_BRIDGE, SERVER, f"tag={VLAN}", "--", "set", "interface", SERVER, "type=internal")
    )
    address(ovs)
    try:
        assert state("dhcp.subnet_managed", SUBNET, **SERVED)["result"] is True
        nics = [
            {"mac": FIRST, "bridge": OVS_BRIDGE, "switch": "ovs", "vlan": VLAN},
            {"mac": SECOND, "bridge": OVS_BRIDGE, "switch": "ovs", "vlan": 77},
        ]
        run = state("guest.running", NAME, **{**guest_fields, "nics": nics})
        assert run["result"] is True, run
        yield tap()
    finally:
        forget(SUBNET)
        ovs.vsctl("--if-exists", "del-port", SERVER)


def tap() -> str:
    listed = virsh("domiflist", NAME)
    return next(line.split()[0] for line in listed.splitlines() if FIRST in line)


def mended(salt: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Apply the state that a diagnosis names; return the diagnosis after it."""
    (done,) = salt.cmd("state.single", found["fix"]["state"], **found["fix"]["arguments"]).values()
    assert done["result"] is True, done
    return dict(salt.cmd("ovs.diagnose", NAME))


def test_a_guest_of_libvirt(salt: Any, web: str) -> None:
    found = salt.cmd("ovs.diagnose", NAME)
    assert found["healthy"] is True, found
    assert (found["guest"], found["mac"]) == (NAME, FIRST)
    seen = {hop["hop"]: hop["seen"] for hop in found["hops"]}
    assert seen["guest"] == f"the guest {NAME} runs, its address is {FIRST}"
    assert seen["port"] == f"{web} on {OVS_BRIDGE}, in VLAN {VLAN}"
    assert salt.cmd("ovs.diagnose", web)["guest"] == NAME
    assert salt.cmd("ovs.diagnose", FIRST)["guest"] == NAME


def test_its_other_card_is_in_another_vlan(salt: Any, web: str) -> None:
    found = salt.cmd("ovs.diagnose", NAME, mac=SECOND, seconds=1)
    assert (found["mac"], found["broken"]) == (SECOND, "path"), found
    assert f"is in VLAN 77, but {SERVER} is in VLAN {VLAN}" in found["reason"]
    with pytest.raises(CommandExecutionError, match=f"network namespace {NAME} with the address 52:60"):
        salt.cmd("ovs.diagnose", NAME, mac="52:60:2f:73:01:99")


@pytest.mark.parametrize(
    ("fault", "hop", "reason"),
    [
        (
            lambda tap: ovs.vsctl("set", "port", tap, "tag=9"),
            "path",
            f"{{tap}} is in VLAN 9, but {SERVER} is in VLAN {VLAN}: a broadcast does not leave its VLAN.",
        ),
        (lambda tap: ovs.vsctl("del-port", tap), "port", "{tap} is no port of a switch."),
        (lambda tap: sh("ip", "link", "set", tap, "down"), "tap", "{tap} is down."),
        (lambda tap: virsh("destroy", NAME), "guest", f"the guest {NAME} is stopped."),
    ],
    ids=["two VLANs (S3.5)", "no port", "tap down", "stopped"],
)
def test_a_fault_and_the_state_that_mends_it(
    salt: Any, web: str, fault: Callable[[str], object], hop: str, reason: str
) -> None:
    fault(web)
    found = salt.cmd("ovs.diagnose", NAME, seconds=1)
    assert (found["broken"], found["reason"]) == (hop, reason.format(tap=web)), found
    after = mended(salt, found)
    assert after["healthy"] is True, after

"""Properties of the planner of links."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from corral.change import Change
from corral.link.model import Device, Held, Host, Link, elsewhere
from corral.link.plan import plan
from corral.link.route import HeldRoute
from tests.support import subnets

ADDRESSES = ["10.7.0.1/24", "10.7.0.2/24", "10.8.0.1/16", "fd07::1/64", "fd07::2/64", "192.0.2.1/32"]
HELD = st.lists(st.sampled_from(ADDRESSES), unique=True)

devices = st.builds(
    lambda mtu, held, ours, up: Device(mtu, tuple(Held(one, one in ours) for one in held), up),
    st.sampled_from([1400, 1500, 9000]),
    HELD,
    HELD,
    st.booleans(),
)
declarations = st.fixed_dictionaries(
    {"name": st.just("br0")},
    optional={"mtu": st.sampled_from([1400, 1500, 9000]), "addresses": HELD | st.none(), "up": st.booleans()},
)


def here(device: Device) -> Host:
    return Host({None: {"br0": device}})


def step(device: Device, change: Change) -> Device:
    """Carry one change out as the kernel would."""
    held = {one.address: one for one in device.addresses}
    if change.path[1] == "mtu":
        assert device.mtu == change.old
        return Device(change.new, device.addresses, device.up)
    if change.path[1] == "up":
        assert device.up is change.old
        return Device(device.mtu, device.addresses, change.new)
    if change.removes:
        assert held.pop(change.old).ours
    else:
        assert change.new not in held
        held[change.new] = Held(change.new)
    return Device(device.mtu, tuple(held.values()), device.up)


@given(devices, declarations)
def test_a_plan_leads_to_what_is_declared(device: Device, data: dict[str, Any]) -> None:
    desired = subnets.link(data)
    for change in plan(here(device), desired):
        device = step(device, change)
    assert plan(here(device), desired) == ()
    if "addresses" in data:
        assert {one.address for one in device.addresses if one.ours} <= set(desired.addresses)
        assert set(desired.addresses) <= {one.address for one in device.addresses}


@given(devices, declarations)
def test_after_any_step_the_host_has_an_address_that_it_had_or_shall_have(
    device: Device, data: dict[str, Any]
) -> None:
    desired = subnets.link(data)
    removed = False
    for change in plan(here(device), desired):
        device = step(device, change)
        removed = removed or (change.path[1] == "addresses" and change.removes)
        if removed:
            assert set(desired.addresses) <= {one.address for one in device.addresses}


@given(devices)
def test_nothing_is_to_be_done_for_what_is_there(device: Device) -> None:
    declared = {**device.shown(), "name": "br0"}
    assert plan(here(device), Link.declare(declared)) == ()


def test_a_duplicate_on_another_link() -> None:
    here = subnets.devices({"br0": {"addresses": ["10.7.0.1/24"]}, "br1": {"addresses": ["10.7.0.2/16"]}})
    desired = subnets.link({"name": "br0", "addresses": ["10.7.0.1/24", "10.7.0.2/24"]})
    assert elsewhere(here, desired) == (
        "links.br0.addresses[1]: 10.7.0.2 is a duplicate address, br1 has it.",
    )


def test_a_link_local_address_may_be_on_many_links() -> None:
    here = subnets.devices({"br1": {"addresses": ["<fe80::1/64>", "169.254.0.1/16"]}})
    desired = subnets.link({"name": "br0", "addresses": ["fe80::1/64", "169.254.0.1/16"]})
    assert elsewhere(here, desired) == ()


def test_what_moves_is_here_before_it_is_gone_from_there() -> None:
    card = Device(
        addresses=(Held("10.7.0.1/24", ours=False),), routes=(HeldRoute("0.0.0.0/0", "10.7.0.254"),), up=True
    )
    desired = Link.declare(
        {
            "name": "br0",
            "addresses": ["10.7.0.1/24"],
            "up": True,
            "gateway": "10.7.0.254",
            "takes_over": ["eth0"],
            "persist": "auto",
        }
    )
    todo = plan(Host({None: {"br0": Device(), "eth0": card}}), desired)
    assert [change.dotted for change in todo] == [
        "br0.addresses.10.7.0.1/24",
        "br0.up",
        "br0.gateway",
        "eth0.routes.0.0.0.0/0",
        "eth0.addresses.10.7.0.1/24",
        "br0.persist",
    ]

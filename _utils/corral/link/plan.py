"""The difference between a device as it is and as declared."""

from __future__ import annotations

from corral.change import Change
from corral.converge import Todo
from corral.link.model import Device, Host, Inhabited, Link, Namespace


def plan(current: Host, desired: Link) -> Todo:
    """Return what leads from the devices of this host to the declared one.

    A device that is not there yet is taken for one that has just been made. One that moves to another
    namespace keeps what it has. Taking a device down takes IPv6 addresses off it, so that comes before they
    are added (and those that stay are put back); an address is added before others are removed, so that the
    host can be reached after any step.
    """
    name = desired.name
    device = current.device(desired)
    mentioned = desired.model_fields_set
    todo = _namespace(current, desired) if "namespace" in mentioned else ()
    if "mtu" in mentioned and device.mtu != desired.mtu:
        todo += (Change((name, "mtu"), device.mtu, desired.mtu),)
    switch = (
        (Change((name, "up"), device.up, desired.up),)
        if "up" in mentioned and device.up != desired.up
        else ()
    )
    if not desired.up:
        todo += switch
    if "addresses" in mentioned:
        todo += _addresses(name, device, desired)
    return todo + switch if desired.up else todo


def plan_absent(current: Inhabited | None, desired: Namespace) -> Todo:
    """Return the removal of a network namespace, if there is one."""
    return (Change((desired.name,), "a network namespace", None),) if current else ()


def _namespace(current: Host, desired: Link) -> Todo:
    name, space = desired.name, desired.namespace
    was = next(iter(current.having(desired)), None)
    todo: Todo = (Change((name, "namespace"), was, space),) if was != space else ()
    if space is not None and not current.loopback(space):
        todo += (Change((name, "loopback"), False, True),)
    return todo


def _addresses(name: str, device: Device, desired: Link) -> Todo:
    held = {one.address for one in device.addresses}
    added = [Change((name, "addresses", one), None, one) for one in desired.addresses if one not in held]
    gone = [one.address for one in device.addresses if one.ours and one.address not in desired.addresses]
    return (*added, *(Change((name, "addresses", one), one, None) for one in gone))

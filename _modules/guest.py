"""
Guests of libvirt as they are
=============================

In the vocabulary of the state module :py:mod:`guest <states.guest>`.
"""

from __future__ import annotations

from typing import Any

try:
    from corral.errors import Refused, salt_errors
    from corral.guest.wire import Libvirt

    MISSING = ""
except ImportError as missing:
    MISSING = f"guest cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"

__func_alias__ = {"list_": "list"}


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def show(name: str) -> dict[str, Any]:
    """
    Return one guest in the words of its declaration, its ``state``, and what its next start will change.

    What is not said does not hold: without ``reason`` libvirt knows of none, without ``pending`` the guest
    runs as it is defined. ``pending`` is ``{field: {"now": …, "next": …}}``.

    name
        The guest's name.

    Raises an error when there is no such guest, or libvirt does not answer within 10 seconds.

    CLI Example:

    .. code-block:: bash

        salt '*' guest.show web
    """
    with salt_errors(), Libvirt() as libvirt:
        found = libvirt.read().guests.get(name)
        if found is None:
            raise Refused(f"There is no guest {name} on this host.")
        about = {"state": found.state, "reason": found.reason, "pending": libvirt.pending(name)}
    return {**found.fields, **{key: value for key, value in about.items() if value}}


def list_() -> dict[str, dict[str, Any]]:
    """
    Return every guest of the host by name: its state, memory, virtual CPUs, addresses and whose it is.

    Raises an error when libvirt does not answer within 10 seconds.

    CLI Example:

    .. code-block:: bash

        salt '*' guest.list
    """
    keys = ("type", "memory", "vcpus", "autostart", "corral")
    with salt_errors(), Libvirt() as libvirt:
        guests = libvirt.read().guests
    return {
        name: {
            "state": found.state,
            **{key: found.fields[key] for key in keys if key in found.fields},
            "macs": sorted(found.macs),
        }
        for name, found in sorted(guests.items())
    }

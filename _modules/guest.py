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
    MISSING = str(missing)

    def salt_errors(function: Any) -> Any:
        return function


__func_alias__ = {"list_": "list"}


def __virtual__() -> bool | tuple[bool, str]:
    if MISSING:
        return (
            False,
            f"guest needs corral and pydantic in Salt's Python ({MISSING}): pip install saltext-corral",
        )
    return True


@salt_errors
def show(name: str) -> dict[str, Any]:
    """
    Return one guest: its fields, its state, why it is in it, and what its next start will change.

    name
        The guest's name.

    Raises an error when there is no such guest, or libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt '*' guest.show web
    """
    with Libvirt() as libvirt:
        found = libvirt.read().guests.get(name)
        if found is None:
            raise Refused(f"There is no guest {name} on this host.")
        about = {"state": found.state, "reason": found.reason, "pending": libvirt.pending(name)}
    return {**found.fields, **{key: value for key, value in about.items() if value}}


@salt_errors
def list_() -> dict[str, dict[str, Any]]:
    """
    Return every guest of the host by name: its state, memory, virtual CPUs, addresses and whose it is.

    CLI Example:

    .. code-block:: bash

        salt '*' guest.list
    """
    keys = ("type", "memory", "vcpus", "autostart", "corral")
    with Libvirt() as libvirt:
        guests = libvirt.read().guests
    return {
        name: {
            "state": found.state,
            **{key: found.fields[key] for key in keys if key in found.fields},
            "macs": sorted(found.macs),
        }
        for name, found in sorted(guests.items())
    }

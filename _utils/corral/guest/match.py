"""Which declared disk or NIC is which of those that a guest has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Item = Mapping[str, Any]


def pair_disks(declared: Sequence[Item], current: Sequence[Item]) -> list[int | None]:
    """Return for each declared disk the place of the current disk with its path, or ``None``."""
    places = {disk.get("path"): place for place, disk in enumerate(current)}
    return [places.get(disk["path"]) for disk in declared]


def pair_nics(declared: Sequence[Item], current: Sequence[Item]) -> list[int | None]:
    """Return for each declared NIC the place of a current one: the one with its MAC, else in order.

    So a NIC without a declared MAC keeps the one it has, and a MAC that no NIC has yet is a change
    of the next NIC that nothing else claims.
    """
    places = {nic.get("mac"): place for place, nic in enumerate(current)}
    found = [places.get(nic.get("mac")) if nic.get("mac") else None for nic in declared]
    free = iter([place for place in range(len(current)) if place not in found])
    return [next(free, None) if place is None else place for place in found]

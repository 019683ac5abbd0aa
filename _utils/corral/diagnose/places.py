"""Work in a network namespace of this host, as ``corral.topology`` names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from corral import netns

Result = TypeVar("Result")


def inside(namespace: str, work: Callable[[], Result]) -> Result:
    """Do a piece of work that ends at once in a network namespace.

    namespace
        ``""`` for the minion's own; otherwise its name, or a process that is in it (``pid 4711``).
    """
    kind, _, number = namespace.partition(" ")
    return netns.inside(f"/proc/{number}/ns/net" if kind == "pid" and number else namespace or None, work)

"""Leading back from a change."""

from __future__ import annotations

import importlib
from typing import Any

from corral.guard import journal, network
from corral.guard.journal import Journal
from corral.guard.process import Process


def prepared(product: str) -> Any:
    """Return the module that leads back, with all that it needs in memory."""
    return importlib.import_module(f"corral.{product}.undo")


def take_back(armed: Journal, why: str, early: bool = False) -> str:
    """Lead back and disarm, and return why, with what could not be put back; the lock must be held.

    A run that still lives is left to disarm: what it may write later it takes back itself.

    early
        There are no daemons yet: do only what needs none.

    Raises an ``Error`` when a daemon does not answer; the guard stays armed then.
    """
    elsewhere = armed.running and armed.run != Process.own()
    if elsewhere and not armed.reverted:
        armed = journal.mark_reverted(armed, why)
    steps = [step for step in reversed(armed.steps) if step.alone or not early]
    lost: list[str] = []
    for step in steps:
        prepared(step.product).revert(step.undo, step.network, armed.rebooted)
        lost += [] if armed.rebooted else network.restore(step.network)
    said = f"{why} Not put back: {'; '.join(dict.fromkeys(lost))}." if lost else why
    if not elsewhere and len(steps) == len(armed.steps):
        journal.close(armed, "reverted", said)
    return said

"""An armed guard as seen and ended by others than the run that armed it."""

from __future__ import annotations

from typing import Any

from corral.errors import Refused
from corral.guard import journal, watchdog
from corral.guard.back import take_back
from corral.guard.guarded import busy
from corral.guard.journal import Journal
from corral.guard.model import AT
from corral.guard.process import Process

NONE = "No guard is armed on this host."


def status() -> dict[str, Any]:
    """Return the armed guard and what became of the last one; ``None`` for each that there is not."""
    armed = journal.read()
    shown = None
    if armed is not None:
        shown = {**armed.shown(), "running": armed.running, "watched": bool(journal.watchdog())}
    return {"armed": shown, "last": journal.last()}


def confirm() -> str:
    """Keep the change that is guarded, whatever the probes say."""
    with journal.locked():
        armed = _armed()
        if armed.reverted:
            raise Refused(f"{armed.name} is reverted already: {armed.reverted}")
        journal.close(armed, "confirmed", "by hand")
    watchdog.stop()
    return f"{armed.name} is kept as it is."


def revert() -> str:
    """Take the change back that is guarded."""
    with journal.locked():
        armed = _armed()
        said = take_back(armed, "by hand.")
    return f"{armed.name} is reverted: {said}"


def _armed() -> Journal:
    armed = journal.read()
    if armed is None:
        raise Refused(NONE)
    return armed


def recover(concerned: bool, joins: bool = False) -> None:
    """Take back what a killed run and its killed watchdog, or a reboot, have left armed.

    concerned
        Whether what follows changes what a guard may be armed for: raises ``Refused`` beside one in use.
    joins
        Whether it can share a guard that is held for it.
    """
    with journal.locked():
        journal.sweep()
        armed = journal.read()
        if armed is None:
            return
        if joins and armed.waits_for_us:
            return
        if armed.reverted and armed.run == Process.own():  # while it was held for what follows
            said = take_back(armed, armed.reverted)
            watchdog.stop()
            if joins:
                raise Refused(f"{AT}: what goes before this was reverted: {said}")
            return
        if armed.running or (not armed.rebooted and journal.watchdog()):
            if concerned:
                raise busy(armed)
            return
        take_back(armed, watchdog.ENDED)

"""A plan carried out under a guard: armed, applied, probed, disarmed or taken back."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corral.errors import Conflict, Error, Refused
from corral.guard import Undo, journal, network, unit, watchdog
from corral.guard.back import take_back
from corral.guard.choice import chosen
from corral.guard.journal import Journal, Step
from corral.guard.model import AT, Guard
from corral.guard.probes import Target, unanswered
from corral.guard.process import Process

NOT_ALL = "what was to follow under its guard was not done."
AGAIN = 5.0  # seconds for who answered before to answer again after a change was taken back
NOBODY = Process(0, 1)  # lives nowhere: a journal's run that will not disarm it any more


class Guarded:
    """Carries out the plans of one run under a guard.

    name
        The state, as the journal names it.
    guard
        What was declared.
    opts
        The minion's ``__opts__``.
    """

    guards = True

    def __init__(self, name: str, guard: Guard, opts: Mapping[str, Any]) -> None:
        self.name, self.guard, self.opts = name, guard, opts
        self.targets: tuple[Target, ...] = ()
        self.applied = False

    def lacks(self, daemon: Any, todo: Any, current: Any, desired: Any) -> tuple[str, ...]:
        """Ask before the change; return a sentence for each who does not answer."""
        try:
            daemon.undo(todo, current, desired)
        except Refused as refused:
            return (str(refused),)
        held = _held()
        if held is not None:  # they were asked before the first of the changes that share it
            self.targets = held.probes
            return ()
        self.targets, silent = chosen(self.guard, self.opts)
        return silent

    @property
    def note(self) -> str:
        """What a preview says of it."""
        if not self.targets:
            return " under a guard"
        if self.guard.hold:
            return f" under a guard that is held until {_listed(self.targets)} answer after what follows"
        return f" and reverted unless {_listed(self.targets)} answer within {self.guard.within} s"

    def apply(self, daemon: Any, todo: Any, current: Any, desired: Any) -> None:
        """Carry out a plan, and take it back when who answered before does not answer after it.

        Raises ``Refused`` when it was taken back, and what the product's ``apply`` raises.
        """
        before, armed = self._arm(daemon.undo(todo, current, desired))
        failure: Error | None = None
        silent: tuple[Target, ...] = ()
        try:
            try:
                daemon.apply(todo, current, desired)
            except Conflict:
                raise
            except Error as error:  # what is done of it may have cut the host off all the same
                failure = error
            if not self.guard.hold:
                silent = self._silent(armed)
        except Conflict:  # nothing was written
            _disarm(armed, before)
            raise
        except BaseException:
            _give_back(armed, "the run was interrupted.")
            raise
        self.applied = failure is None
        if not self.guard.hold:
            self._conclude(armed, silent, failure)
        if failure is not None:
            raise failure

    def end(self, failure: str) -> None:
        """End a guard that was held for this state, where this state has nothing to do, or cannot do it."""
        held = None if self.applied else _held()
        if held is None or (self.guard.hold and not failure):
            return
        self.targets = held.probes
        if failure:
            raise Refused(f"{failure} The change was reverted: {_give_back(held, NOT_ALL)}{self._even_so()}")
        self._conclude(held, self._silent(held), None)

    def _silent(self, armed: Journal) -> tuple[Target, ...]:
        return unanswered(self.targets, lambda: armed.left, lambda: _over(armed))

    def _arm(self, undo: Undo) -> tuple[Journal | None, Journal]:
        """Have what leads back on disk, and a watchdog; return the guard that was held, if any, and this."""
        unit.install()
        with journal.locked():
            held = journal.read()
            if held is not None and not held.waits_for_us:
                raise busy(held)
            armed = self._joined(held or self._new(), undo)
            journal.write(armed)
            try:
                if held is None or not journal.watchdog():
                    watchdog.start(armed)
            except BaseException:
                _undone(armed, held, "not armed")
                raise
        return held, armed

    def _new(self) -> Journal:
        return Journal(
            identity=secrets.token_hex(4),
            name="",
            steps=(),
            probes=self.targets,
            within=0,
            until=0,
            run=Process.own(),
            paths=tuple(path for path in sys.path if os.path.isabs(path)),
        )

    def _joined(self, armed: Journal, undo: Undo) -> Journal:
        """Return a guard that this state's plan is under, too."""
        step = Step(undo.product, undo.data, network.snapshot(undo.devices), undo.alone)
        return replace(
            armed,
            name=f"{armed.name}, {self.name}" if armed.name else self.name,
            steps=(*armed.steps, step),
            within=self.guard.within,
            until=journal.now() + self.guard.within,
            environment={**armed.environment, **undo.environment},
            held=self.guard.hold,
        )

    def _conclude(self, armed: Journal, silent: tuple[Target, ...], failure: Error | None) -> None:
        if not silent and _kept(armed):
            return
        why = f"{_listed(silent)} did not answer within {self.guard.within} s." if silent else ""
        said = _give_back(armed, why)
        if said:
            before = f"{failure} " if failure else ""
            raise Refused(f"{before}The change was reverted: {said}{self._even_so()}")

    def _even_so(self) -> str:
        """Return what is wrong after a change was taken back; empty when all answer again."""
        deadline = journal.now() + AGAIN
        silent = unanswered(self.targets, lambda: deadline - journal.now(), lambda: False)
        return f" Even so, {_listed(silent)} does not answer within {AGAIN:g} s." if silent else ""


def _listed(targets: tuple[Target, ...]) -> str:
    return ", ".join(map(str, targets))


def busy(armed: Journal) -> Refused:
    """Return why nothing else may be changed while a guard is armed."""
    if armed.waits_for_us:
        return Refused(f"{AT}: {armed.name} holds a guard for what follows: declare one here as well.")
    return Refused(
        f"{AT}: {armed.name} (process {armed.run.pid}) is being changed under a guard, which ends within"
        f" {max(1, round(armed.left))} s; try again then."
    )


def _over(armed: Journal) -> bool:
    """Whether somebody else has decided: by hand, or the watchdog."""
    now = journal.read()
    return now is None or now.identity != armed.identity or bool(now.reverted)


def _kept(armed: Journal) -> bool:
    """Disarm, unless the change was taken back meanwhile; return whether it is kept."""
    with journal.locked():
        if _over(armed):
            return journal.read() is None
        journal.close(armed, "kept")
    watchdog.stop()
    return True


def _disarm(armed: Journal, before: Journal | None) -> None:
    """Have it as it was before a plan of which nothing was carried out."""
    with journal.locked():
        if not _over(armed):
            _undone(armed, before, "disarmed")
    if before is None:
        watchdog.stop()


def _undone(armed: Journal, before: Journal | None, outcome: str) -> None:
    if before is not None:
        journal.write(before)
    else:
        journal.close(armed, outcome, "nothing was changed")


def _held() -> Journal | None:
    """Return the guard that an earlier state of this run holds for this one."""
    there = journal.read()
    return there if there is not None and there.waits_for_us else None


def _give_back(armed: Journal, why: str) -> str:
    """Take a change back and return why; empty if it was confirmed by hand meanwhile.

    When that fails the watchdog goes on trying, and after it the next run.
    """
    with journal.locked():
        now = journal.read()
        if now is None or now.identity != armed.identity:
            return ""
        try:
            said = take_back(now, now.reverted or why)
        except Error as error:
            journal.write(replace(now, run=NOBODY))
            raise Refused(f"{why} The change could not be reverted yet: {error}") from error
    watchdog.stop()
    return said

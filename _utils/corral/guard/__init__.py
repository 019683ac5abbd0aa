"""A change that is taken back when the host cannot be reached after it.

Before the change, what leads back is written down and a watchdog is started that is no child of Salt. When
nobody says in time that the host is still reached, because the probes do not answer or because Salt was
killed, the change is taken back; after a reboot in the middle that is done at the next start.

Here is what every run of every product takes part in; the rest is loaded where there is a guard.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

FOLDER = Path("/var/lib/corral/guard")
JOURNAL = "journal.json"
LAST = "last.json"  # what became of the last guard
LOCK = "lock"
WATCHDOG = "watchdog"  # locked by a watchdog for as long as it lives; its process id is in it
STAYING = (LAST, LOCK, WATCHDOG)  # where no guard is armed


@dataclass(frozen=True)
class Undo:
    """What leads back from a plan.

    product
        Whose ``corral.<product>.undo.revert`` does it. It is called with ``data``, with what ``devices`` had,
        and with whether the host was started anew since; done twice it does nothing more, and it may be
        killed at any moment.
    data
        Values that JSON holds, without any secret.
    devices
        Network devices whose addresses and routes may go with the change.
    environment
        What the product's daemons are found by.
    alone
        Whether no daemon is needed to lead back: after a boot it is done before the network is set up, then.
    """

    product: str
    data: dict[str, Any]
    devices: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    alone: bool = False


class Way(Protocol):
    """How a plan is carried out."""

    @property
    def note(self) -> str:
        """What a preview says of it."""

    @property
    def guards(self) -> bool:
        """Whether it is under a guard."""

    def lacks(self, daemon: Any, todo: Any, current: Any, desired: Any) -> tuple[str, ...]:
        """Return a sentence for each thing that it needs and that is missing."""

    def apply(self, daemon: Any, todo: Any, current: Any, desired: Any) -> None:
        """Have the wire of a product carry out a plan."""

    def end(self, failure: str) -> None:
        """Have the run end, with nothing to be carried out any more; ``failure`` says why it failed."""


class Plain:
    """Carries plans out, without a guard."""

    note = ""
    guards = False

    def lacks(self, daemon: Any, todo: Any, current: Any, desired: Any) -> tuple[str, ...]:
        return ()

    def apply(self, daemon: Any, todo: Any, current: Any, desired: Any) -> None:
        daemon.apply(todo, current, desired)

    def end(self, failure: str) -> None:
        pass


def way(name: str, declared: Any, opts: Mapping[str, Any]) -> Way:
    """Return how a state's plans are carried out; raises ``Invalid`` for a guard that is declared wrongly.

    declared
        The state's argument ``guard``.
    opts
        The minion's ``__opts__``.
    """
    if declared is None or declared is False:
        return Plain()
    from corral.guard.guarded import Guarded
    from corral.guard.model import guard

    return Guarded(name, guard(declared), opts)


def _there() -> list[str]:
    try:
        return os.listdir(FOLDER)
    except (FileNotFoundError, PermissionError):  # who may not look may not change a network either
        return []


def pending(concerned: bool, joins: bool) -> None:
    """Take back what a killed run has left armed, before anything else is changed.

    concerned
        Whether what follows changes what a guard may be armed for: raises ``Refused`` beside one in use.
    joins
        Whether it can share a guard that is held for it.
    """
    if set(_there()) <= set(STAYING):
        return
    from corral.guard.hand import recover

    recover(concerned, joins)

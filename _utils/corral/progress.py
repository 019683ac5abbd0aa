"""Tell how far a long step is, without the telling ever becoming the problem."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much (0: unknown)

PATIENCE = 5.0  # seconds that one message may take


def silent(text: str, done: int, total: int) -> None:
    """Tell nobody."""


def teller(send: Callable[..., Any], tag: str) -> Progress:
    """Return a function that tells progress as Salt events.

    send
        ``__salt__["event.send"]``.
    tag
        The tag of the events; their data is ``text``, ``done`` and ``total``.

    The first message that fails or takes longer than 5 seconds is the last: without a minion daemon
    or a master there is nobody to tell, and each try would cost a second or more.
    """
    listening = True

    def tell(text: str, done: int, total: int) -> None:
        nonlocal listening
        if listening:
            started = time.monotonic()
            try:
                sent = send(tag, {"text": text, "done": done, "total": total})
            except Exception:  # whatever Salt's transport raises: what is told about must go on
                sent = False
            listening = bool(sent) and time.monotonic() - started < PATIENCE

    return tell

"""Calls into C code that may never return, with an end all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def within(seconds: float, function: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return what a call returns, or raise what it raises.

    seconds
        After this long without an answer ``TimeoutError`` is raised. The call itself cannot be
        stopped: its thread waits on, and does not keep the process from ending.
    """
    answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def work() -> None:
        try:
            answers.put((function(*arguments), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=work, name=f"within {seconds} s", daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if error is None:
        return answer
    try:
        raise error
    finally:
        # Its traceback holds this frame: together they would keep what the call used, till collected.
        del error

"""Calls that may never return."""

from __future__ import annotations

import threading

import pytest

from corral.guest.deadline import within


def test_an_answer_in_time_is_returned() -> None:
    assert within(5, lambda a, b: a + b, 1, 2) == 3


def test_an_error_in_time_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def test_a_call_that_hangs_is_left_behind() -> None:
    forever = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, forever.wait)
    forever.set()

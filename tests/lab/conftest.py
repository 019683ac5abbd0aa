"""Fixtures of the tests that start throw-away hypervisors themselves."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.three_hosts import fleet, three  # noqa: F401  (fixtures)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """What is started here can be interrupted, also where a shell runs the tests in its background.

    Such a shell has them ignore interrupts, and what they start inherits that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

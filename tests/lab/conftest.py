"""Fixtures of the tests that start throw-away hypervisors themselves."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.three_hosts import fleet, three  # noqa: F401  (fixtures)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """What is started here hears signals, also where the tests run in a shell's background, or by nohup(1).

    Those have them ignore an interrupt or a hangup, and what they start inherits that.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)

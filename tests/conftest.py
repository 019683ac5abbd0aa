"""What concerns all tests."""

from __future__ import annotations

import logging


def pytest_configure() -> None:
    """Keep each message of netlink, in hundreds of words, out of what a failing test shows."""
    logging.getLogger("pyroute2").setLevel(logging.INFO)


def pytest_unconfigure() -> None:
    """Silence what Salt's start-up handler would say of a stream that pytest has closed by its end."""
    logging.raiseExceptions = False

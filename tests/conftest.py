"""What concerns all tests."""

from __future__ import annotations

import logging


def pytest_unconfigure() -> None:
    """Silence what Salt's start-up handler would say of a stream that pytest has closed by its end."""
    logging.raiseExceptions = False

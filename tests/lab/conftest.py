"""Fixtures of the tests that start throw-away hypervisors themselves."""

from __future__ import annotations

from tests.support.three_hosts import fleet, three  # noqa: F401  (fixtures)

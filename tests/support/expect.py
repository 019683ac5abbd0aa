"""Expectations that many tests share."""

from __future__ import annotations

from typing import Any


def assert_failed(answer: dict[str, Any], *fragments: str) -> None:
    """Assert that a state failed without changes, in words that hold every fragment."""
    assert answer["result"] is False, answer
    assert answer["changes"] == {}, answer
    for fragment in fragments:
        assert fragment in answer["comment"], answer["comment"]

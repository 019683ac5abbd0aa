"""A frame's way in the words of each generation of ovs-vswitchd (``cases/topology/trace/<case>.yaml``)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corral.topology.trace import Way, way

CASES = sorted((Path(__file__).parent / "cases" / "topology" / "trace").iterdir())


def found(case: Path) -> tuple[Way, dict[str, object]]:
    told = yaml.safe_load(case.read_text(encoding="utf-8"))
    return way(told["trace"], told["ports"], told["bonds"], set(told["tunnels"])), told["expected"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_way(case: Path) -> None:
    seen, expected = found(case)
    assert {
        "visits": [[one.bridge, one.flow, list(one.said)] for one in seen.visits],
        "outputs": [list(one) for one in seen.outputs],
        "bonds": [list(one) for one in seen.bonds],
        "remotes": list(seen.remotes),
        "keys": dict(seen.keys),
    } == expected


LINES = sorted({line for case in CASES for line in case.read_text(encoding="utf-8").splitlines()})


@given(st.lists(st.sampled_from(LINES) | st.text(max_size=40), max_size=30))
def test_lines_in_any_order_are_no_error(lines: list[str]) -> None:
    """A text of a version to come may have anything in it."""
    text = "\n".join(lines)
    seen = way(text, text, text, set())
    assert len({one.bridge for one in seen.visits}) == len(seen.visits)

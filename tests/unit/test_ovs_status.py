"""Status texts of each generation of ovs-vswitchd (``cases/ovs/status/<case>/``) as structure and verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from corral.ovs import status

CASES = sorted((Path(__file__).parent / "cases" / "ovs" / "status").iterdir())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_status(case: Path) -> None:
    expected = yaml.safe_load((case / "expected.yaml").read_text(encoding="utf-8"))
    negotiated = status.lacp((case / "lacp-show.txt").read_text(encoding="utf-8"))
    found = status.bonds((case / "bond-show.txt").read_text(encoding="utf-8"), negotiated, expected["links"])
    assert found == expected["bonds"]
    if "lacp" in expected:
        assert negotiated == expected["lacp"]


def test_no_bond_is_no_status() -> None:
    assert status.bonds("", {}, {}) == {}
    assert status.lacp("") == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lines_of_a_version_to_come_are_passed_over(case: Path) -> None:
    shown = (case / "bond-show.txt").read_text(encoding="utf-8")
    later = shown.replace("updelay:", "novelty: 7 ms\nupdelay:").replace(
        "may_enable:", "news: yes\n  may_enable:"
    )
    assert status.bonds(later, {}, {}) == status.bonds(shown, {}, {})

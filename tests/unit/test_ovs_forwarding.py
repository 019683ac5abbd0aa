"""MAC tables and flows of each generation of Open vSwitch as structure (``cases/ovs/{fdb,flows}``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from corral.ovs import forwarding

CASES = Path(__file__).parent / "cases" / "ovs"


def cases(folder: str) -> list[Any]:
    files = sorted((CASES / folder).glob("*.yaml"))
    return [pytest.param(yaml.safe_load(file.read_text(encoding="utf-8")), id=file.stem) for file in files]


@pytest.mark.parametrize("case", cases("fdb"))
def test_learned_addresses(case: dict[str, Any]) -> None:
    assert forwarding.fdb(case["text"], case["names"]) == case["expected"]


@pytest.mark.parametrize("case", cases("flows"))
def test_flows(case: dict[str, Any]) -> None:
    assert forwarding.flows(case["text"], case["names"]) == case["expected"]

"""Where a frame goes, of each generation's text of ``ofproto/trace`` (``cases/ovs/trace``)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from corral.ovs import trace

CASES = sorted((Path(__file__).parent / "cases" / "ovs" / "trace").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_trace(case: Path) -> None:
    told = yaml.safe_load(case.read_text(encoding="utf-8"))
    found = trace.trace(told["trace"], trace.ports(told["ports"]), told["tunnels"])
    assert {
        "outputs": [list(one) for one in found.outputs],
        "tunnels": list(found.tunnels),
        "dropped": found.dropped,
        "remarks": list(found.remarks),
    } == told["expected"]


def test_a_frame_reaches_a_port_in_its_vlan() -> None:
    found = trace.Trace((("brx", 10), ("d0", None)))
    assert found.reaches("d0")
    assert found.reaches("brx", 10)
    assert not found.reaches("brx")

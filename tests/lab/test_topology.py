"""The networks of three hosts as one drawing, and the way of a frame from one host to another."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.three_hosts import PEERS, Hypervisor

Three = list[Hypervisor]


@pytest.fixture
def overlaid(three: Three) -> tuple[Three, dict[str, Any]]:
    """The hosts with a network of a tenant over all of them, and what each has told of itself."""
    for one in three:
        declared = {"peers": PEERS, "datapath_type": "netdev", "networks": {"blue": {"key": 1001}}}
        answer = one.state("ovs.overlay_managed", "overlay", **declared)
        assert answer["result"] is True, answer
        one.endpoint("blue", "ov-blue", f"10.1.0.1{one.name[-1]}/24", 1450)
    return three, {one.name: one.minion.call("ovs.topology") for one in three}


def test_the_tunnels_of_a_fleet_meet(overlaid: tuple[Three, dict[str, Any]]) -> None:
    (first, *_), told = overlaid
    whole = first.minion.call("ovs.topology", f"fleet={json.dumps(told)}")
    assert (whole["hosts"], whole["notes"]) == (["hv1", "hv2", "hv3"], [])
    pairs = {
        tuple(end.partition("/")[0] for end in (edge["from"], edge["to"]))
        for edge in whole["edges"]
        if edge["kind"] == "tunnel"
    }
    assert pairs == {("hv1", "hv2"), ("hv1", "hv3"), ("hv2", "hv3")}
    drawn = ElementTree.fromstring(
        first.minion.call("ovs.topology", "format=svg", f"fleet={json.dumps(told)}")
    )
    lines = [path for path in drawn.iter() if (path.get("class") or "").startswith("wire tunnel")]
    assert len(lines) == 3


def test_the_way_to_another_host(overlaid: tuple[Three, dict[str, Any]]) -> None:
    """S4.8: from an endpoint in its namespace, through the overlay's flows, to that of another host."""
    (first, *_), told = overlaid
    assert first.reaches("blue", "10.1.0.12")
    way = first.minion.call("ovs.path", "e-blue", "to=10.1.0.12", f"fleet={json.dumps(told)}")
    steps = [(step["host"], step["device"], step["kind"]) for step in way["steps"]]
    assert steps[:2] == [("hv1", "e-blue", "internal"), ("hv1", "br-int", "bridge")]
    assert way["steps"][0]["namespace"] == "blue"
    there = [step for step in way["steps"] if step["kind"] == "vxlan" and step["host"] == "hv1"]
    assert [(step["remote"], step["key"]) for step in there] == [(PEERS["hv2"], "1001")], steps
    carried = [step["device"] for step in way["steps"] if step.get("underlay")]
    assert carried == ["br-phy", "uplink"], "the card of the host, whose cable ends outside"
    assert steps[-1] == ("hv2", "e-blue", "internal")
    assert way["delivered"] is None
    assert "hv1 by the tunnel " in way["sentence"] and f" to hv2 ({PEERS['hv2']})." in way["sentence"]
    assert "where 10.1.0.12 is" in way["sentence"]


def test_the_way_to_another_host_is_cut(overlaid: tuple[Three, dict[str, Any]]) -> None:
    (first, *_), told = overlaid
    assert first.reaches("blue", "10.1.0.12")
    mac = next(node["mac"] for node in told["hv2"]["nodes"].values() if node["name"] == "e-blue")
    first.sh("ovs-ofctl", "add-flow", "br-tun", f"table=0,priority=60000,dl_dst={mac},actions=drop")
    way = first.minion.call("ovs.path", "e-blue", "to=10.1.0.12", f"fleet={json.dumps(told)}")
    assert way["delivered"] is False
    assert way["steps"][-1]["device"] == "br-tun"
    assert "br-tun drops it: the flow " in way["sentence"] and mac in way["sentence"]

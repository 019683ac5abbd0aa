"""Tunnels: their sessions in each generation's text, how much fits through, the other end, the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from corral.ovs import tunnels

SESSIONS = sorted((Path(__file__).parent / "cases" / "ovs" / "sessions").iterdir())
REMOTE = "192.0.2.7"
WAY = {"device": "eth0", "gateway": None, "source": "192.0.2.1", "mtu": 1500, "up": True, "carrier": True}
UP = {"state": "up", "diagnostic": "No Diagnostic", "remote_diagnostic": "No Diagnostic", "forwarding": True}
HEALTHY: dict[str, Any] = {
    "type": "vxlan",
    "key": "1001",
    "remote_ip": REMOTE,
    "local_ip": "192.0.2.1",
    "ofport": 3,
    "error": None,
    "link": "up",
    "egress": "eth0",
    "carrier": "up",
    "mtu": {"own": None, "egress": 1500, "guest": 1450},
    "bfd": None,
    "cfm": None,
    "peer": {"route": WAY, "neighbour": None, "echo": None},
    "far": None,
}


@pytest.mark.parametrize("case", SESSIONS, ids=lambda case: case.name)
def test_sessions(case: Path) -> None:
    expected = yaml.safe_load((case / "expected.yaml").read_text(encoding="utf-8"))
    assert tunnels.bfd((case / "bfd-show.txt").read_text(encoding="utf-8")) == expected["bfd"]
    assert tunnels.cfm((case / "cfm-show.txt").read_text(encoding="utf-8")) == expected["cfm"]


@pytest.mark.parametrize(
    ("kind", "options", "version", "expected"),
    [
        ("vxlan", {"key": "5"}, 4, 50),
        ("vxlan", {}, 6, 70),
        ("geneve", {}, 4, 50),
        ("gre", {}, 4, 38),
        ("gre", {"key": "5"}, 4, 42),
        ("gre", {"out_key": "5", "csum": "true", "seq": "true"}, 4, 50),
        ("ip6gre", {}, 6, 58),
        ("erspan", {}, 4, 50),
        ("erspan", {"erspan_ver": "2"}, 4, 54),
        ("gtpu", {}, 4, 36),
    ],
)
def test_what_a_tunnel_takes_of_a_packet(
    kind: str, options: dict[str, str], version: int, expected: int
) -> None:
    assert tunnels.overhead(kind, options, version) == expected


def broken(**change: Any) -> dict[str, Any]:
    return {**HEALTHY, **change}


def way(**change: Any) -> dict[str, Any]:
    return {**HEALTHY["peer"], "route": {**WAY, **change}}


def echo(**answers: bool) -> dict[str, Any]:
    return {**HEALTHY["peer"], "echo": {"answers": True, "full_size": True, "milliseconds": 0.1, **answers}}


FAR = {"minion": "b", "port": "vx-a", "key": "0x3e9", "mtu": 1450}


@pytest.mark.parametrize(
    "tunnel",
    [
        HEALTHY,
        broken(remote_ip="flow", key="flow", local_ip=None, peer={}, mtu={"guest": None}),
        broken(bfd=UP, far=FAR, peer=echo()),
        broken(far={**FAR, "key": "flow", "mtu": None}),
        broken(peer={**HEALTHY["peer"], "neighbour": {"address": REMOTE, "state": "STALE"}}),
    ],
    ids=["looked at", "left to flows", "all known", "far end takes any key", "quiet neighbour"],
)
def test_a_healthy_tunnel(tunnel: dict[str, Any]) -> None:
    assert tunnels.verdict(tunnel) == {"healthy": True, "reason": ""}


@pytest.mark.parametrize(
    ("tunnel", "reason"),
    [
        (broken(error="no remote_ip", ofport=-1), "no remote_ip"),
        (broken(ofport=None), "ovs-vswitchd has not added it, its log says why"),
        (broken(remote_ip="flow", link="down"), "its link is down"),
        (broken(peer={**HEALTHY["peer"], "route": None}), "there is no route to 192.0.2.7"),
        (broken(peer=way(up=False), carrier="down"), "eth0, by which 192.0.2.7 is reached, is down"),
        (broken(peer=way(carrier=False)), "eth0, by which 192.0.2.7 is reached, has no carrier"),
        (broken(carrier="down", egress="br0"), "br0, by which 192.0.2.7 is reached, has no carrier"),
        (
            broken(peer={"route": WAY, "neighbour": {"address": "192.0.2.254", "state": "FAILED"}}),
            "192.0.2.254 does not answer on eth0",
        ),
        (broken(peer=echo(answers=False, full_size=False)), "192.0.2.7 does not answer an ICMP echo"),
        (
            broken(peer=echo(full_size=False)),
            "192.0.2.7 does not answer an ICMP echo of 1500 bytes: something on the way has a smaller MTU",
        ),
        (
            broken(bfd={**UP, "state": "down", "diagnostic": "Control Detection Time Expired"}),
            "BFD is down (Control Detection Time Expired)",
        ),
        (
            broken(bfd={**UP, "state": "init", "remote_diagnostic": "Path Down"}),
            "BFD is init (No Diagnostic, the far end says: Path Down)",
        ),
        (broken(bfd={**UP, "forwarding": False}), "BFD is up, but says that it does not forward"),
        (broken(cfm={"fault": "recv rdi"}), "CFM has a fault (recv rdi)"),
        (
            broken(key=None, far={**FAR, "mtu": 1400}),
            "its key is 0, that of b's vx-a is 0x3e9; it takes packets of 1450 bytes, b's vx-a of 1400",
        ),
    ],
)
def test_what_is_wrong_with_a_tunnel(tunnel: dict[str, Any], reason: str) -> None:
    assert tunnels.verdict(tunnel) == {"healthy": False, "reason": reason}


def end(local: str, remote: str, key: str = "5", kind: str = "vxlan") -> dict[str, Any]:
    return {"type": kind, "key": key, "local_ip": local, "remote_ip": remote, "mtu": 1450}


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ({}, None),
        ({"b": None, "c": {}}, None),
        ({"a": {"vx": end("10.0.0.1", "10.0.0.2")}}, None),
        ({"b": {"vx": end("10.0.0.2", "10.0.0.3")}}, None),
        ({"b": {"vx": end("10.0.0.2", "10.0.0.1", kind="gre")}}, None),
        ({"b": {"vx": end("10.0.0.2", "10.0.0.1", key="6")}}, "6"),
        ({"b": {"x": end("10.0.0.2", "10.0.0.1", key="6"), "y": end("10.0.0.2", "10.0.0.1", "0x5")}}, "0x5"),
        ({"b": {"x": end("10.0.0.2", "10.0.0.1", key="6"), "y": end("10.0.0.2", "10.0.0.1", "7")}}, None),
        ({"b": {"vx": end("10.0.0.2", "flow", key="flow")}}, "flow"),
    ],
    ids=[
        "nobody told",
        "no tunnels",
        "our own",
        "to another host",
        "another type",
        "another key",
        "the one of our key",
        "none of several",
        "left to flows",
    ],
)
def test_the_other_end(fleet: dict[str, Any], expected: str | None) -> None:
    found = tunnels.far_end(end("10.0.0.1", "10.0.0.2"), tunnels.far_ends(fleet))
    assert (found and found["key"]) == expected


def test_what_other_hosts_are_told() -> None:
    row = {
        "name": "vx",
        "type": "vxlan",
        "options": {"remote_ip": REMOTE, "key": "5", "psk": "s3cret"},
        "ofport": 3,
        "error": None,
        "link_state": "up",
        "status": {"tunnel_egress_iface": "eth0", "tunnel_egress_iface_carrier": "up"},
        "mtu": None,
    }
    found = tunnels.of_rows([row, {**row, "name": "eth0", "type": ""}])
    assert list(found) == ["vx"]
    assert "s3cret" not in str(found)
    assert tunnels.for_mine(found, {REMOTE: WAY}) == {
        "vx": {"type": "vxlan", "key": "5", "remote_ip": REMOTE, "local_ip": "192.0.2.1", "mtu": 1450}
    }
    assert tunnels.for_mine(found, {})["vx"] == {
        "type": "vxlan",
        "key": "5",
        "remote_ip": REMOTE,
        "local_ip": None,
        "mtu": None,
    }

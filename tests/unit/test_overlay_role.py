"""The role ``overlay``, rendered by Salt itself, and what it serves."""

from __future__ import annotations

from typing import Any

import pytest

from corral.overlay.model import Overlay
from corral.overlay.services import services
from tests.support.salt_here import caller

SERVED = {
    "key": 1,
    "subnet": "10.1.0.0/24",
    "served_by": "hypervisor",
    "dhcp": {"range": "10.1.0.10-10.1.0.19"},
}
OVERLAY: dict[str, Any] = {
    "peers": {"hypervisor": "192.0.2.1", "hv2": "192.0.2.2"},
    "underlay_mtu": 9000,
    "networks": {"blue": SERVED, "red": {"key": 2}},
}


@pytest.fixture(scope="module")
def minion(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return caller(tmp_path_factory.mktemp("salt"))


def states(minion: Any, overlay: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = minion.cmd("state.show_low_sls", "overlay", pillar={"corral": {"overlay": overlay}})
    assert all(isinstance(state, dict) for state in found), found
    return {f"{state['state']}.{state['fun']}": state for state in found}


def test_every_key_reaches_the_state(minion: Any) -> None:
    (state,) = (one for key, one in states(minion, OVERLAY).items() if key == "ovs.overlay_managed")
    assert {key: state.get(key) for key in OVERLAY} == OVERLAY


def test_what_is_served_follows_from_the_networks(minion: Any) -> None:
    found = states(minion, OVERLAY)
    link, subnet = found["link.managed"], found["dhcp.subnet_managed"]
    assert {key: link[key] for key in ("name", "namespace", "addresses", "up")} == {
        "name": "gw-blue",
        "namespace": "ov-blue",
        "addresses": ["10.1.0.1/24"],
        "up": True,
    }
    assert {
        key: subnet[key] for key in ("name", "namespace", "interface", "network", "router", "mtu", "range")
    } == {
        "name": "blue",
        "namespace": "ov-blue",
        "interface": "gw-blue",
        "network": "10.1.0.0/24",
        "router": "10.1.0.1",
        "mtu": 8950,
        "range": "10.1.0.10-10.1.0.19",
    }


def test_peers_come_from_the_mine_too(minion: Any) -> None:
    minion.cmd("mine.send", "corral_underlay", ["192.0.2.1"], mine_function="test.echo")
    mine = {"tgt": "*", "fun": "corral_underlay"}
    found = states(minion, {"mine": mine, "peers": {"hv2": "192.0.2.2"}})["ovs.overlay_managed"]
    assert found["peers"] == {"hypervisor": ["192.0.2.1"], "hv2": "192.0.2.2"}
    assert "mine" not in found


def test_a_wrong_declaration_is_one_failed_state(minion: Any) -> None:
    wrong = {**OVERLAY, "networks": {"blue": {"keys": 1}}}
    answer = minion.cmd("state.sls", "overlay", pillar={"corral": {"overlay": wrong}})
    (state,) = answer.values()
    assert state["result"] is False
    assert state["comment"] == "networks.blue.key: is required; networks.blue.keys: unknown key"


def test_what_was_served_once_is_ended_where_its_namespace_is() -> None:
    elsewhere = {"blue": {**SERVED, "served_by": "hv2"}, "red": None, "green": {"key": 3, "namespace": None}}
    overlay = Overlay.declare({"host": "hypervisor", **OVERLAY, "networks": elsewhere})
    assert services(overlay, 1450, {"ov-blue", "ov-red", "ov-green", "mine"}) == {
        "links": {},
        "dhcp": {},
        "ended": {"blue": "ov-blue", "red": "ov-red"},
    }


def test_what_the_host_itself_serves_is_in_its_own_namespace() -> None:
    declared = {"blue": {**SERVED, "namespace": None, "gateway": "10.1.0.254", "dhcp": {"mtu": 1300}}}
    overlay = Overlay.declare({"host": "hypervisor", **OVERLAY, "networks": declared})
    found = services(overlay, 1450, ())
    assert found["links"]["gw-blue"] == {"namespace": None, "addresses": ["10.1.0.254/24"], "up": True}
    assert {key: found["dhcp"]["blue"][key] for key in ("router", "mtu", "namespace")} == {
        "router": "10.1.0.254",
        "mtu": 1300,
        "namespace": None,
    }

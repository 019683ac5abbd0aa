"""The fleet's networks through the mine of a real master."""

from __future__ import annotations

from typing import Any

BRIDGE = "brt-mine"


def test_the_mine_has_what_hosts_tell_of_themselves(salt: Any, minion: Any) -> None:
    salt("saltutil.sync_all")
    bridges = {BRIDGE: {"datapath_type": "netdev", "ports": {"tt-mine": {"type": "internal", "tag": 7}}}}
    made = salt("state.single", "ovs.switch_managed", "switch", bridges=bridges)
    assert all(state["result"] for state in made.values()), made
    try:
        assert salt("mine.send", "ovs.topology") is True
        told = salt("mine.get", "*", "ovs.topology")[minion.id]
        assert (told["host"], told["nodes"]["tt-mine"]["kind"]) == (minion.id, "internal")
        whole = salt("ovs.topology", fleet="*")
        assert whole["hosts"] == [minion.id]
        assert whole["nodes"][f"{minion.id}/{BRIDGE}"]["kind"] == "bridge"
        assert salt("ovs.topology", fleet="*", format="mermaid").startswith("flowchart LR\n")
    finally:
        salt("state.single", "ovs.switch_managed", "switch", bridges={BRIDGE: None})

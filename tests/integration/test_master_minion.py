"""What an operator does first: sync, highstate, and look, from a real master to a real minion."""

from __future__ import annotations

from typing import Any

OURS = {"ovs", "link", "dhcp"}


def ours(answer: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(answer, dict), answer
    failed = {key: state["comment"] for key, state in answer.items() if state["result"] is False}
    assert not failed, failed
    return {key: state["changes"] for key, state in answer.items() if key.split("_|-")[0] in OURS}


def test_from_sync_to_a_second_highstate_without_changes(salt: Any) -> None:
    synced = salt("saltutil.sync_all")
    assert "modules.ovs" in synced["modules"]
    assert "states.ovs" in synced["states"]
    assert any(name.startswith("utils.corral") for name in synced["utils"])

    preview = ours(salt("state.highstate", test=True))
    assert len(preview) == 3
    assert all(preview.values())
    run = ours(salt("state.highstate"))
    assert run == preview, "a preview through a real master shows what the run does, with nothing masked"
    assert not any(ours(salt("state.highstate")).values())

    shown = salt("ovs.show")
    assert shown["bridges"]["brt-master"]["ports"]["mgmt0"]["tag"] == 123
    bond = salt("ovs.bond_status", "bond0")["bond0"]
    assert bond["mode"] == "balance-tcp"
    assert set(bond["members"]) == {"eth1", "eth2"}


def test_a_wrong_pillar_changes_nothing_and_names_the_path(salt: Any) -> None:
    ports = {"p1": {"type": "internal", "tag": 5000}}
    answer = salt("state.single", "ovs.switch_managed", "x", bridges={"brt-master": {"ports": ports}})
    (state,) = answer.values()
    assert (state["result"], state["changes"]) == (False, {})
    assert "bridges.brt-master.ports.p1.tag: 5000 is not a VLAN id (1–4094)" in state["comment"]

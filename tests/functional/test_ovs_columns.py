"""Any column of Open vSwitch's database, for what there is no other word."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed
from tests.support.ovs_parts import A


def test_any_column(four_ways: Any, state: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    """Maps, sets and values, of a port that is there and of one that the same declaration makes."""
    four_ways(
        "ovs.switch_managed",
        "switch",
        bridges={A: {"ports": {"brt-new": {"type": "internal"}}}},
        db={
            "Port": {"brt-new": {"other_config": {"rstp-enable": True}, "cvlans": [7, 5]}},
            "Bridge": {A: {"flood_vlans": [9]}},
            "Interface": {"brt-p1": {"lldp": {"enable": True}, "ofport_request": 44}},
        },
        look=parts,
        disturb=lambda: switch.vsctl(
            "set", "port", "brt-new", "cvlans=3", "--", "set", "interface", "brt-p1", "lldp:enable=false"
        ),
        drift={
            "Port.brt-new.cvlans": {"old": [3], "new": [5, 7]},
            "Interface.brt-p1.lldp.enable": {"old": "false", "new": "true"},
        },
    )
    assert switch.vsctl("get", "bridge", A, "flood_vlans") == "[9]"


WRONG_COLUMNS = [
    ({"Port": {"brt-p1": {"tga": 5}}}, "db.Port.brt-p1.tga: there is no such column"),
    ({"Port": {"brt-p1": {"tag": "five"}}}, "db.Port.brt-p1.tag: 'five' is not of type integer"),
    ({"Port": {"brt-p1": {"vlan_mode": "trunc"}}}, "db.Port.brt-p1.vlan_mode: 'trunc' is not access,"),
    (
        {"Port": {"brt-p1": {"interfaces": []}}},
        "db.Port.brt-p1.interfaces: refers to other rows and cannot be set",
    ),
    ({"Port": {"brt-p1": {"statistics": {}}}}, "db.Port.brt-p1.statistics: is what ovs-vswitchd reports"),
    (
        {"Port": {"brt-p1": {"other_config": "a"}}},
        "db.Port.brt-p1.other_config: is a map, declare texts by key",
    ),
    ({"Port": {"brt-p1": {"tag": [1]}}}, "db.Port.brt-p1.tag: holds one value, not a list"),
    ({"Bridge": {A: {"stp_enable": None}}}, f"db.Bridge.{A}.stp_enable: cannot be empty"),
    (
        {"Port": {"brt-p1": {"external_ids": {"corral": "x"}}}},
        "db.Port.brt-p1.external_ids.corral: is Corral's own mark and cannot be declared",
    ),
    ({"Port": {"brt-none": {"tag": 5}}}, "db.Port.brt-none: there is no such record"),
    ({"Prot": {"brt-p1": {"tag": 5}}}, "db.Prot: is not a table of the database that can be set"),
]


@pytest.mark.parametrize(("db", "sentence"), WRONG_COLUMNS, ids=[one[1] for one in WRONG_COLUMNS])
def test_wrong_columns(state: Any, parts: Callable[[], Any], db: Any, sentence: str) -> None:
    before = parts()
    assert_failed(state("ovs.switch_managed", "switch", db=db), sentence)
    assert parts() == before


def test_one_column_of_one_record(four_ways: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    four_ways(
        "ovs.db_set",
        "rstp",
        table="Port",
        record="brt-p1",
        columns={"other_config": {"rstp-path-cost": 100}},
        look=parts,
        disturb=lambda: switch.vsctl("set", "port", "brt-p1", "other_config:rstp-path-cost=7"),
        drift={"Port.brt-p1.other_config.rstp-path-cost": {"old": "7", "new": "100"}},
    )

"""OpenFlow groups: as ovs-ofctl prints them (``cases/ovs/groups``), and whose they are after a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from corral.change import Change
from corral.ovs import groups
from corral.ovs.groups import Groups

CASES = sorted((Path(__file__).parent / "cases" / "ovs" / "groups").glob("*.yaml"))
ME, OTHER = "ovs.switch_managed", "ovs.bridge_present"


@pytest.mark.parametrize("file", CASES, ids=lambda file: str(file.stem))
def test_groups_as_printed(file: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert groups.parse(case["text"]) == case["expected"]


def test_names_of_ports_stand_only_in_buckets() -> None:
    """A port may be called as a word of a group's head is."""
    lines, ports = groups.numbered(
        "br0", ["group_id=1,type=select,bucket=output:select,br0"], ["br0", "select"]
    )
    assert lines == [f"group_id=1,type=select,bucket=output:{ports['select']},65534"]
    assert groups.spelt(
        "br0", lines, f"group_id=1,type=select,bucket=actions={ports['select']},LOCAL", ports
    ) == {"1": "type=select,bucket=actions=select,LOCAL"}


def test_records_name_what_is_there_and_ours_at_every_moment() -> None:
    """What is new is ours before it is made, and nobody else's; what goes is ours until it has gone."""
    before = {ME: frozenset({"1", "2"}), OTHER: frozenset({"3", "10"})}
    there = Groups({"1": "type=all", "2": "type=all"}, {"1": "type=ff", "3": "type=ff"}, before)
    todo = list(groups.changes("br0", there, ME, exact=True))
    assert todo == [
        Change(("br0", "groups", "1"), "type=all", "type=ff"),
        Change(("br0", "groups", "3"), None, "type=ff"),
        Change(("br0", "groups", "2"), "type=all", None),
    ]
    claimed = groups.claimed(todo, "br0", before, ME)
    assert claimed == {ME: {"1", "2", "3"}, OTHER: {"10"}}
    after = groups.forgotten(todo, "br0", claimed, ME)
    assert groups.written(after) == {f"corral-groups/{ME}": "1 3", f"corral-groups/{OTHER}": "10"}
    assert groups.records({**groups.written(after), "corral": ME}) == after


def test_without_ovs_ofctl_a_group_is_shown_as_declared() -> None:
    found = groups.as_declared(["type=all , group_id=0x10 ,bucket=drop"])
    assert found.declared == {"16": "type=all ,bucket=drop"}


def test_the_way_back_leaves_alone_what_others_made_meanwhile() -> None:
    now = Groups({"1": "type=ff", "5": "type=all", "6": "type=all"}, {}, {ME: frozenset({"1", "5"})})
    assert list(groups.back("br0", now, {"1": "type=all", "2": "type=all"})) == [
        Change(("br0", "groups", "1"), "type=ff", "type=all"),
        Change(("br0", "groups", "2"), None, "type=all"),
        Change(("br0", "groups", "5"), "type=all", None),
    ]

"""Domain XML: golden files, and that nothing is lost on the way there and back.

A missing golden file is written and fails once, to be read before it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from corral.converge import Todo
from corral.guest.model import Disk, Guest, Mark, Nic
from corral.guest.plan import definition, settle
from corral.guest.render import FIELDS, edit, parse, render
from tests.support.guests import OWNER, host
from tests.support.strategies import guests

CASES = Path(__file__).parent / "cases" / "guest"


def cases(kind: str) -> list[Any]:
    return [pytest.param(file, id=file.stem) for file in sorted((CASES / kind).glob("*.yaml"))]


def assert_golden(file: Path, text: str) -> None:
    if not file.exists():
        file.write_text(text + "\n", encoding="utf-8")
        pytest.fail(f"{file} was not there and is written: read it")
    assert text + "\n" == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", cases("render"))
def test_a_new_guest(case: Path) -> None:
    fields = Guest.declare(yaml.safe_load(case.read_text(encoding="utf-8"))).declared()
    assert_golden(case.with_suffix(".xml"), render(fields))


@pytest.mark.parametrize("case", cases("edit"))
def test_an_edit(case: Path) -> None:
    before = case.with_suffix(".before.xml").read_text(encoding="utf-8")
    fields = Guest.declare(yaml.safe_load(case.read_text(encoding="utf-8"))).declared()
    assert_golden(case.with_suffix(".after.xml"), edit(before, fields))


def test_every_field_is_in_the_table_and_in_a_golden_file() -> None:
    whole = yaml.safe_load((CASES / "render" / "every_field.yaml").read_text(encoding="utf-8"))
    assert set(whole) == {row.name for row in FIELDS}
    assert set(Guest.model_fields) == set(whole) | {"autostart"}  # libvirt keeps autostart beside the XML
    assert {key for disk in whole["disks"] for key in disk} == set(Disk.model_fields)
    assert {key for nic in whole["nics"] for key in nic} == set(Nic.model_fields)
    assert set(whole["corral"]) == set(Mark.model_fields)


def test_a_trunk_is_no_vlan_and_goes_away_with_null() -> None:
    before = (CASES / "edit" / "foreign.before.xml").read_text(encoding="utf-8")
    (nic,) = parse(before).fields["nics"]
    assert nic["vlan"] == "trunk 10,20"
    (nic,) = parse(edit(before, {"nics": [{"bridge": "br0", "vlan": None}]})).fields["nics"]
    assert "vlan" not in nic


def test_addresses_and_files_of_all_kinds_of_devices_are_seen() -> None:
    told = parse((CASES / "edit" / "foreign.before.xml").read_text(encoding="utf-8"))
    assert told.macs == {"52:54:00:ae:88:7d", "52:54:00:cd:0b:66"}
    assert told.files == {"/img/install.iso", "/img/root.qcow2", "/img/old.qcow2"}


def created(guest: Guest) -> tuple[str, dict[str, Any]]:
    fields = settle(host({}), guest, owner=OWNER)
    fields.pop("autostart", None)
    return render(fields), {key: value for key, value in fields.items() if value is not None}


@settings(deadline=None)
@given(guests())
def test_parsing_what_was_rendered_gives_it_back(guest: Guest) -> None:
    xml, fields = created(guest)
    nics = [{"offload": True, **nic} for nic in fields.get("nics", ())]
    assert parse(xml).fields == {"rng": False, "disks": [], **fields, "nics": nics}


@settings(deadline=None)
@given(guests(), guests())
def test_the_planned_steps_are_what_an_edit_does(guest: Guest, other: Guest) -> None:
    """And afterwards nothing is left to plan: the planner and the editor hold the same of every field."""
    xml, fields = created(guest)
    wanted = Guest.declare({**other.declared(), "name": guest.name, "uuid": fields["uuid"]})
    autostart = {"autostart": bool(wanted.autostart)}
    now = host({guest.name: {"state": "stopped", **parse(xml).fields, "autostart": False}})
    steps = definition(now, wanted, owner=OWNER)
    after = {**parse(edit(xml, settle(now, wanted, owner=OWNER))).fields, **autostart}
    assert walked(now.guests[guest.name].fields, steps) == by_name(after)
    assert definition(host({guest.name: {"state": "stopped", **after}}), wanted, owner=OWNER) == ()


def by_name(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with devices by name, since their order says nothing."""
    disks = {disk["path"]: dict(disk) for disk in fields.get("disks", ())}
    return {**fields, "disks": disks, "nics": {nic["mac"]: dict(nic) for nic in fields.get("nics", ())}}


def walked(fields: Mapping[str, Any], steps: Todo) -> dict[str, Any]:
    """Carry out steps on plain fields, with no knowledge of libvirt."""
    after = by_name(fields)
    for step in steps:
        place, (*way, last) = after, step.path[1:]
        for key in way:
            place = place[key]
        place.pop(last, None)
        if step.new is not None:
            place[last] = {"offload": True, **step.new} if way == ["nics"] else step.new
    return by_name({**after, "disks": after["disks"].values(), "nics": after["nics"].values()})

"""Operations against an ovsdb-server of the test's own: what a plan says is what the database then has."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from corral.errors import Error
from corral.ovs.host import Bridges, Host, advance, copied, declarable
from corral.ovs.model import Switch
from corral.ovs.operations import operations, select
from corral.ovs.ovsdb import Database
from corral.ovs.plan import plan
from corral.ovs.rows import host, requests, tables
from tests.support import switches


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with no ovs-vswitchd behind it."""
    folder = tmp_path_factory.mktemp("ovsdb")
    schema = "/usr/share/openvswitch/vswitch.ovsschema"
    subprocess.run(["ovsdb-tool", "create", f"{folder}/conf.db", schema], check=True)
    with subprocess.Popen(
        ["ovsdb-server", f"--remote=punix:{folder}/db.sock", f"--unixctl={folder}/ctl", f"{folder}/conf.db"]
    ) as server:
        try:
            _ready(folder / "db.sock")
            connection = Database(str(folder / "db.sock"))
            connection.transact([{"op": "insert", "table": "Open_vSwitch", "row": {}}])
            yield connection
        finally:
            server.terminate()


def _ready(socket: Path) -> None:
    subprocess.run(
        ["ovsdb-client", "--timeout=10", "wait", f"unix:{socket}", "Open_vSwitch", "connected"], check=True
    )


def _read(database: Database) -> Host:
    """Return the switch, without the errors that every port has where no ovs-vswitchd is."""
    answers = database.transact([select(*request) for request in requests()])
    found = host(tables([answer["rows"] for answer in answers]))
    return replace(found, bridges=_faultless(found.bridges))


def _faultless(bridges: Bridges) -> Any:
    clean = copied(bridges)
    for bridge in clean.values():
        for spec in (bridge, *bridge["ports"].values(), *bridge["bonds"].values()):
            spec.pop("error", None)
    return clean


def _carry_out(database: Database, desired: Switch, exact: bool = False) -> tuple[Host, Host, Any]:
    before = _read(database)
    try:
        todo = plan(before, desired, exact=exact)
    except Error:
        assume(False)
        raise
    database.transact(operations(before, todo, "test"))
    return before, _read(database), todo


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=switches.hosts(), desired=switches.declarations())
def test_the_database_has_what_the_plan_says(database: Database, first: Host, desired: Switch) -> None:
    root: dict[str, Any] = {
        "op": "update",
        "table": "Open_vSwitch",
        "where": [],
        "row": {"bridges": ["set", []]},
    }
    database.transact([root])
    assert _read(database).bridges == {}
    for table in ("QoS", "Queue"):
        database.transact([{"op": "delete", "table": table, "where": []}])

    _, made, _ = _carry_out(database, Switch.declare({"bridges": declarable(first.bridges)}))
    assert made.bridges == first.bridges, "parse after render"
    before, after, todo = _carry_out(database, desired)
    assert after.bridges == advance(before.bridges, todo)

    kept = before.rows.interfaces.keys() & after.rows.interfaces.keys()
    for name in kept - {"br0", "br1", "br2"}:
        row = before.rows.interfaces[name]["_uuid"]
        assert after.rows.interfaces[name]["_uuid"] == row, "an interface that stays keeps its row"

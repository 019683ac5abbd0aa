"""The JSON-RPC client, and the wire on it, against a server that sends what a test tells it to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.change import Change
from corral.errors import Conflict, Refused, Unavailable
from corral.ovs.host import Host
from corral.ovs.model import Switch
from corral.ovs.ovsdb import Database
from corral.ovs.parts import ROOT
from corral.ovs.rows import COLUMNS, requests
from corral.ovs.wire import Wire
from tests.support import switches

Serve = Callable[..., Database]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Answer the client's first message by these pieces, and keep all it sent in ``database.heard``.

    ``then`` holds the answer to each message after the first; ``hang_up`` ends the connection after the last.
    """
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "db.sock")
    listener.bind(path)
    listener.listen()
    opened: list[Any] = [listener]

    def start(
        *pieces: bytes, then: Iterable[bytes] = (), timeout: float = 60, hang_up: bool = False
    ) -> Database:
        database = Database(path, timeout)
        database.heard = []  # type: ignore[attr-defined]

        def answer() -> None:
            connection, _ = listener.accept()
            opened.append(connection)
            with contextlib.suppress(OSError):  # the client may hang up at once
                for batch in (pieces, *((one,) for one in then)):
                    database.heard.append(connection.recv(65536))  # type: ignore[attr-defined]
                    for piece in batch:
                        connection.sendall(piece)
                        time.sleep(0.01)  # so that the pieces arrive apart
                if hang_up:
                    connection.close()
                else:
                    database.heard.append(connection.recv(65536))  # type: ignore[attr-defined]

        threading.Thread(target=answer, daemon=True).start()
        opened.append(database)
        return database

    yield start
    for one in opened:
        one.close()


def reply(result: Any, error: Any = None, number: int = 1) -> bytes:
    return json.dumps({"id": number, "result": result, "error": error}).encode()


def test_an_answer_in_pieces_is_put_together(serve: Serve) -> None:
    text = reply([{"rows": [{"name": "ünïcode {}"}, {"name": '"}'}]}])
    database = serve(*(text[n : n + 3] for n in range(0, len(text), 3)))
    assert database.transact([{"op": "select"}]) == [{"rows": [{"name": "ünïcode {}"}, {"name": '"}'}]}]


def test_messages_without_a_gap_are_told_apart_and_echo_is_answered(serve: Serve) -> None:
    echo = b'{"method":"echo","params":[1],"id":"echo"}'
    update = json.dumps({"method": "update", "id": None, "params": ["cur_cfg", {"T": {"u": {}}}]}).encode()
    database = serve(echo + update + reply({"T": {"u": {"new": {"cur_cfg": 1}}}}))
    assert database.monitor("cur_cfg", "T", ["cur_cfg"]) == {"u": {"new": {"cur_cfg": 1}}}
    assert database.update("cur_cfg", "T", time.monotonic() + 60) == {"u": {}}
    while len(database.heard) < 2:  # type: ignore[attr-defined]
        time.sleep(0.01)
    assert json.loads(database.heard[1]) == {  # type: ignore[attr-defined]
        "id": "echo",
        "result": [1],
        "error": None,
    }


def test_silence_is_unavailable_within_the_timeout(serve: Serve) -> None:
    with pytest.raises(Unavailable, match=r"ovsdb-server does not answer on .*: no answer within 0\.2 s"):
        serve(timeout=0.2).transact([])


def test_half_an_answer_is_no_answer(serve: Serve) -> None:
    with pytest.raises(Unavailable, match="no answer within"):
        serve(reply([])[:-1], timeout=0.2).transact([])


def test_a_lost_connection_and_garbage_are_unavailable(serve: Serve) -> None:
    with pytest.raises(Unavailable, match="it closed the connection"):
        serve(hang_up=True).transact([])
    with pytest.raises(Unavailable, match="is not JSON-RPC"):
        serve(b"HTTP/1.1 400 Bad Request\r\n").transact([])
    with pytest.raises(Unavailable, match="is not UTF-8"):
        serve(b'{"id":1,"result":"\xff"}').transact([])


def test_a_socket_nobody_listens_on_is_unavailable(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    with pytest.raises(Unavailable, match="Connection refused"):
        Database(str(tmp_path / "dead.sock")).transact([])


WAIT = {"op": "wait"}
TAKEN = {"error": "constraint violation", "details": "Transaction causes multiple rows"}
GONE = {"error": "referential integrity violation", "details": "reference to nonexistent row"}


@pytest.mark.parametrize(
    ("operations", "results", "kind", "text"),
    [
        (
            [WAIT, {"op": "update"}],
            [{"error": "timed out", "details": "test failed"}, None],
            Conflict,
            "test",
        ),
        ([{"op": "insert"}], [{"uuid": ["uuid", "u"]}, TAKEN], Conflict, "multiple rows"),
        ([{"op": "mutate"}], [{"count": 1}, GONE], Conflict, "nonexistent row"),
        ([{"op": "mutate"}], [GONE], Refused, "nonexistent row"),
        ([{"op": "insert"}], [{"error": "constraint violation", "details": "5000"}], Refused, "5000"),
        ([WAIT], [{"error": "unknown column"}], Refused, "unknown column"),
    ],
)
def test_errors_of_a_transaction(
    serve: Serve,
    operations: list[Any],
    results: list[Any],
    kind: type[Exception],
    text: str,
) -> None:
    with pytest.raises(kind, match=text):
        serve(reply(results)).transact(operations)


def test_an_error_of_the_call_is_refused_with_its_text(serve: Serve) -> None:
    with pytest.raises(Refused, match="ovsdb-server: unknown database: Open_vSwitch"):
        serve(reply(None, {"error": "unknown database", "details": "Open_vSwitch"})).transact([])


# The wire

NEW = (Change(("br0",), None, {}),)
APPLYING = {"Open_vSwitch": {"root": {"new": {"cur_cfg": 1}}}}


def _wire(database: Any) -> Wire:
    wire = Wire("test")
    wire.database = database
    return wire


def _answers(tables: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield what ovsdb-server answers to each request of a look."""
    empty = {column: ["set", []] for column in COLUMNS[ROOT]}
    maps = {column: ["map", []] for column in ("external_ids", "other_config")}
    root = {**empty, **maps, "_uuid": ["uuid", "root"], "next_cfg": 1, "cur_cfg": 1}
    for table, columns, where in requests():
        rows = [root] if table == ROOT else tables[table]
        for column, _, usual in where:
            rows = [row for row in rows if row[column] != usual]
        yield [{column: row[column] for column in columns} for row in rows]


def _requests(ports: int, serve: Serve) -> list[bytes]:
    """Look once at a switch of so many ports; return what was asked, to the end of the connection."""
    bridges = switches.host({"br0": {"ports": {f"p{number}": {} for number in range(ports)}}}, {}).bridges
    with _wire(serve(reply([{"rows": rows} for rows in _answers(switches.tables(bridges, {}))]))) as wire:
        assert wire.look() == Host(bridges)
    heard: list[bytes] = wire.database.heard  # type: ignore[attr-defined]
    while heard[-1:] != [b""]:
        time.sleep(0.01)
    return heard[:-1]


@pytest.mark.parametrize("ports", [0, 1, 1000])
def test_one_look_is_one_request(ports: int, serve: Serve) -> None:
    (asked,) = _requests(ports, serve)
    assert json.loads(asked)["method"] == "transact"
    assert "wait" not in str(asked)


def test_a_database_that_goes_away_is_not_blamed_on_vswitchd(serve: Serve) -> None:
    written = reply([{"count": 1}, {"rows": [{"next_cfg": 2}]}])
    database = serve(written, then=[reply(APPLYING, number=2)], hang_up=True)
    with pytest.raises(Unavailable, match=r"ovsdb-server does not answer on .*: it closed the connection"):
        _wire(database).apply(NEW, Host({}), Switch())


def test_vswitchd_that_applies_nothing_is_named(serve: Serve) -> None:
    written = reply([{"count": 1}, {"rows": [{"next_cfg": 2}]}])
    wire = _wire(serve(written, then=[reply(APPLYING, number=2)]))
    wire.timeout = 0.2
    with pytest.raises(Unavailable, match=r"ovs-vswitchd has not applied it within 0\.2 s: is it running\?"):
        wire.apply(NEW, Host({}), Switch())

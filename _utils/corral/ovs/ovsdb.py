"""A client of ovsdb-server (RFC 7047) and of the daemons' control sockets: JSON-RPC over a Unix socket.

Standard library only. Nothing here waits without a deadline, and after a failure the connection is
gone, so a late answer can never be taken for the answer to another question.
"""

from __future__ import annotations

import json
import socket
import time
from collections import deque
from typing import Any

from corral.errors import Conflict, Refused, Unavailable

TIMEOUT = 10.0  # seconds
SPOILED = ("constraint violation", "referential integrity violation")


Updates = dict[str, dict[str, Any]]  # rows as they were and are: {uuid: {"old": …, "new": …}}


class Late(Unavailable):
    """No answer, nor any news, within the time."""


class JsonRpc:
    """One connection to a daemon.

    path
        The Unix socket.
    daemon
        Its name in error texts.
    timeout
        Seconds within which each answer must be there.
    """

    def __init__(self, path: str, daemon: str, timeout: float = TIMEOUT) -> None:
        self.path, self.daemon, self.timeout = path, daemon, timeout
        self._socket: socket.socket | None = None
        self._bytes = b""
        self._arrived: deque[dict[str, Any]] = deque()
        self._calls = 0

    def call(self, method: str, params: list[Any]) -> Any:
        """Return a method's result; raise ``Refused`` with the daemon's text, ``Unavailable`` without one."""
        deadline = time.monotonic() + self.timeout
        self._calls += 1
        number = self._calls
        self._send({"method": method, "params": params, "id": number}, deadline)
        while True:
            message = self._next(deadline)
            if message.get("id") == number and "method" not in message:
                if message.get("error") is not None:
                    raise Refused(f"{self.daemon}: {_text(message['error'])}")
                return message.get("result")
            self.other(message)

    def other(self, message: dict[str, Any]) -> None:
        """Take a message that is not the awaited answer: answer ``echo``, by which a server probes us."""
        if message.get("method") == "echo":
            answer = {"id": message.get("id"), "result": message.get("params"), "error": None}
            self._send(answer, time.monotonic() + self.timeout)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._bytes = None, b""
        self._arrived.clear()

    def _lost(self, why: str, kind: type[Unavailable] = Unavailable) -> Unavailable:
        self.close()
        return kind(f"{self.daemon} does not answer on {self.path}: {why}.")

    def _connected(self, deadline: float) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                self._socket.connect(self.path)
            except TimeoutError:
                raise self._late() from None
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from None
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
        return self._socket

    def _late(self) -> Unavailable:
        return self._lost(f"no answer within {self.timeout:g} s", Late)

    def _send(self, message: dict[str, Any], deadline: float) -> None:
        text = json.dumps(message, separators=(",", ":"))
        try:
            self._connected(deadline).sendall(text.encode())
        except TimeoutError:
            raise self._late() from None
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from None

    def _next(self, deadline: float) -> dict[str, Any]:
        while not self._arrived:
            try:
                chunk = self._connected(deadline).recv(1 << 18)
            except TimeoutError:
                raise self._late() from None
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from None
            if not chunk:
                raise self._lost("it closed the connection")
            self._bytes += chunk
            self._take()
        return self._arrived.popleft()

    def _take(self) -> None:
        """Move whole messages out of the bytes that came.

        Messages follow each other without a mark between them. Each is an object, so only bytes that
        end in a brace can end with a message: other reads are not worth a try.
        """
        if not self._bytes.lstrip().startswith(b"{"):
            raise self._lost("what it sent is not JSON-RPC")
        if not self._bytes.endswith(b"}"):
            return
        try:
            text = self._bytes.decode()
        except UnicodeDecodeError:
            raise self._lost("what it sent is not UTF-8") from None
        while text := text.lstrip():
            try:
                message, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break  # the brace was inside a message whose rest is still to come
            self._arrived.append(message)
            text = text[end:]
        self._bytes = text.encode()


class Database(JsonRpc):
    """One connection to the Open_vSwitch database."""

    def __init__(self, path: str, timeout: float = TIMEOUT) -> None:
        super().__init__(path, "ovsdb-server", timeout)
        self._updates: deque[list[Any]] = deque()

    def transact(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Carry out operations as one transaction and return their results.

        Raises ``Conflict`` when a ``wait`` operation failed, a row of the same name turned up or one that is
        referred to went, and ``Refused`` for any other error; then nothing was written.
        """
        results = self.call("transact", ["Open_vSwitch", *operations])
        for number, result in enumerate(results):
            if result and "error" in result:
                raise _failure(number, operations, result)
        return list(results)

    def monitor(self, name: str, table: str, columns: list[str]) -> Updates:
        """Follow columns of a table from now on; return the rows as they are."""
        tables = self.call("monitor", ["Open_vSwitch", name, {table: {"columns": columns}}])
        return dict(tables.get(table, {}))

    def update(self, name: str, table: str, deadline: float) -> Updates:
        """Return the next rows that changed under a monitor; ``Late`` after ``deadline`` (monotonic)."""
        while True:
            while self._updates:
                followed, tables = self._updates.popleft()
                if followed == name and table in tables:
                    return dict(tables[table])
            self.other(self._next(deadline))

    def other(self, message: dict[str, Any]) -> None:
        if message.get("method") == "update":
            self._updates.append(message["params"])
        else:
            super().other(message)

    def close(self) -> None:
        super().close()
        self._updates.clear()


def _failure(number: int, operations: list[dict[str, Any]], result: dict[str, Any]) -> Conflict | Refused:
    text = _text(result)
    waited = number < len(operations) and operations[number]["op"] == "wait"
    failed_wait = waited and result["error"] == "timed out"
    # An error beside the operations' own is the commit's (RFC 7047, 4.1.3). Only another writer can cause
    # these two, since a plan never uses a name twice: a name was taken, or a row that we refer to went.
    at_commit = number >= len(operations) and result["error"] in SPOILED
    if failed_wait or at_commit:
        return Conflict(f"Somebody else changed the Open vSwitch database at the same time ({text}).")
    return Refused(f"ovsdb-server refused: {text}")


def _text(error: Any) -> str:
    if isinstance(error, dict):
        return ": ".join(str(error[key]) for key in ("error", "details") if error.get(key))
    return str(error).strip()

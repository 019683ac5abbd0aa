"""What Open vSwitch is asked beside the one read of its database: the control socket, ovs-ofctl, rows."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from corral.errors import NotInstalled, Refused, Unavailable
from corral.ovs import wire
from corral.ovs.operations import select
from corral.ovs.ovsdb import Database, JsonRpc

Rows = list[dict[str, Any]]
PACKAGES = {"ovs-ofctl": "openvswitch-switch", "ip": "iproute2"}


def control(timeout: float, *calls: Sequence[str]) -> list[str]:
    """Return ovs-vswitchd's answers to commands with their arguments (ovs-vswitchd(8), RUNTIME MANAGEMENT).

    Raises ``Refused`` with its text for a command that fails, such as one about no such port.
    """
    seconds = wire._seconds(timeout)
    pidfile = wire._rundir() / "ovs-vswitchd.pid"
    try:
        pid = int(pidfile.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        raise wire._not_there("ovs-vswitchd", str(pidfile)) from None
    daemon = JsonRpc(str(wire._rundir() / f"ovs-vswitchd.{pid}.ctl"), "ovs-vswitchd", seconds)
    try:
        return [str(daemon.call(command, list(arguments))) for command, *arguments in calls]
    finally:
        daemon.close()


def rows(timeout: float, tables: Mapping[str, Sequence[str]]) -> list[Rows]:
    """Return the named columns of tables, as of one moment; with ``_uuid`` where it is named."""
    path = wire._rundir() / "db.sock"
    if not path.exists():
        raise wire._not_there("ovsdb-server", str(path))
    database = Database(str(path), wire._seconds(timeout))
    try:
        answers = database.transact([select(table, list(columns)) for table, columns in tables.items()])
    finally:
        database.close()
    return [list(answer["rows"]) for answer in answers]


def ofctl(timeout: float, protocols: Iterable[str], verb: str, bridge: str, *arguments: str) -> str:
    """Return what ovs-ofctl(8) says about a bridge.

    protocols
        The OpenFlow versions that the bridge allows; none: those of ovs-ofctl's own default.
    """
    # The whole path: a name alone may be taken for something else that has it.
    target = str(wire._rundir() / f"{bridge}.mgmt")
    allowed = [f"--protocols={','.join(sorted(protocols))}"] if protocols else []
    return run(timeout, "ovs-ofctl", *allowed, verb, target, *arguments)


def run(timeout: float, name: str, *arguments: str, stdin: str = "", lenient: bool = False) -> str:
    """Run a program of ``PACKAGES`` and return its standard output.

    lenient
        Whether it may fail in part: what it printed counts, its exit status does not.

    Raises ``NotInstalled``, ``Unavailable`` when it takes too long, ``Refused`` with its last line.
    """
    seconds = wire._seconds(timeout)
    program = shutil.which(name, path=wire.PATH)
    if program is None:
        raise NotInstalled(f"{name} is not installed (Debian package {PACKAGES[name]}).")
    try:
        done = subprocess.run(
            [program, *arguments],
            input=stdin,
            capture_output=True,
            env={"PATH": wire.PATH, "LC_ALL": "C", "OVS_RUNDIR": str(wire._rundir())},
            timeout=seconds,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name} gave no answer within {seconds:g} s.") from None
    if done.returncode and not lenient:
        said = done.stderr.strip().splitlines()
        raise Refused(f"{name}: {said[-1].removeprefix(f'{name}: ') if said else done.returncode}")
    return done.stdout

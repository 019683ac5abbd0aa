"""Open vSwitch out of order, or written by somebody else at the same time."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corral.converge import ATTEMPTS, converge
from corral.errors import Conflict
from corral.ovs.model import Switch
from corral.ovs.plan import plan
from corral.ovs.wire import Wire
from tests.support.expect import assert_failed

A, B, C = "brt-ovs-a", "brt-ovs-b", "brt-ovs-c"


@pytest.fixture
def bridge(switch: ModuleType) -> ModuleType:
    switch.vsctl(
        *("add-br", A, "--", "set", "bridge", A, "datapath_type=netdev", "--"),
        *("add-port", A, "brt-web0", "tag=1", "--", "set", "interface", "brt-web0", "type=internal"),
    )
    return switch


def converged(between: Callable[[], object], timeout: float = 60, **bridge: Any) -> dict[str, Any]:
    """Run the loop on part of a bridge; ``between`` happens after each read and before the write."""

    def disturbed(current: Any, desired: Any) -> Any:
        todo = plan(current, desired)
        between()
        return todo

    return converge(
        "test",
        {},
        declare=lambda: Switch.declare({"bridges": {A: bridge}}),
        wire=lambda _: Wire("test", timeout),
        plan=disturbed,
    )


def once(action: Callable[[], object]) -> Callable[[], object]:
    left = [action]
    return lambda: left and left.pop()()


# Another writer


def test_a_conflict_is_read_and_planned_again(bridge: ModuleType) -> None:
    meddle = once(lambda: bridge.vsctl("set", "port", "brt-web0", "tag=2"))
    run = converged(meddle, ports={"brt-web0": {"tag": 10}})
    assert run["result"] is True, run
    assert run["changes"] == {f"{A}.ports.brt-web0.tag": {"old": 2, "new": 10}}, (
        "what the write was made from"
    )
    assert bridge.vsctl("get", "port", "brt-web0", "tag") == "10"


def test_a_name_taken_meanwhile_is_a_conflict(bridge: ModuleType) -> None:
    take = ("add-port", A, "brt-db0", "--", "set", "interface", "brt-db0", "type=internal")
    run = converged(once(lambda: bridge.vsctl(*take)), ports={"brt-db0": {"type": "internal", "tag": 4}})
    assert run["result"] is True, run
    assert run["changes"] == {f"{A}.ports.brt-db0.tag": {"old": None, "new": 4}}


def _gone(ovs: ModuleType) -> None:
    ovs.vsctl("del-port", B, "brt-db0")


def _elsewhere(ovs: ModuleType) -> None:
    """Move the port's own row, as this project does and ovs-vsctl's port commands do not."""
    row = ovs.uuid("Port", "brt-db0")
    ovs.vsctl(
        *("add-br", C, "--", "set", "bridge", C, "datapath_type=netdev", "--"),
        *("remove", "bridge", B, "ports", row, "--", "add", "bridge", C, "ports", row),
    )


@pytest.mark.parametrize(
    ("meddle", "shown"),
    [
        pytest.param(_gone, {f"{A}.ports.brt-db0"}, id="deleted"),
        pytest.param(_elsewhere, {f"{C}.ports.brt-db0", f"{A}.ports.brt-db0"}, id="moved"),
    ],
)
def test_a_port_that_leaves_before_it_is_moved_is_a_conflict(
    bridge: ModuleType, meddle: Callable[[ModuleType], None], shown: set[str]
) -> None:
    bridge.vsctl(
        *("add-br", B, "--", "set", "bridge", B, "datapath_type=netdev", "--"),
        *("add-port", B, "brt-db0", "--", "set", "interface", "brt-db0", "type=internal"),
    )
    run = converged(once(lambda: meddle(bridge)), ports={"brt-db0": {"type": "internal"}})
    assert run["result"] is True, run
    assert set(run["changes"]) == shown, "what the second plan was made from"
    row = bridge.uuid("Port", "brt-db0")
    assert bridge.vsctl("--bare", "--columns=name", "find", "bridge", f"ports{{>=}}{row}") == A


def test_a_guest_that_starts_meanwhile_is_no_conflict_unless_its_bridge_goes(bridge: ModuleType) -> None:
    start = ("add-port", A, "vnet92", "--", "set", "interface", "vnet92", "type=internal")
    before = int(bridge.configuration()["next_cfg"])
    run = converged(once(lambda: bridge.vsctl(*start)), ports={"brt-db0": {"type": "internal"}})
    assert run["result"] is True, run
    assert int(bridge.configuration()["next_cfg"]) == before + 2, "theirs and ours, at once"
    assert set(bridge.vsctl("list-ports", A).split()) == {"brt-web0", "brt-db0", "vnet92"}

    with Wire("test") as wire:
        desired = Switch.declare({"bridges": {A: None}})
        current = wire.read()
        bridge.vsctl("add-port", A, "vnet93", "--", "set", "interface", "vnet93", "type=internal")
        with pytest.raises(Conflict):
            wire.apply(plan(current, desired), current, desired)
    assert "vnet93" in bridge.vsctl("list-ports", A).split()


def test_a_writer_who_never_stops_is_named(bridge: ModuleType) -> None:
    tags = iter(range(100, 200))
    written: list[str] = []

    def meddle() -> None:
        written.append(bridge.vsctl("set", "port", "brt-web0", f"tag={next(tags)}"))

    assert_failed(
        converged(meddle, ports={"brt-web0": {"tag": 10}}), "Somebody else changed the Open vSwitch"
    )
    assert len(written) == ATTEMPTS
    assert bridge.vsctl("get", "port", "brt-web0", "tag") == str(99 + ATTEMPTS)


# Killed on the way

KILLED = """
import sys
from corral.converge import converge
from corral.ovs.model import Switch
from corral.ovs.plan import plan
from corral.ovs.wire import Wire

def told(current, desired):
    todo = plan(current, desired)
    print(len(todo), flush=True)
    return todo

ports = {f"brt-k{n}": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": n}} for n in range(100)}
part = {"bridges": {sys.argv[1]: {"ports": ports}}}
converge("k", {}, declare=lambda: Switch.declare(part), wire=lambda _: Wire("test"), plan=told)
"""


@pytest.mark.parametrize("wait", [0, 0.005, 0.02])
def test_a_run_that_is_killed_wrote_all_or_nothing(bridge: ModuleType, repo: Path, wait: float) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repo / "_utils")}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, A], stdout=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "100\n"
        time.sleep(wait)  # into the write, or past it
        run.kill()
    ports = {
        f"brt-k{n}": {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": n}} for n in range(100)
    }
    again = converged(lambda: None, ports=ports)
    assert again["result"] is True, again
    assert len(again["changes"]) in (0, 100), again
    assert len([name for name in bridge.vsctl("list-ports", A).split() if name.startswith("brt-k")]) == 100


# Daemons that do not answer


@pytest.mark.parametrize("daemon", ["ovsdb-server", "ovs-vswitchd"])
@pytest.mark.parametrize("test", [True, False])
def test_a_daemon_that_hangs_is_said_within_the_timeout(
    state: Any, bridge: ModuleType, daemon: str, test: bool
) -> None:
    before = bridge.configuration()
    with bridge.stopped(daemon):
        answer = state("ovs.port_present", "brt-web0", bridge=A, tag=10, timeout=3, test=test)
    assert_failed(answer, f"{daemon} does not answer on /", "no answer within 3 s")
    assert bridge.configuration() == before


def test_vswitchd_that_stops_before_it_applies_is_said(bridge: ModuleType) -> None:
    """The database has what is declared then, so the changes are shown, without waiting a second time."""
    with contextlib.ExitStack() as held:
        stop = once(lambda: held.enter_context(bridge.stopped("ovs-vswitchd")))
        run = converged(stop, timeout=3, ports={"brt-web0": {"tag": 10}})
    assert run["result"] is False, run
    assert run["changes"] == {f"{A}.ports.brt-web0.tag": {"old": 1, "new": 10}}
    assert run["comment"] == (
        "The database has the configuration, but ovs-vswitchd has not applied it within 3 s: is it running?"
    )
    later = converged(lambda: None, ports={"brt-web0": {"tag": 10}})
    assert (later["result"], later["changes"]) == (True, {})


@pytest.fixture
def rundir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVS_RUNDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("test", [True, False])
def test_a_missing_socket_is_no_empty_host(state: Any, rundir: Path, test: bool) -> None:
    assert_failed(
        state("ovs.bridge_absent", A, test=test),
        f"ovsdb-server is not running: there is no {rundir}/db.sock",
    )


def test_a_dead_socket_is_unavailable(state: Any, salt: Any, rundir: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(rundir / "db.sock"))
    dead.close()
    assert_failed(state("ovs.bridge_absent", A), "ovsdb-server does not answer", "Connection refused")
    with pytest.raises(CommandExecutionError, match="ovsdb-server does not answer"):
        salt.cmd("ovs.show")


def test_a_switch_without_vswitchd_is_not_as_declared(state: Any, salt: Any, rundir: Path) -> None:
    (rundir / "db.sock").symlink_to("/var/run/openvswitch/db.sock")
    text = f"ovs-vswitchd is not running: there is no {rundir}/ovs-vswitchd.pid"
    assert_failed(state("ovs.bridge_absent", "brt-ovs-none"), text)
    with pytest.raises(CommandExecutionError, match="ovs-vswitchd is not running"):
        salt.cmd("ovs.bond_status")
    assert "bridges" in salt.cmd("ovs.show"), "the database alone can be shown"


@pytest.fixture
def uninstalled(rundir: Path) -> Iterator[None]:
    """Take the program away; the host is a throw-away one and has its own /usr."""
    program = shutil.which("ovs-vswitchd", path="/usr/sbin:/usr/bin:/sbin")
    assert program
    os.rename(program, program + ".away")
    yield
    os.rename(program + ".away", program)


@pytest.mark.usefixtures("uninstalled")
def test_a_bare_host_is_previewed_and_a_run_is_refused(state: Any) -> None:
    preview = state("ovs.bridge_present", A, datapath_type="netdev", test=True)
    assert preview["result"] is None
    assert preview["changes"] == {A: {"old": None, "new": {"datapath_type": "netdev"}}}
    assert "Previewed against an empty host: Open vSwitch is not installed" in preview["comment"]
    assert_failed(state("ovs.bridge_present", A, datapath_type="netdev"), "Open vSwitch is not installed")


# What ovs-vswitchd refuses


def test_a_port_that_vswitchd_refuses_fails_in_every_run_until_it_is_mended(
    state: Any, bridge: ModuleType
) -> None:
    """The database takes two tunnels with one key to one place; ovs-vswitchd does not."""
    tunnel = {"type": "vxlan", "options": {"remote_ip": "192.0.2.7", "key": 7}}
    declare = partial(state, "ovs.bridge_present", A)
    assert declare(ports={"brt-vx0": tunnel})["result"] is True
    first = declare(ports={"brt-vx0": tunnel, "brt-vx1": tunnel})
    assert first["result"] is False
    assert "ovs-vswitchd could not set up brt-vx1: could not add network device" in first["comment"]
    assert set(first["changes"]) == {f"{A}.ports.brt-vx1"}, "the database has it"
    again = declare(ports={"brt-vx0": tunnel, "brt-vx1": tunnel})
    assert_failed(again, "ovs-vswitchd could not set up brt-vx1: could not add network device")
    preview = declare(ports={"brt-vx0": tunnel, "brt-vx1": tunnel}, test=True)
    assert preview["result"] is None
    assert list(preview["changes"]) == [f"{A}.ports.brt-vx1.error"]

    mended = declare(ports={"brt-vx1": {**tunnel, "options": {"remote_ip": "192.0.2.8", "key": 7}}})
    assert mended["result"] is True, mended
    assert set(mended["changes"]) == {f"{A}.ports.brt-vx1.options.remote_ip", f"{A}.ports.brt-vx1.error"}
    assert declare(ports={"brt-vx0": tunnel})["result"] is True, (
        "an error of what is not declared is not ours"
    )


def test_a_bridge_that_vswitchd_cannot_make_fails(state: Any, switch: ModuleType) -> None:
    """This host's kernel has no datapath; ovs-vswitchd says so in its log alone."""
    for _ in range(2):
        run = state("ovs.bridge_present", A, datapath_type="system")
        assert run["result"] is False
        assert f"ovs-vswitchd could not set up {A}" in run["comment"]

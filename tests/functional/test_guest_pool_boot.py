"""Starts gated on leases and ports, guests that never get there, and runs that are killed on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corral.dhcp import wire as dhcp
from tests.support.guest_rig import sh, virsh
from tests.support.pool_rig import FOLDER, State, leasing, names, pool, running, take_lease
from tests.support.salt_here import REPO

RUN = """
import json, sys
from pathlib import Path
from tests.support import salt_here
salt = salt_here.caller(Path(sys.argv[1]))
salt.cmd("state.single", "guest_pool.running", sys.argv[2], **json.loads(sys.argv[3]))
"""


def macs(salt: Any, name: str, declared: dict[str, Any]) -> dict[str, str]:
    """Return the MAC addresses that the guests of a pool have or will have."""
    return {guest: one["mac"] for guest, one in salt.cmd("guest_pool.identity", name, **declared).items()}


def lease(timeout: str = "60s") -> dict[str, Any]:
    return {"ready": "lease", "timeout": timeout}


def test_a_lease_is_the_sign(state: State, salt: Any, pools: None) -> None:
    """S0.6: the next guest starts when one has its lease, and the state ends when all have."""
    declared = pool(replicas=3, boot={**lease(), "width": {"start": 1, "max": 1}})
    known = macs(salt, "tpool-lease", declared)
    with leasing(known):
        answer = state("guest_pool.running", "tpool-lease", **declared)
    assert answer["result"] is True, answer
    assert {one.mac for one in dhcp.leases("tpool")} >= set(known.values())
    again = state("guest_pool.running", "tpool-lease", **declared)
    assert (again["result"], again["changes"]) == (True, {})


def test_a_guest_that_never_leases_is_named_and_the_others_run(state: State, salt: Any, pools: None) -> None:
    declared = pool(replicas=3, boot=lease("8s"))
    known = macs(salt, "tpool-mute", declared)
    mute = known.pop("tpool-mute-001")
    with leasing(known):
        answer = state("guest_pool.running", "tpool-mute", **declared)
    assert answer["result"] is False
    assert (
        "1 guest is not ready, of 3 to be started: tpool-mute-001: not ready 8 s after its start"
        in (answer["comment"])
    )
    assert f"no lease of {mute} in tpool" in answer["comment"]
    assert "its NIC has sent 0 packets" in answer["comment"]
    assert len(running()) == 3
    preview = state("guest_pool.running", "tpool-mute", test=True, **declared)
    assert preview["changes"] == {"tpool-mute.guests.tpool-mute-001.ready": {"old": False, "new": True}}
    take_lease(mute)
    assert state("guest_pool.running", "tpool-mute", **declared)["changes"] == {}


def test_a_lease_of_an_earlier_start_is_no_sign(state: State, salt: Any, pools: None) -> None:
    declared = pool(replicas=1, boot=lease("4s"))
    assert state("guest_pool.running", "tpool-old", **pool(replicas=1))["result"] is True
    take_lease(macs(salt, "tpool-old", declared)["tpool-old-000"])
    assert state("guest_pool.running", "tpool-old", **declared)["changes"] == {}
    assert state("guest_pool.stopped", "tpool-old", shutdown_timeout=0)["result"] is True
    answer = state("guest_pool.running", "tpool-old", **declared)
    assert answer["result"] is False
    assert "tpool-old-000: not ready 4 s after its start" in answer["comment"]


def test_a_guest_that_stops_by_itself_is_named_at_once(state: State, salt: Any, pools: None) -> None:
    declared = pool(replicas=2, boot=lease("10m"))
    known = macs(salt, "tpool-crash", declared)

    def crash() -> None:
        while "tpool-crash-001" not in running():
            time.sleep(0.05)
        virsh("qemu-monitor-command", "--hmp", "tpool-crash-001", "quit", check=False)

    began = time.monotonic()
    with leasing({"tpool-crash-000": known["tpool-crash-000"]}), during(crash):
        answer = state("guest_pool.running", "tpool-crash", **declared)
    assert time.monotonic() - began < 300, "it waited for its lease"
    assert answer["result"] is False
    assert "tpool-crash-001: stopped by itself" in answer["comment"]
    assert running() == ["tpool-crash-000"]


@contextmanager
def during(act: Callable[[], None]) -> Iterator[None]:
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    yield
    os.waitpid(child, 0)


@contextmanager
def answering(port: int, words: bytes) -> Iterator[None]:
    """Answer at the address that is reserved for the first guest, in its stead."""
    with socket.create_server(("10.77.0.10", port)) as server:

        def talk() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.sendall(words)
                    connection.close()

        thread = threading.Thread(target=talk)
        thread.start()
        yield
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(("ready", "port"), [("port:7777", 7777), ("ssh", 22)])
def test_a_port_is_the_sign(state: State, pools: None, ready: str, port: int) -> None:
    sh("ip", "address", "add", "10.77.0.10/32", "dev", "lo")
    try:
        declared = pool(replicas=1, boot={"ready": ready, "timeout": "2s"})
        with answering(22, b"220 not SSH"):
            late = state("guest_pool.running", "tpool-port", **declared)
        assert late["result"] is False
        assert f"no answer at 10.77.0.10 port {port}" in late["comment"]
        with answering(port, b"SSH-2.0-test"):
            answer = state("guest_pool.running", "tpool-port", **declared)
        assert answer["result"] is True, answer
    finally:
        sh("ip", "address", "delete", "10.77.0.10/32", "dev", "lo")


def overlays() -> list[Path]:
    return list(FOLDER.rglob("*.qcow2*"))


@pytest.mark.parametrize(
    "moment",
    [overlays, names, running],
    ids=["while disks are made", "while guests are defined", "while guests start"],
)
def test_killed(state: State, pools: None, tmp_path: Path, moment: Callable[[], list[Any]]) -> None:
    """SIGKILL at any moment: the next run ends right, and nothing is left half done."""
    declared = pool(replicas=4, boot={"ready": "none", "width": {"start": 1, "max": 1}})
    argv = [sys.executable, "-c", RUN, str(tmp_path), "tpool-kill", json.dumps(declared)]
    child = subprocess.Popen(argv, cwd=REPO, env={**os.environ, "PYTHONPATH": f"{REPO}:{REPO / '_utils'}"})
    try:
        end = time.monotonic() + 60
        while not moment():
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.001)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    answer = state("guest_pool.running", "tpool-kill", **declared)
    assert answer["result"] is True, answer
    assert answer["changes"], "it was killed too late"
    assert running() == [f"tpool-kill-00{index}" for index in range(4)]
    assert len(dhcp.all_reservations("tpool")["tpool-kill"]) == 4
    assert sorted(path.name for path in (FOLDER / "tpool-kill").iterdir()) == [
        f"tpool-kill-00{index}.qcow2" for index in range(4)
    ]
    again = state("guest_pool.running", "tpool-kill", **declared)
    assert (again["result"], again["changes"]) == (True, {})

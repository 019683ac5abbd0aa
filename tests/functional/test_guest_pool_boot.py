"""Starts gated on leases and ports, guests that never get there, and leases of earlier starts."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from corral.dhcp import wire as dhcp
from corral.pool.model import declare
from corral.pool.plan import plan
from corral.pool.wire import Declared
from tests.support import killable
from tests.support.guest_rig import sh, virsh
from tests.support.pool_rig import State, during, leasing, pool, running, take_lease


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
    declared = pool(replicas=3, boot=lease("30s"))
    known = macs(salt, "tpool-mute", declared)
    mute = known.pop("tpool-mute-001")
    with leasing(known):
        answer = state("guest_pool.running", "tpool-mute", **declared)
    assert answer["result"] is False
    assert (
        "1 guest is not ready, of 3 to be started: tpool-mute-001: not ready 30 s after its start"
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


def test_what_goes_on_where_it_was_needs_no_new_lease(state: State, salt: Any, pools: None) -> None:
    """A guest that was paused or saved does not know that time has passed, and asks for nothing."""
    declared = pool(replicas=2, boot=lease())
    known = macs(salt, "tpool-pause", declared)
    with leasing(known):
        assert state("guest_pool.running", "tpool-pause", **declared)["result"] is True
    virsh("suspend", "tpool-pause-000")
    virsh("managedsave", "tpool-pause-001")
    answer = state("guest_pool.running", "tpool-pause", **declared)
    assert answer["result"] is True, answer
    assert {change["old"] for change in answer["changes"].values()} == {"paused", "stopped"}


def test_a_lease_that_was_taken_before_anybody_waits_for_it(state: State, salt: Any, pools: None) -> None:
    assert state("guest_pool.running", "tpool-early", **pool(replicas=1))["result"] is True
    desired = declare("hypervisor", "tpool-early", pool(replicas=1, boot=lease()))
    with Declared(desired) as wire:
        current = wire.read()
        todo = plan(current, desired)
        assert [step.path[3:] for step in todo] == [("ready",)]
        take_lease(macs(salt, "tpool-early", pool(replicas=1))["tpool-early-000"])
        wire.apply(todo, current, desired)
        assert plan(wire.read(), desired) == ()


def test_a_run_that_is_killed_in_mid_boot_leaves_no_lease_of_an_earlier_start(
    state: State, salt: Any, pools: None
) -> None:
    declared = pool(replicas=1, boot=lease())
    with leasing(macs(salt, "tpool-mid", declared)):
        assert state("guest_pool.running", "tpool-mid", **declared)["result"] is True
    assert state("guest_pool.stopped", "tpool-mid", shutdown_timeout=0)["result"] is True
    with killable.run("tpool-mid", declared) as child:
        while virsh("domstate", "tpool-mid-000") != "running\n":
            assert child.poll() is None
            time.sleep(0.05)
        child.kill()
    preview = state("guest_pool.running", "tpool-mid", test=True, **declared)
    assert preview["changes"] == {"tpool-mid.guests.tpool-mid-000.ready": {"old": False, "new": True}}
    with leasing(macs(salt, "tpool-mid", declared)):
        assert state("guest_pool.running", "tpool-mid", **declared)["result"] is True
    assert [one.address for one in dhcp.leases("tpool")] == ["10.77.0.10"], "the same address again"


def test_a_guest_that_stops_by_itself_is_named_at_once(state: State, salt: Any, pools: None) -> None:
    declared = pool(replicas=2, boot=lease("10m"))
    known = macs(salt, "tpool-crash", declared)

    def crash(over: threading.Event) -> None:
        while "tpool-crash-001" not in running():
            assert not over.wait(0.05)
        virsh("qemu-monitor-command", "--hmp", "tpool-crash-001", "quit", check=False)

    with leasing({"tpool-crash-000": known["tpool-crash-000"]}), during(crash):
        answer = state("guest_pool.running", "tpool-crash", **declared)
    assert answer["result"] is False
    assert "tpool-crash-001: stopped by itself" in answer["comment"], "it waited for its lease"
    assert running() == ["tpool-crash-000"]


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

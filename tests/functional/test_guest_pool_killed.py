"""SIGKILL at each call by which a run leaves something behind: the next run ends right, with no half left."""

from __future__ import annotations

import json
import signal
from itertools import count
from typing import Any

import pytest

from corral.dhcp import wire as dhcp
from corral.dhcp.model import Reservation
from tests.support import killable
from tests.support.guest_rig import sh, virsh
from tests.support.pool_rig import FOLDER, SUBNET, State, names, pool, running

NAME = "tpool-kill"
MOST = 6  # kills of one kind of run, evenly among its calls: each takes some seconds
ALL = pool(replicas=2)
ONE = pool(replicas=1, scale_in={"disks": "delete", "shutdown_timeout": 0})
GONE = {"disks": "delete", "directory": str(FOLDER), "shutdown_timeout": 0}
NOTES = FOLDER / NAME / "notes"


def strangers() -> dict[str, Any]:
    """Return what is on the host and not of the pool."""
    return {
        "definition": virsh("dumpxml", "--inactive", "tpool-x"),
        "disk": (FOLDER / "x.qcow2").lstat().st_mtime_ns,
        "notes": NOTES.read_text(),
        "reservations": dhcp.all_reservations(SUBNET)["tpool-other"],
    }


@pytest.fixture
def settled(state: State, pools: None) -> dict[str, Any]:
    """A host with somebody else's guest, reservation and file, all of them beside the pool's."""
    NOTES.parent.mkdir(parents=True)
    NOTES.write_text("not of the pool")
    sh("qemu-img", "create", "-q", "-f", "qcow2", str(FOLDER / "x.qcow2"), "1M")
    disk = {"path": str(FOLDER / "x.qcow2")}
    assert state("guest.stopped", "tpool-x", memory="32M", type="qemu", disks=[disk])["result"] is True
    other = Reservation(mac="52:54:00:77:00:99", address="10.77.0.99", name="other")
    dhcp.write_reservations(SUBNET, "tpool-other", [other])
    return strangers()


def run(function: str, declared: dict[str, Any], at: int) -> int:
    """Run to the end, or to a kill; return how many calls it was, 0 for a kill."""
    with killable.run(NAME, declared, function, at) as child:
        said, _ = child.communicate(timeout=120)
    if child.returncode == -signal.SIGKILL:
        return 0
    answer = json.loads(said)
    assert answer["result"] is True, answer
    return int(answer["calls"])


@pytest.mark.parametrize(
    ("before", "function", "declared", "left"),
    [
        (None, "running", ALL, [f"{NAME}-000", f"{NAME}-001"]),
        (ALL, "running", ONE, [f"{NAME}-000"]),
        (ALL, "absent", GONE, []),
    ],
    ids=["coming", "leaving with its disk", "absent"],
)
def test_killed(
    state: State,
    settled: dict[str, Any],
    before: dict[str, Any] | None,
    function: str,
    declared: dict[str, Any],
    left: list[str],
) -> None:
    def prepare() -> None:
        if before is None:
            assert state("guest_pool.absent", NAME, **GONE)["result"] is True
        else:
            assert state("guest_pool.running", NAME, **before)["result"] is True

    prepare()
    calls = run(function, declared, at=0)
    for at in count(1, -(-calls // MOST)):
        prepare()
        if run(function, declared, at):
            assert at > calls / 2, "hardly anything was killed"
            break
        answer = state(f"guest_pool.{function}", NAME, **declared)
        assert answer["result"] is True, answer
        again = state(f"guest_pool.{function}", NAME, **declared)
        assert (again["result"], again["changes"]) == (True, {})
        assert running() == left
        assert names() == [*left, "tpool-x"]
        assert len(dhcp.all_reservations(SUBNET).get(NAME, ())) == len(left)
        files = sorted(path.name for path in (FOLDER / NAME).iterdir())
        assert files == ["notes", *(f"{guest}.qcow2" for guest in left)]
        assert strangers() == settled

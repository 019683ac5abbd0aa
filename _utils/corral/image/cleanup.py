"""End what a build by oz leaves when it is broken off: processes, installer guest, storage pool."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from corral.errors import Unavailable
from corral.image.store import Scratch
from corral.image.virsh import destroy, destroy_pools, ready

MARK = "CORRAL_SCRATCH"  # in the environment of a build's processes, with the scratch folder


def clean(scratch: Scratch) -> None:
    """End what belongs to a scratch folder: processes, installer guest, storage pool.

    Raises ``Unavailable`` when libvirt cannot be asked.
    """
    _kill(scratch.path)
    guest, uri = scratch.note.get("guest"), scratch.note.get("uri")
    if guest and uri:
        ready(uri)
        destroy(uri, guest)
        destroy_pools(uri, scratch.path)


def _kill(folder: Path) -> None:
    """Kill the processes of a build, which carry its scratch folder in their environment."""
    mark = f"{MARK}={folder}".encode()
    deadline = time.monotonic() + 5
    while doomed := [pid for pid in _pids() if mark in _environment_of(pid)]:
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise Unavailable(f"Processes {doomed} of a build that was broken off cannot be ended.")
        time.sleep(0.05)  # they are not our children, so there is no end to wait for


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []

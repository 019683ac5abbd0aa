"""What a throw-away hypervisor may leave on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab.host import CHECKOUT, STATE, hosts

DEADLINE = 60


def processes_of(namespace: str) -> list[str]:
    """Return the processes that live in a PID namespace."""
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if os.readlink(path) == namespace:
                found.append(path.parts[2])
        except OSError:
            continue
    return found


def wait_for_end(name: str) -> None:
    """Wait until the host is gone: its lock is free then."""
    lock = STATE / name / "lock"
    if lock.exists():
        subprocess.run(["flock", "--wait", str(DEADLINE), lock, "true"], check=True)


def nothing_is_left(name: str, namespace: str) -> None:
    """Fail if any process, mount or file of the host is still there."""
    assert not processes_of(namespace)
    assert name not in hosts()
    assert not (STATE / name).exists()
    assert name not in Path("/proc/self/mountinfo").read_text()


def stop_hosts_of(checkout: Path) -> None:
    """Stop the hosts that were started from *checkout* and are still up, as after a test that failed."""
    for name, pid in hosts().items():
        if f'"{checkout}"' in Path(f"/proc/{pid}/cmdline").read_text():
            subprocess.run([sys.executable, "-m", "lab.host", "stop", name], cwd=CHECKOUT, check=True)

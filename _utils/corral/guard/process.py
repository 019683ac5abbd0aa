"""Processes that cannot be taken for others of the same number, and how to hear of their end."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from pathlib import Path


def boot_id() -> str:
    """Return what is different after each start of this host (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True)
class Process:
    """A process of this boot.

    started
        When, in clock ticks since the boot (proc(5), field 22 of ``stat``).
    """

    pid: int
    started: int

    @classmethod
    def own(cls) -> Process:
        return cls(os.getpid(), _started(os.getpid()))

    def alive(self) -> bool:
        return _started(self.pid) == self.started

    def ended(self, seconds: float) -> bool:
        """Wait for its end, and return whether it has come within the time."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return not self.alive() or bool(select.select([descriptor], [], [], max(seconds, 0))[0])
        finally:
            os.close(descriptor)


def _started(pid: int) -> int:
    """Return when a process was started; 0 for one that is not there, or that only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = stat.rpartition(")")[2].split()  # the name in parentheses may hold spaces
    return 0 if fields[0] in "ZX" else int(fields[19])

"""What the host has left, as the kernel tells it (proc(5), and Documentation/accounting/psi.rst)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from corral.pool.boot import LOOK_SECONDS, Headroom

STALLED = 10.0  # percent of the last 10 s in which some task waited for memory
PROC = Path("/proc")


class Meter:
    """Looks at the host again and again.

    proc
        Where the kernel tells it.
    clock
        Returns the time in seconds.
    """

    def __init__(self, proc: Path = PROC, clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._at = clock()
        self._seen = self._times()
        self._idle: float | None = None

    def look(self) -> Headroom:
        """Return the headroom of now; the CPU's is that of the time since the look before."""
        now = self._clock()
        if now - self._at >= LOOK_SECONDS:
            idle, total = (new - old for new, old in zip(self._times(), self._seen, strict=True))
            self._idle = idle / total if total > 0 else None
            self._at, self._seen = now, self._times()
        return Headroom(self._idle, self._memory(), self._stalled() >= STALLED)

    def _times(self) -> tuple[int, int]:
        """Return the ticks that all CPUs were idle, and all ticks. Waiting for a disk is not idle here."""
        ticks = [int(word) for word in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        return ticks[3], sum(ticks)

    def _memory(self) -> int:
        for line in (self._proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return 0

    def _stalled(self) -> float:
        try:
            text = (self._proc / "pressure" / "memory").read_text()
        except OSError:  # a kernel without PSI
            return 0.0
        return float(text.partition("avg10=")[2].split()[0])

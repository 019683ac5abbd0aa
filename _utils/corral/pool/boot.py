"""How many guests may boot at a time: a closed loop, as decisions only.

Events and the time go in, names to start come out; nothing in here waits or touches a host.

The width (guests between their start and their readiness) begins at what keeps the CPUs busy, grows by one
while CPUs are idle and goes back when they are not, and is halved when a guest fails, is late or memory gets
tight; guests that get ready in time bring it back by one each (additive increase, multiplicative decrease, as
TCP does: RFC 5681). CPU headroom is *idle* time, not the kernel's CPU pressure: under emulation two booting
guests keep two cores fully "under pressure" and yet nothing is wrong, and more of them would only share the
same cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

IDLE = 0.1  # of the CPU time: from here on one more guest would use what nobody uses
BUSY = 0.02  # up to here more guests than at first only make each other slower
LOOK_SECONDS = 1.0  # between two steps: how idle a CPU is takes a while to see
CALM_SECONDS = 10.0  # after narrowing for memory: the kernel tells the average of so long
GIVE_UP = 5  # guests in a row that failed; those that wait would fail too


@dataclass(frozen=True)
class Limits:
    """What the loop may do.

    start, max
        Width at first and at most.
    timeout
        Seconds from a guest's start to its readiness.
    need
        Memory that a guest takes from the host, in bytes.
    """

    start: int
    max: int
    timeout: float
    need: int = 0


@dataclass(frozen=True)
class Headroom:
    """What the host has left.

    idle
        Share of its CPU time that was idle lately, 0 to 1; ``None`` while that is not known.
    memory
        Memory that can be had without swapping, in bytes.
    tight
        Whether work stalls for memory.
    """

    idle: float | None
    memory: int
    tight: bool = False


class Starter:
    """Decides which guests to start when.

    waiting
        Names of the guests to start, in order.
    booting
        Names of guests that run already and are not ready.
    limits
        Bounds of the decisions.
    now
        The time, in seconds of any clock that is not set back.
    """

    def __init__(self, waiting: Iterable[str], booting: Iterable[str], limits: Limits, now: float) -> None:
        self.limits = limits
        self.width = limits.start
        self.ready: set[str] = set()
        self.failures: dict[str, str] = {}
        self._waiting = deque(waiting)
        self._since: dict[str, float] = {}  # when the start of a booting guest was asked for
        self._due: dict[str, float] = {}  # until when a started guest has to be ready
        self._late: set[str] = set()
        self._in_a_row = 0
        self._narrowed = float("-inf")  # what guests started before this suffer from has been answered
        self._stepped = now
        for name in booting:
            self._since[name] = now
            self._due[name] = now + limits.timeout

    @property
    def waiting(self) -> int:
        """Return how many guests are still to be started."""
        return len(self._waiting)

    @property
    def booting(self) -> frozenset[str]:
        """Return the guests between their start and their readiness."""
        return frozenset(self._since)

    @property
    def late(self) -> frozenset[str]:
        """Return the guests that were not ready in time and still may get so."""
        return frozenset(self._late)

    @property
    def done(self) -> bool:
        return not self._waiting and not self._since

    @property
    def deadline(self) -> float | None:
        """Return when the next guest is late, or ``None`` while none can be."""
        return min(self._due.values(), default=None)

    def next(self, now: float, host: Headroom) -> tuple[str, ...]:
        """Return the guests to start now, after a look at the host."""
        if host.tight and now - self._narrowed >= CALM_SECONDS:
            self._narrow(now)
        elif host.idle is not None and now - self._stepped >= LOOK_SECONDS:
            self._step(now, host, host.idle)
        names: list[str] = []
        while self._waiting and len(self._since) < self.width and self._fits(host):
            name = self._waiting.popleft()
            self._since[name] = now
            names.append(name)
        if self._waiting and not self._since:
            have = f"{host.memory >> 20} MiB of memory are left on the host, and a guest takes"
            self._drop(f"not started: {have} {self.limits.need >> 20} MiB")
        return tuple(names)

    def started(self, name: str, now: float) -> None:
        """Note that a guest runs; its time to get ready counts from here."""
        if name in self._since:
            self._due[name] = now + self.limits.timeout

    def up(self, name: str, now: float) -> bool:
        """Note that a guest is ready; returns whether that was news."""
        if name in self._late:
            self._late.discard(name)
            del self.failures[name]
        elif name not in self._since:
            return False
        else:
            started = self._since.pop(name)
            if now - started > self.limits.timeout / 2:
                self._answer(started, now)
            elif self.width < self.limits.start:
                self.width += 1
        self._due.pop(name, None)
        self.ready.add(name)
        self._in_a_row = 0
        return True

    def down(self, name: str, why: str, now: float) -> None:
        """Note that a guest failed: it did not start, or stopped before it was ready."""
        if name not in self._since and name not in self._late:
            return
        self._late.discard(name)
        self._fail(name, why, now)

    def overdue(self, now: float) -> tuple[str, ...]:
        """Fail the guests whose time is up, and return them; should they get ready after all, they are."""
        names = tuple(name for name, due in self._due.items() if due <= now)
        for name in names:
            self._fail(name, f"not ready {self.limits.timeout:g} s after its start", now)
            self._late.add(name)
        return names

    def _step(self, now: float, host: Headroom, idle: float) -> None:
        """Widen when the width keeps guests waiting while CPUs are idle; go back when they are not."""
        if idle >= IDLE and self._waiting and len(self._since) >= self.width and not host.tight:
            self.width = min(self.width + 1, self.limits.max)
        elif idle <= BUSY and self.width > self.limits.start:
            self.width -= 1
        self._stepped = now

    def _fits(self, host: Headroom) -> bool:
        """Whether the memory suffices for one more, with those that boot still taking theirs."""
        return host.memory >= self.limits.need * (len(self._since) + 1)

    def _fail(self, name: str, why: str, now: float) -> None:
        self.failures[name] = why
        started = self._since.pop(name, now)
        self._due.pop(name, None)
        self._answer(started, now)
        self._in_a_row += 1
        if self._in_a_row >= GIVE_UP:
            self._drop(f"not started, since {self._in_a_row} guests before it in a row did not get ready")

    def _answer(self, started: float, now: float) -> None:
        """Narrow for the trouble of a guest, once for all that were started before the last answer."""
        if started >= self._narrowed:
            self._narrow(now)

    def _narrow(self, now: float) -> None:
        self.width = max(1, self.width // 2)
        self._narrowed = now

    def _drop(self, why: str) -> None:
        self.failures.update(dict.fromkeys(self._waiting, why))
        self._waiting.clear()

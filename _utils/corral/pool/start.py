"""Starts guests and waits for their readiness: the events and threads around the decisions of ``boot``."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from corral.errors import Error
from corral.pool.boot import Starter
from corral.pool.meter import Meter
from corral.pool.signs import Signs
from corral.progress import Progress

TICK_SECONDS = 1.0  # while guests wait for their turn: no event tells that a CPU has become idle


class Inbox:
    """Events from other threads, and a descriptor that is readable while there are any."""

    def __init__(self) -> None:
        self._events: deque[tuple[str, str, str]] = deque()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._descriptor

    def put(self, name: str, event: str, why: str = "") -> None:
        """Add an event of a guest; libvirt's thread may still call when nobody listens any more."""
        with self._lock:
            self._events.append((name, event, why))
            if self._descriptor >= 0:
                os.eventfd_write(self._descriptor, 1)

    def take(self) -> list[tuple[str, str, str]]:
        """Return the events since the last call."""
        with self._lock:
            try:
                os.eventfd_read(self._descriptor)
            except BlockingIOError:
                return []
            events, self._events = list(self._events), deque()
            return events

    def close(self) -> None:
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1


class Launch:
    """One round of starts.

    starter
        Decides.
    start
        Starts a guest by name and returns when it runs; raises an ``Error`` when it does not.
    signs
        Watches for readiness.
    inbox
        Where libvirt's events of guests arrive: name, event and, for a stop, why.
    tell
        Is told the progress.
    """

    def __init__(
        self, starter: Starter, start: Callable[[str], None], signs: Signs, inbox: Inbox, tell: Progress
    ) -> None:
        self.starter = starter
        self.start = start
        self.signs = signs
        self.inbox = inbox
        self.tell = tell
        self._meter = Meter()
        self._running = set(starter.booting)
        self._begun = set(
            starter.booting
        )  # what libvirt tells of a guest's stop before is of its life before
        self._stopped: dict[str, str] = {}  # guests that stopped before their start had been noted
        self._calls: list[Future[None]] = []
        self._told = float("-inf")
        self._total = starter.waiting + len(starter.booting)

    def run(self) -> None:
        """Start all guests; returns when each is ready or has failed."""
        starter = self.starter
        for name in starter.booting:
            self.signs.expect(name)
        with selectors.DefaultSelector() as selector, ThreadPoolExecutor(starter.limits.max) as workers:
            for source in (self.inbox, self.signs):
                if source.fileno() >= 0:
                    selector.register(source, selectors.EVENT_READ)
            while True:
                self._note()
                for name in starter.next(time.monotonic(), self._meter.look()):
                    self._calls.append(workers.submit(self._start, name))
                if starter.done:
                    break
                selector.select(self._patience())
        for call in self._calls:
            call.result()

    def _start(self, name: str) -> None:
        """Start one guest, in a thread."""
        try:
            self.start(name)
        except Error as error:
            self.inbox.put(name, "refused", str(error).removeprefix(f"{name} ").rstrip("."))
        except BaseException:
            self.inbox.put(name, "refused", "an unexpected error")
            raise
        else:
            self.inbox.put(name, "running")

    def _patience(self) -> float | None:
        """Return how long to wait for an event at most."""
        ends = [TICK_SECONDS] if self.starter.waiting else []
        if self.starter.deadline is not None:
            ends.append(max(0.0, self.starter.deadline - time.monotonic()))
        return min(ends, default=None)

    def _note(self) -> None:
        """Take in what has happened."""
        before = (len(self.starter.ready), len(self.starter.failures))
        for name, event, why in self.inbox.take():
            self._event(name, event, why)
        now = time.monotonic()
        for name in self.signs.look() & self._running:
            self.starter.up(name, now)
        self.starter.overdue(now)
        if before != (len(self.starter.ready), len(self.starter.failures)):
            self._tell()

    def _event(self, name: str, event: str, why: str) -> None:
        now = time.monotonic()
        if event == "running":
            self._running.add(name)
            self.starter.started(name, now)
            self.signs.expect(name)
            if name in self._stopped:
                self.starter.down(name, self._stopped[name], now)
        elif event == "refused":
            self.starter.down(name, why, now)
        elif event in ("started", "resumed"):
            self._begun.add(name)
        elif event in ("stopped", "crashed") and name in self._begun:
            text = f"{event} by itself ({why})" if why else f"{event} by itself"
            if name in self._running:
                self.starter.down(name, text, now)
            else:
                self._stopped[name] = text

    def _tell(self) -> None:
        """Tell how far it is, once a second at most: telling a master takes time that guests wait for."""
        starter, now = self.starter, time.monotonic()
        if not starter.done and now - self._told < TICK_SECONDS:
            return
        self._told = now
        failed = f", {len(starter.failures)} failed" if starter.failures else ""
        text = f"{len(starter.booting)} booting, {starter.waiting} waiting{failed}, width {starter.width}"
        self.tell(text, len(starter.ready), self._total)

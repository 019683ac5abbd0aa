"""Connections to a libvirt daemon on which no call can hang for ever, and the events that come over them."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from queue import Empty, Queue
from typing import Any, TypeVar

from corral.errors import Error, NotInstalled, Refused, Unavailable
from corral.guest.deadline import within
from corral.guest.library import library
from corral.guest.loop import EventLoop

PROGRAMS = ("libvirtd", "virtqemud")
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
WORK_SECONDS = 120  # for what starts or ends a process; keepalive sees sooner that the daemon is gone
KEEPALIVE = (5, 5)  # a message every 5 s; when 5 of them are unanswered, the connection is cut
# With max_client_requests (5) calls in flight libvirtd reads nothing more of a client, keepalive neither.
CALLS_PER_CONNECTION = 4

# virDomainEventType, and why a guest stopped (virDomainEventStoppedDetailType)
EVENTS = (
    "defined",
    "undefined",
    "started",
    "paused",
    "resumed",
    "stopped",
    "shutting_down",
    "suspended",
    "crashed",
)
STOPS = ("shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from_snapshot")

Answer = TypeVar("Answer")
Watcher = Callable[[str, str, str], None]
EVENT_LOOP = EventLoop()


class Connections:
    """Some connections to one daemon, opened when they are first needed.

    uri
        The daemon.
    timeout
        Seconds that a call may take unless it says otherwise.
    count
        How many connections; each carries four calls at a time.
    """

    def __init__(self, uri: str, timeout: float, count: int) -> None:
        self._uri = uri
        self._timeout = timeout
        self._places: Queue[int] = Queue()  # a free place for a call is the number of its connection
        for number in list(range(count)) * CALLS_PER_CONNECTION:
            self._places.put(number)
        self._opening = [threading.Lock() for _ in range(count)]
        self._open: dict[int, Any] = {}
        self._closed = False
        self._stuck = False
        self._subscribing = threading.Lock()
        self._subscription: int | None = None  # libvirt's number of it
        self._watchers: list[Watcher] = []
        self._stops: Counter[str] = Counter()
        self._stopped = threading.Condition()

    def call(self, what: str, act: Callable[[Any], Answer], seconds: float | None = None) -> Answer:
        """Return ``act(connection)``.

        what
            Begins the sentence when libvirt refuses: ``web could not be started``.
        seconds
            How long it may take; default: the timeout of a simple answer.

        Raises ``Unavailable`` when libvirt does not answer, ``Refused`` with its text when it says no.
        """
        libvirt, seconds, place = library(), seconds or self._timeout, self._place()

        def work() -> Answer:
            try:
                return act(self._connection(place))
            finally:
                self._places.put(place)  # not before: a call that hangs still takes its place

        try:
            return within(seconds, work)
        except TimeoutError:
            self._stuck = True
            raise self._silent(seconds) from None
        except libvirt.libvirtError as error:
            raise self._meaning(what, error) from None

    def _place(self) -> int:
        try:
            return self._places.get(timeout=WORK_SECONDS)
        except Empty:
            raise self._silent(WORK_SECONDS) from None

    def close(self) -> None:
        """Close all connections; one that hangs is left to its thread."""
        self._closed = True
        connections, self._open = self._open, {}
        for number, connection in connections.items():
            subscription = self._subscription if number == 0 else None
            self._close(connection, 0.1 if self._stuck else self._timeout, subscription)

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher(name, event, reason)`` called, by another thread, for each event of a guest."""
        self._subscribe()
        self._watchers.append(watcher)

    def stops(self, name: str) -> int:
        """Return how often a guest was seen to stop; from now on no stop is missed."""
        self._subscribe()
        return self._stops[name]

    def stops_after(self, name: str, before: int, seconds: float) -> bool:
        """Wait for a guest to stop; returns whether it was seen to stop more often than before."""
        with self._stopped:
            return self._stopped.wait_for(lambda: self._stops[name] != before, seconds)

    def _subscribe(self) -> None:
        """Ask for events, once, on the first connection; when it returns, none is missed any more."""

        def act(_: Any) -> int:
            lifecycle = library().VIR_DOMAIN_EVENT_ID_LIFECYCLE
            return int(self._connection(0).domainEventRegisterAny(None, lifecycle, self._event, None))

        with self._subscribing:
            if self._subscription is None:
                self._subscription = self.call("Events could not be asked for", act)

    def _event(self, _connection: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        name = domain.name()
        what = EVENTS[event] if event < len(EVENTS) else "unknown"
        reason = STOPS[detail] if what == "stopped" and detail < len(STOPS) else ""
        if what == "stopped":
            with self._stopped:
                self._stops[name] += 1
                self._stopped.notify_all()
        for watcher in tuple(self._watchers):  # another thread, or a watcher, may add one
            watcher(name, what, reason)

    def _connection(self, number: int) -> Any:
        with self._opening[number]:
            if number not in self._open:
                connection = self._connect()
                if self._closed:  # nobody waited for it
                    self._close(connection, self._timeout)
                    raise self._silent(self._timeout)
                self._open[number] = connection
            return self._open[number]

    def _connect(self) -> Any:
        libvirt = library()
        EVENT_LOOP.enter(libvirt)
        try:
            connection = libvirt.open(self._uri)
            connection.setKeepAlive(*KEEPALIVE)
        except libvirt.libvirtError as error:
            EVENT_LOOP.leave(libvirt)
            if not any(shutil.which(program, path=SYSTEM_PATH) for program in PROGRAMS):
                raise NotInstalled(
                    f"libvirt is not installed on this host ({' or '.join(PROGRAMS)}): "
                    "install the package libvirt-daemon-system or libvirt."
                ) from None
            raise Unavailable(f"libvirt ({self._uri}) does not answer: {_text(error)}.") from None
        return connection

    def _close(self, connection: Any, seconds: float, subscription: int | None = None) -> None:
        libvirt = library()

        def act() -> None:
            try:
                if subscription is not None:  # it holds the connection open
                    connection.domainEventDeregisterAny(subscription)
                connection.close()
            finally:
                EVENT_LOOP.leave(libvirt)

        with contextlib.suppress(TimeoutError, libvirt.libvirtError):
            within(seconds, act)  # one that hangs ends with its daemon, or when it answers again

    def _silent(self, seconds: float) -> Unavailable:
        return Unavailable(f"libvirt ({self._uri}) did not answer within {seconds:g} s.")

    def _meaning(self, what: str, error: Any) -> Error:
        if lost(error):
            return Unavailable(f"libvirt ({self._uri}) does not answer: {_text(error)}.")
        return Refused(f"{what}: {_text(error)}.")


def lost(error: Any) -> bool:
    """Return whether an error means that the connection is gone, not that libvirt said no."""
    return bool(error.get_error_domain() == library().VIR_FROM_RPC)


def _text(error: Any) -> str:
    """Return libvirt's message as a part of one sentence."""
    return " ".join(str(error.get_error_message() or error).split()).rstrip(".")

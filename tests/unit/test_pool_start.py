"""A round of starts, against guests and signs that are made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from corral.errors import Refused
from corral.pool.boot import Limits, Starter
from corral.pool.start import Inbox, Launch
from corral.progress import teller

LIMITS = Limits(start=2, max=2, timeout=30)
Happening = Callable[[str, "Guests"], None]


class Guests:
    """Guests that are ready once they run; what else happens at a start is up to the test."""

    def __init__(self, happening: Happening) -> None:
        self.inbox = Inbox()
        self.ready: set[str] = set()
        self.looked = threading.Event()
        self.happening = happening

    def start(self, name: str) -> None:
        self.happening(name, self)

    def fileno(self) -> int:
        return -1

    def look(self) -> set[str]:
        self.looked.set()
        return self.ready

    def expect(self, name: str) -> None:
        self.ready.add(name)

    def close(self) -> None:
        """Nothing is open."""


def launch(
    happening: Happening,
    *names: str,
    booting: tuple[str, ...] = (),
    ready: tuple[str, ...] = (),
    told: Callable[..., None] = lambda *_: None,
) -> Starter:
    guests = Guests(happening)
    guests.ready.update(ready)
    starter = Starter(names, booting, LIMITS, time.monotonic())
    Launch(starter, guests.start, guests, guests.inbox, told).run()
    guests.inbox.close()
    return starter


def events(*some: tuple[str, str]) -> Happening:
    """Return what puts events of the guest that starts into the inbox, as libvirt does."""

    def happen(name: str, guests: Guests) -> None:
        for event, why in some:
            guests.inbox.put(name, event, why)

    return happen


def test_guests_that_run_are_ready() -> None:
    starter = launch(events(("started", "")), "a", "b", "c")
    assert (starter.ready, starter.failures) == ({"a", "b", "c"}, {})


@pytest.mark.parametrize(
    "before",
    [("stopped", "shutdown"), ("stopped", "destroyed"), ("crashed", "")],
    ids=["it was powering off", "its remains were destroyed", "it crashed"],
)
def test_the_end_of_an_earlier_life_is_no_failure(before: tuple[str, str]) -> None:
    starter = launch(events(before, ("started", "")), "a")
    assert (starter.ready, starter.failures) == ({"a"}, {})


def test_a_guest_that_stops_while_it_is_started_has_failed() -> None:
    starter = launch(events(("started", ""), ("stopped", "crashed")), "a", "b")
    assert starter.failures == dict.fromkeys(("a", "b"), "stopped by itself (crashed)")


def test_a_sign_counts_once_the_guest_runs() -> None:
    """A guest that was paused has its lease all the time, and may still fail to go on."""

    def refuse(name: str, guests: Guests) -> None:
        guests.looked.clear()
        guests.inbox.put("", "sign")
        assert guests.looked.wait(60)
        raise Refused(f"{name} could not be started: no memory.")

    starter = launch(refuse, "a", ready=("a",))
    assert (starter.ready, starter.failures) == (set(), {"a": "could not be started: no memory"})


def test_a_sign_that_came_before_the_watch_is_seen() -> None:
    """Nothing tells of it any more: whoever waits for news waits until the guest is late."""
    ended = threading.Event()

    def run() -> None:
        assert launch(events(), booting=("a",), ready=("a",)).ready == {"a"}
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert ended.wait(LIMITS.timeout / 2)


def test_an_error_of_ours_is_not_swallowed() -> None:
    def fail(name: str, guests: Guests) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        launch(fail, "a")


def test_progress_is_told_as_events() -> None:
    sent: list[tuple[str, Any]] = []

    def send(tag: str, data: Any) -> bool:
        sent.append((tag, data))
        return True

    def happen(name: str, guests: Guests) -> None:
        if name == "b":
            raise Refused("b could not be started: no.")

    launch(happen, "a", "b", "c", told=teller(send, "corral/hv1/pool/web/progress"))
    assert {tag for tag, _ in sent} == {"corral/hv1/pool/web/progress"}
    done = [data["done"] for _, data in sent]
    assert done == sorted(done)
    last = sent[-1][1]
    assert (last["done"], last["total"]) == (2, 3)
    assert last["text"].startswith("0 booting, 0 waiting, 1 failed, width ")

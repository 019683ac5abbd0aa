"""The journal of an armed guard: what leads back, on disk before anything is changed.

There is one on a host at most. Whoever arms, confirms or takes back holds the lock, which the kernel frees
when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from corral.errors import Unavailable
from corral.guard import FOLDER, JOURNAL, LAST, LOCK, STAYING, WATCHDOG
from corral.guard.probes import Target
from corral.guard.process import Process, boot_id

LOCK_SECONDS = 10.0
PAUSE = 0.02  # flock(2) knows no timeout


@dataclass(frozen=True)
class Step:
    """One plan that was, or is about to be, carried out.

    product
        The product whose ``undo`` leads back.
    undo
        What that product needs to lead back.
    network
        Addresses and routes of the devices concerned, as they were.
    alone
        Whether no daemon is needed to lead back.
    """

    product: str
    undo: dict[str, Any]
    network: dict[str, Any]
    alone: bool = False


@dataclass(frozen=True)
class Journal:
    """An armed guard.

    identity
        Of this guard, and of no other on this host.
    name
        The state, or those that share it.
    steps
        What leads back, in the order of the plans.
    probes
        Who must answer.
    within
        Seconds between arming and taking back.
    until
        When it is taken back, in seconds of CLOCK_BOOTTIME of the boot it was armed in.
    reverted
        Why it was taken back already, while the run that armed it has still to hear of it.
    paths, environment
        Where Python finds this package, and what the daemons are found by.
    held
        Whether it waits for another state of the same run.
    """

    identity: str
    name: str
    steps: tuple[Step, ...]
    probes: tuple[Target, ...]
    within: int
    until: float
    run: Process
    boot: str = field(default_factory=boot_id)
    reverted: str = ""
    paths: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    held: bool = False

    @property
    def rebooted(self) -> bool:
        """Whether the host was started anew since it was armed."""
        return self.boot != boot_id()

    @property
    def running(self) -> bool:
        """Whether the run that armed it still lives."""
        return not self.rebooted and self.run.alive()

    @property
    def waits_for_us(self) -> bool:
        """Whether it is held, by this very run, for a state that is still to come."""
        return self.held and not self.reverted and not self.rebooted and self.run == Process.own()

    @property
    def left(self) -> float:
        """Seconds until it is taken back."""
        return self.until - now()

    def shown(self) -> dict[str, Any]:
        """Return it for the operator."""
        return {
            "name": self.name,
            "products": [step.product for step in self.steps],
            "probes": [str(one) for one in self.probes],
            "within": self.within,
            "left": 0 if self.rebooted else max(0, round(self.left)),
            "process": self.run.pid,
        }


def now() -> float:
    """Return the time since the start of this host, in seconds, with the time that it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read() -> Journal | None:
    """Return the armed guard; ``None`` if there is none."""
    data = _read(JOURNAL)
    if data is None:
        return None
    try:
        given = {
            "run": Process(**data["run"]),
            "steps": tuple(Step(**step) for step in data["steps"]),
            "probes": tuple(Target(**probe) for probe in data["probes"]),
            "paths": tuple(data["paths"]),
        }
        return Journal(**{**data, **given})
    except (KeyError, TypeError):
        raise Unavailable(f"{FOLDER / JOURNAL} is of another version of Corral.") from None


def last() -> dict[str, Any] | None:
    """Return what became of the last guard."""
    return _read(LAST)


def write(journal: Journal) -> None:
    """Have a journal on disk."""
    _write(JOURNAL, asdict(journal))


def mark_reverted(journal: Journal, why: str) -> Journal:
    """Have on disk that it was taken back, and leave the rest to the run that armed it."""
    marked = replace(journal, reverted=why)
    write(marked)
    return marked


def note(journal: Journal, outcome: str, why: str) -> None:
    """Write down what became of a guard, for the operator."""
    when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    _write(LAST, {"name": journal.name, "outcome": outcome, "why": why, "at": when})


def close(journal: Journal, outcome: str, why: str = "") -> None:
    """Disarm: note what became of it, and have the journal gone from the disk."""
    note(journal, outcome, why)
    with _saying("cannot be removed"):
        (FOLDER / JOURNAL).unlink(missing_ok=True)
        _sync(FOLDER)


def sweep() -> None:
    """Remove what a run left that was killed while it wrote; the lock must be held."""
    with _saying("cannot be swept"):
        for file in FOLDER.iterdir():
            if file.name not in (*STAYING, JOURNAL):
                file.unlink()


def _read(name: str) -> dict[str, Any] | None:
    with _saying("cannot be read"):
        try:
            text = (FOLDER / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
    try:
        return dict(json.loads(text))
    except ValueError:
        raise Unavailable(f"{FOLDER / name} is not a journal of Corral.") from None


def _write(name: str, data: dict[str, Any]) -> None:
    draft = FOLDER / f".{name}.new"
    with _saying("cannot be written"):
        with open(draft, "w", encoding="utf-8", opener=_private) as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(FOLDER / name)
        _sync(FOLDER)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _saying(what: str) -> Iterator[None]:
    """Turn an error of the system into a sentence."""
    try:
        yield
    except OSError as failed:
        raise Unavailable(f"{FOLDER} {what}: {failed.strerror}.") from failed


@contextlib.contextmanager
def locked(seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep everybody else from arming, confirming and taking back; ``Unavailable`` when it stays taken."""
    descriptor = _opened(LOCK)
    try:
        if not _taken(descriptor, seconds):
            raise Unavailable(f"{FOLDER / LOCK} has been held by another process for {seconds:g} s.")
        yield
    finally:
        os.close(descriptor)


def _opened(name: str) -> int:
    with _saying("cannot be used"):
        for folder in (FOLDER.parent, FOLDER):
            if not folder.is_dir():
                folder.mkdir(mode=0o700 if folder == FOLDER else 0o755, parents=True, exist_ok=True)
                _sync(folder.parent)
        return _private(str(FOLDER / name), os.O_RDWR | os.O_CREAT)


def _taken(descriptor: int, seconds: float, how: int = fcntl.LOCK_EX) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE)


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Be the watchdog of this host, known as such until this process ends; ``Unavailable`` beside another."""
    descriptor = _opened(WATCHDOG)
    try:
        if not _taken(descriptor, LOCK_SECONDS):
            raise Unavailable("There is another watchdog on this host.")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def watchdog() -> int:
    """Return the process id of the watchdog that lives; 0 if there is none."""
    try:
        descriptor = _private(str(FOLDER / WATCHDOG), os.O_RDWR)
    except FileNotFoundError:
        return 0
    try:
        # Shared, so that who only looks is never taken for the watchdog by another who looks.
        if _taken(descriptor, 0, fcntl.LOCK_SH):
            return 0
        return int(os.pread(descriptor, 20, 0) or b"0")
    finally:
        os.close(descriptor)

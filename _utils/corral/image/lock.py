"""One image at a time on a host: builds by oz race with each other over libvirt's storage pools."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from corral.errors import Unavailable

LOCK = Path("/run/corral/image.lock")
PATIENCE = 3600.0  # seconds to wait for another image
PAUSE = 0.5


@contextlib.contextmanager
def making(what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the host's lock while something is made or removed; the kernel frees it when we die.

    what
        What is made, for those who wait.
    patience
        Seconds to wait for it. Default: 3600.

    Raises ``Unavailable`` when it stays taken.
    """
    LOCK.parent.mkdir(mode=0o755, exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _wait(descriptor, patience)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{what} by process {os.getpid()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not taken(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace")
            raise Unavailable(f"{holder} is still being made after {patience:g} s of waiting.")
        time.sleep(PAUSE)  # flock has no time limit of its own


def busy() -> bool:
    """Whether an image is being made or removed right now."""
    try:
        descriptor = os.open(LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not taken(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def taken(descriptor: int, how: int) -> bool:
    """Take a lock on an open file unless another has it, and return whether that was done."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

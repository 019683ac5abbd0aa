"""One run at a time works on a pool: two would start each other's guests and sweep each other's files."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from corral.errors import Refused, Unavailable

FOLDER = Path("/run/corral/pool")


@contextlib.contextmanager
def locked(pool: str) -> Iterator[None]:
    """Hold the lock of a pool, which ends with this process; raises ``Refused`` when another run has it."""
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(FOLDER / f"{pool}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{FOLDER} could not be used: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"pools.{pool}: another run is at work on this pool.") from None
        yield
    finally:
        os.close(descriptor)

"""Wait for leases by inotify(7), which the standard library does not wrap."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from pathlib import Path

from corral.errors import Unavailable

IN_MODIFY, IN_MOVED_TO, IN_CREATE = 0x2, 0x80, 0x100
EVENT = struct.Struct("iIII")  # wd, mask, cookie, length of the name that follows

_libc = ctypes.CDLL(None, use_errno=True)


class LeaseWatch:
    """A descriptor that is readable when the file of leases has changed.

    The folder is watched, not the file: dnsmasq makes the file when it first starts.

    file
        The lease file; its folder must be there.
    """

    def __init__(self, file: Path) -> None:
        self._name = os.fsencode(file.name)
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise Unavailable(f"{file} cannot be watched: {os.strerror(ctypes.get_errno())}.")
        mask = IN_MODIFY | IN_MOVED_TO | IN_CREATE
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(file.parent), mask) < 0:
            reason = os.strerror(ctypes.get_errno())
            self.close()
            raise Unavailable(f"{file.parent} cannot be watched: {reason}.")

    def fileno(self) -> int:
        return self._descriptor

    def drain(self) -> bool:
        """Take what has happened off the descriptor and return whether it was to the leases."""
        changed = False
        while True:
            try:
                events = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return changed
            while events:
                *_, length = EVENT.unpack_from(events)
                name = events[EVENT.size : EVENT.size + length].rstrip(b"\0")
                changed = changed or name in (self._name, b"")  # without a name: events were lost
                events = events[EVENT.size + length :]

    def wait(self, timeout: float) -> bool:
        """Return True as soon as the leases change, False after ``timeout`` seconds without a change."""
        deadline = time.monotonic() + timeout
        ready = select.poll()
        ready.register(self._descriptor, select.POLLIN)
        while True:
            if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return False
            if self.drain():
                return True

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> LeaseWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

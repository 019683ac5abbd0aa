"""libvirt's event loop, in a thread of this process while a connection is open.

Without it libvirt delivers no events and notices no dead daemon (https://libvirt.org/html/libvirt-libvirt-event.html).
The thread ends with the last connection, so that Salt may fork between two states.
"""

from __future__ import annotations

import os
import threading
from typing import Any

FOREVER = -1
CALLBACK_SECONDS = 5  # what somebody's callback gets to return before the thread is left to itself


class EventLoop:
    """One for a process; ``enter`` before a connection is opened, ``leave`` when it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._process = 0
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._timer = FOREVER

    def enter(self, libvirt: Any) -> None:
        """Have the loop run."""
        with self._lock:
            if self._process != os.getpid():  # a forked child inherits neither the thread nor its users
                libvirt.virEventRegisterDefaultImpl()
                self._process, self._users = os.getpid(), 0
            self._users += 1
            if self._users == 1:
                self._ending = threading.Event()
                self._timer = libvirt.virEventAddTimeout(FOREVER, lambda *_: None, None)
                self._thread = threading.Thread(
                    target=self._run, args=(libvirt, self._ending), name="libvirt events", daemon=True
                )
                self._thread.start()

    def leave(self, libvirt: Any) -> None:
        """End the loop when nobody is left in it."""
        with self._lock:
            self._users -= 1
            if self._users or self._thread is None:
                return
            self._ending.set()
            libvirt.virEventUpdateTimeout(self._timer, 0)  # wakes the loop
            self._thread.join(CALLBACK_SECONDS)
            libvirt.virEventRemoveTimeout(self._timer)

    @staticmethod
    def _run(libvirt: Any, ending: threading.Event) -> None:
        while not ending.is_set():
            libvirt.virEventRunDefaultImpl()

"""Named network namespaces, as ip-netns(8) keeps them, and entering one (setns(2))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from corral.errors import Unavailable

Result = TypeVar("Result")

PLACE = Path("/run/netns")
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def names() -> list[str]:
    """Return the network namespaces of this host that have a name."""
    found = os.listdir(PLACE) if PLACE.is_dir() else []
    return sorted(name for name in found if identity(name))


def identity(name: str | None) -> str:
    """Return what tells a network namespace from all others at this time; empty if there is none of the name.

    name
        ``None`` means the one that this process is in: the host's own.
    """
    own = os.stat("/proc/self/ns/net")
    try:
        one = os.stat(PLACE / name) if name else own
    except FileNotFoundError:
        return ""
    # A file on which nothing is mounted is what a removal has left.
    return f"{one.st_dev}:{one.st_ino}" if one.st_dev == own.st_dev else ""


def enter(name: str | None) -> None:
    """Bring the calling thread, and no other, into a network namespace; it stays there until it ends.

    Raises ``Unavailable`` when there is none of that name.
    """
    if name is None:
        return
    with opened(name) as descriptor:
        if _libc.setns(descriptor, CLONE_NEWNET):
            raise Unavailable(f"Network namespace {name!r}: {os.strerror(ctypes.get_errno())}.")


@contextlib.contextmanager
def opened(name: str | None) -> Iterator[int]:
    """Open a network namespace; the descriptor is how the kernel is told which one is meant.

    Raises ``Unavailable`` when there is none of that name.
    """
    if not identity(name):
        raise Unavailable(f"There is no network namespace {name!r} on this host.")
    descriptor = os.open(PLACE / name if name else "/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def inside(name: str | None, work: Callable[[], Result]) -> Result:
    """Do a piece of work that ends at once, such as making a socket, in a network namespace."""
    if name is None:
        return work()
    done: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            enter(name)
            done.append(work())
        except BaseException as error:  # handed over to the thread that asks
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def command(name: str | None, *argv: str) -> list[str]:
    """Return the arguments that run a program in a network namespace (ip-netns(8))."""
    return ["ip", "netns", "exec", name, *argv] if name else list(argv)

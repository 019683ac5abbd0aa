"""The network namespaces of this host, and a look into each."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from corral.errors import Unavailable
from corral.topology.netlink import Netlink
from corral.topology.seen import Namespace

NAMED = Path("/run/netns")  # ip-netns(8)
OWN = Path("/proc/self/ns/net")
CLONE_NEWNET = 0x40000000


Complete = Callable[[list[Namespace]], bool]


def look(seconds: float, complete: Complete) -> tuple[list[Namespace], list[str]]:
    """Return the namespaces of this host, its own first, and what could not be looked at, in sentences.

    complete
        Told what is known so far: whether nothing is looked for that may be in a namespace without a name.
        Only then are those of all processes looked at.
    """
    notes: list[str] = []
    places = {_identity(OWN): ("", OWN)}
    places |= {key: (path.name, path) for path in _named() if (key := _identity(path)) and key not in places}
    seen = _look(places, seconds, notes)
    if not complete(seen):
        more = {key: place for key, place in _of_processes() if key not in places}
        seen = _look(places | more, seconds, notes) if more else seen
    return seen, sorted(set(notes))


def _look(places: dict[Any, tuple[str, Path]], seconds: float, notes: list[str]) -> list[Namespace]:
    with ExitStack() as stack:
        opened = {}
        for name, path in places.values():
            try:
                opened[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, opened[name])
            except OSError as failed:
                notes.append(f"network namespace {name}: {failed.strerror}")
        found = []
        for name, descriptor in opened.items():
            try:
                netlink = _opened(descriptor if name else None)
                stack.push(netlink)
                netlink.socket.settimeout(seconds)
                found.append(_inside(name, netlink, opened))
            except (OSError, Unavailable) as failed:
                if not name:
                    raise Unavailable(str(failed)) from None
                notes.append(f"network namespace {name}: {failed}")
        return found


def _inside(name: str, netlink: Netlink, opened: dict[str, int]) -> Namespace:
    devices = netlink.devices()
    wanted = {one["link_namespace"] for one in devices} - {None}
    ids = {}
    if wanted:
        numbers = {other: netlink.namespace_id(descriptor) for other, descriptor in opened.items()}
        ids = {number: other for other, number in numbers.items() if number in wanted and number is not None}
    return Namespace(name, devices, netlink.neighbours(), netlink.forwarding(), ids)


def _named() -> list[Path]:
    return sorted(NAMED.iterdir()) if NAMED.is_dir() else []


def _of_processes() -> Iterator[tuple[Any, tuple[str, Path]]]:
    """Return one process for each namespace that some process is in."""
    for process in sorted(Path("/proc").iterdir(), key=lambda path: path.name.rjust(20)):
        path = process / "ns" / "net"
        if process.name.isdecimal() and (key := _identity(path)):
            yield key, (f"pid {process.name}", path)


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def _opened(descriptor: int | None) -> Netlink:
    """Open a netlink socket in a namespace: by a thread that goes there, and ends there."""
    results: list[Netlink | OSError] = []

    def work() -> None:
        try:
            if descriptor is not None:
                _enter(descriptor)
            netlink = Netlink()
            netlink.__enter__()
            results.append(netlink)
        except OSError as failed:
            results.append(failed)

    thread = threading.Thread(target=work, name="network namespace")
    thread.start()
    thread.join()
    (result,) = results
    if isinstance(result, OSError):
        raise result
    return result


def _enter(descriptor: int) -> None:
    """Move this thread into a namespace (setns(2)); ``os.setns`` is there from Python 3.12 on."""
    if hasattr(os, "setns"):
        os.setns(descriptor, CLONE_NEWNET)
        return
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

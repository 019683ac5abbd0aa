"""The guests' disks: copy-on-write overlays of depth 1 on the base of an image, made many at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corral.errors import Refused, Unavailable
from corral.image.disk import fsync
from corral.image.programs import run
from corral.image.store import Base
from corral.qcow2 import backing_path, header_of

PART = ".part"  # the end of a name that is given up when the disk is whole
THREADS = 4  # more of them make no more disks a second; qemu-img is waited for, not computed with


def bases(directory: str, paths: Iterable[str]) -> dict[str, str]:
    """Return the base image of every disk in a folder and of some others, by path; ``""`` for none.

    What does not exist is left out. Only headers are read: no process is started.

    Raises ``Unavailable`` when a disk cannot be read.
    """
    try:
        here = [entry.path for entry in os.scandir(directory) if entry.name.endswith(".qcow2")]
    except FileNotFoundError:
        here = []
    except OSError as error:
        raise Unavailable(f"{directory} could not be read: {error.strerror}.") from None
    found = {path: _base(path) for path in sorted({*here, *paths})}
    return {path: base for path, base in found.items() if base is not None}


def _base(path: str) -> str | None:
    try:
        header = header_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} could not be read: {error.strerror}.") from None
    except ValueError as wrong:
        raise Refused(f"{path} {wrong}.") from None
    if header is None or header.backing is None:
        return ""
    return backing_path(path, header.backing) or ""


def make(base: Base, size: int, paths: Sequence[str]) -> None:
    """Make an empty overlay at each path; none is there before it is whole.

    base
        The image below; its format is written into the overlays, so that it is never guessed.
    size
        What the guests see, in bytes.

    Raises ``Refused`` with the text of qemu-img.
    """
    if not paths:
        return
    for folder in {os.path.dirname(path) for path in paths}:
        os.makedirs(folder, mode=0o711, exist_ok=True)
        _sweep(folder)
    with ThreadPoolExecutor(THREADS) as workers:
        list(workers.map(lambda path: _make(base, size, path), paths))
    for folder in {os.path.dirname(path) for path in paths}:
        fsync(Path(folder))


def _make(base: Base, size: int, path: str) -> None:
    folder, name = os.path.split(path)
    part = f"{folder}/.{name}.{os.getpid()}{PART}"
    # -u: the base need not be opened, since format and size are known
    backing = ("-u", "-F", base.format, "-b", base.path)
    run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, part, str(size)], seconds=60)
    fsync(Path(part))
    os.rename(part, path)


def _sweep(folder: str) -> None:
    """Remove what a killed run left; nobody else works here, since a pool is worked on under its lock."""
    for entry in os.scandir(folder):
        if entry.name.startswith(".") and entry.name.endswith(PART):
            os.unlink(entry.path)


def remove(paths: Iterable[str], directory: str) -> None:
    """Remove disks, and the pool's folder when nothing is left in it."""
    for path in paths:
        try:
            Path(path).unlink(missing_ok=True)
        except OSError as error:
            raise Refused(f"{path} could not be removed: {error.strerror}.") from None
    with contextlib.suppress(OSError):
        os.rmdir(directory)

"""The guests' disks: copy-on-write overlays of depth 1 on the base of an image, made many at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from corral.errors import Refused, Unavailable
from corral.image.disk import fsync
from corral.image.programs import run
from corral.image.store import Base
from corral.qcow2 import backing_path, header_of

PART = re.compile(r"\..+\.\d+\.part")  # a name that is given up when the disk is whole
MODE = 0o711  # of the folders: QEMU, which is not root, passes through
THREADS = 4  # more of them make no more disks a second; qemu-img is waited for, not computed with


def bases(directory: str, paths: Iterable[str]) -> dict[str, str]:
    """Return the base image of every disk in a folder and of some others, by path; ``""`` for none.

    What does not exist is left out. Only headers are read: no process is started.

    Raises ``Unavailable`` when a disk cannot be read.
    """
    try:
        here = [entry.path for entry in os.scandir(directory) if entry.name.endswith(".qcow2")]
    except (FileNotFoundError, NotADirectoryError):
        here = []
    except OSError as error:
        raise Unavailable(f"{directory} could not be read: {error.strerror}.") from None
    found = {path: _base(path) for path in sorted({*here, *paths})}
    return {path: base for path, base in found.items() if base is not None}


def _base(path: str) -> str | None:
    try:
        header = header_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unavailable(f"{path} could not be read: {error.strerror}.") from None
    except ValueError as wrong:
        raise Refused(f"{path} {wrong}.") from None
    if header is None or header.backing is None:
        return ""
    return backing_path(path, header.backing) or ""


def below(directory: str, disks: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the overlays in a folder that lie below others, by the other's path, the uppermost first.

    disks
        The image below each disk, by the disk's path.

    An external snapshot leaves the disk as it was below a new one.
    """
    inside = f"{os.path.realpath(directory)}/"
    chains: dict[str, tuple[str, ...]] = {}
    for path, lower in disks.items():
        chain = [lower]
        while chain[-1].startswith(inside) and chain[-1] not in chain[:-1]:
            chain.append(_base(chain[-1]) or "")
        chains[path] = tuple(image for image, base in pairwise(chain) if base)
    return {path: chain for path, chain in chains.items() if chain}


def make(base: Base, size: int, paths: Sequence[str]) -> None:
    """Make an empty overlay at each path; none is there before it is whole.

    base
        The image below; its format is written into the overlays, so that it is never guessed.
    size
        What the guests see, in bytes.

    Raises ``Refused`` when there is something at a path already, or with the text of qemu-img.
    """
    directories = sorted({os.path.dirname(path) for path in paths})
    for directory in directories:
        folder(directory)
    with ThreadPoolExecutor(THREADS) as workers:
        list(workers.map(lambda path: _make(base, size, path), paths))
    for directory in directories:
        with _refusing(f"{directory} could not be written"):
            fsync(Path(directory))


def folder(directory: str) -> None:
    """Make a folder and those above it, open for QEMU to pass through whatever the umask."""
    with _refusing(f"{directory} could not be made"):
        for path in (*reversed(Path(directory).parents), Path(directory)):
            if not path.is_dir():
                path.mkdir(exist_ok=True)
                path.chmod(MODE)


def _make(base: Base, size: int, path: str) -> None:
    directory, name = os.path.split(path)
    part = f"{directory}/.{name}.{os.getpid()}.part"
    # -u: the base need not be opened, since format and size are known
    backing = ("-u", "-F", base.format, "-b", base.path)
    with _refusing(f"{path} could not be made"):
        try:
            run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, part, str(size)], seconds=60)
            fsync(Path(part))
            os.link(part, path)  # unlike a rename, it leaves alone what is there
        finally:
            Path(part).unlink(missing_ok=True)


def sweep(directory: str) -> None:
    """Remove what a killed run left; nobody else works here, since a pool is worked on under its lock."""
    with _refusing(f"{directory} could not be cleaned up"), suppress(FileNotFoundError, NotADirectoryError):
        for entry in os.scandir(directory):
            if PART.fullmatch(entry.name):
                os.unlink(entry.path)


def remove(paths: Iterable[str], directory: str) -> None:
    """Remove disks, and the pool's folder when nothing is left in it."""
    for path in paths:
        with _refusing(f"{path} could not be removed"):
            Path(path).unlink(missing_ok=True)
    with suppress(OSError):
        os.rmdir(directory)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Say what the system refuses."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{what}: {error.strerror}.") from None

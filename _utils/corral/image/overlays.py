"""Who uses an image: overlays by the header of each file, guests by libvirt's own files.

No daemon is asked and no program started, so a hundred overlays take milliseconds.
"""

from __future__ import annotations

import os
import stat
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.errors import Unavailable
from corral.qcow2 import backing_path, header_of

# Defined and running guests, as libvirt keeps them (/etc: definitions, /run: with what is attached now).
GUESTS = ("/etc/libvirt/qemu", "/run/libvirt/qemu", "/etc/libvirt/lxc", "/run/libvirt/lxc")
POOLS = ("/etc/libvirt/storage", "/run/libvirt/storage")  # storage pools, likewise

Uses = dict[str, tuple[str, ...]]  # real path of a file → paths of overlays and names of guests that use it


@dataclass(frozen=True)
class Found:
    """Who uses what.

    used
        Who uses which file directly; with a chain of overlays, each file has the next one as its user.
    unknown
        A sentence, without its full stop, for each thing that is used and that cannot be asked what it needs.
    """

    used: Uses
    unknown: tuple[str, ...] = ()

    def of(self, path: str) -> tuple[str, ...]:
        """Return who uses a file."""
        return self.used.get(os.path.realpath(path), ())


@dataclass(frozen=True)
class Disk:
    """A file that the definition of a guest names.

    path
        Where it is; for a volume of an unknown pool, words for it.
    raw
        Whether its format is raw, so that it needs no other file.
    below
        Whether it is not the guest's disk itself, but below it or a copy that is being made of it.
    """

    guest: str
    path: str
    raw: bool
    below: bool


def uses(search: Iterable[str], guests: Iterable[str] = GUESTS) -> Uses:
    """Return who uses which file, as far as that is known; arguments and errors are those of ``find``."""
    return find(search, guests).used


def find(
    search: Iterable[str],
    guests: Iterable[str] = GUESTS,
    pools: Iterable[str] = POOLS,
    bases: str = "",
) -> Found:
    """Return who uses which file, and what is not known of that.

    search
        Folders in which overlays may be, with all that is below them.
    guests
        Folders with libvirt's definitions; their disks are looked at wherever they are.
    pools
        Folders with libvirt's storage pools, which the definitions of guests may name.
    bases
        A folder whose images need no other file, so that it matters to nobody when one is not there.

    Raises ``Unavailable`` when something cannot be read: it might be an overlay.
    """
    graph = _Graph()
    disks = list(_disks(guests, pools))
    for disk in disks:
        if not disk.below:
            graph.used[os.path.realpath(disk.path)].add(f"guest {disk.guest}")
        graph.follow(disk.path, f"guest {disk.guest}", disk.raw)
    visited: set[tuple[int, int]] = set()
    for top in search:
        for path in _files(top, visited):
            graph.follow(path, path)
    for disk in disks:
        if disk.below and os.path.realpath(disk.path) not in graph.used:
            graph.used[os.path.realpath(disk.path)].add(f"guest {disk.guest}")
    return graph.found(bases)


class _Graph:
    """What is known so far."""

    def __init__(self) -> None:
        self.used: dict[str, set[str]] = defaultdict(set)
        self.lost: dict[str, set[str]] = defaultdict(set)
        self.seen: set[str] = set()

    def follow(self, path: str, user: str, raw: bool = False) -> None:
        """Note what an image is an overlay of, down to the last file of the chain."""
        real = os.path.realpath(path)
        while real not in self.seen:
            try:
                backing = _backing(real, raw)
            except (FileNotFoundError, NotADirectoryError):
                if not raw:
                    self.lost[real if path.startswith("/") else path].add(user)
                return
            if not raw:  # another guest may take the same device for an overlay
                self.seen.add(real)
            if backing is None:
                return
            self.used[backing].add(real)
            path, real, user, raw = backing, backing, real, False

    def found(self, bases: str) -> Found:
        known = os.path.realpath(bases) if bases else ""
        unknown = [
            f"{user} uses {path}, which is not there now: what it needs is not known"
            for path, users in sorted(self.lost.items())
            for user in sorted(users)
            # What went while we looked needs nothing any more.
            if os.path.dirname(path) != known and (user.startswith("guest ") or os.path.lexists(user))
        ]
        return Found({path: tuple(sorted(users)) for path, users in self.used.items()}, tuple(unknown))


def _backing(path: str, raw: bool) -> str | None:
    """Return what an image is an overlay of; ``None`` when it is none, or none that this host has."""
    try:
        mode = os.stat(path).st_mode
        # A drive without a medium must not be opened; what QEMU takes for raw is no overlay.
        if not stat.S_ISREG(mode) and (raw or not stat.S_ISBLK(mode)):
            return None
        header = header_of(path)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise Unavailable(f"{path} could not be read to see whether it is an overlay: {error.strerror}.")
    except ValueError:
        return None  # no program can use such a file
    return None if header is None or header.backing is None else backing_path(path, header.backing)


def _files(top: str, visited: set[tuple[int, int]]) -> Iterator[str]:
    """Yield all files below a folder, through symbolic links, too, and no folder twice."""

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise Unavailable(f"{error.filename} could not be searched for overlays: {error.strerror}.")

    for folder, below, names in os.walk(top, onerror=stop, followlinks=True):
        try:
            status = os.stat(folder)
        except OSError as error:
            stop(error)
            continue
        if (status.st_dev, status.st_ino) in visited:
            below.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        yield from (os.path.join(folder, name) for name in names)


def _disks(guests: Iterable[str], pools: Iterable[str]) -> Iterator[Disk]:
    targets: dict[str, str] | None = None
    for root in _definitions(guests, "to see which disks its guest has"):
        guest = root if root.tag == "domain" else root.find("domain")
        if guest is None:
            continue
        if targets is None and guest.find("./devices//source[@volume]") is not None:
            targets = dict(_targets(pools))
        yield from _disks_of(guest, targets or {})


def _definitions(folders: Iterable[str], why: str) -> Iterator[ET.Element]:
    for folder in folders:
        for file in sorted(Path(folder).glob("*.xml")):
            try:
                yield ET.fromstring(file.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ET.ParseError) as error:
                raise Unavailable(f"{file} could not be read {why}: {error}.")


def _disks_of(guest: ET.Element, targets: dict[str, str]) -> Iterator[Disk]:
    name = guest.findtext("name") or "without a name"
    for device in [*guest.findall("./devices/disk"), *guest.findall("./devices/filesystem")]:
        for part in device.iter():
            source = part.find("source")
            path = _path(source, targets) if source is not None else None
            if path:
                raw = _format(part) == "raw" and path.startswith("/")
                yield Disk(name, path, raw, below=part is not device)


def _path(source: ET.Element, targets: dict[str, str]) -> str | None:
    """Return the path of a source; ``None`` when it is no file or device of this host."""
    pool, volume = source.get("pool"), source.get("volume")
    if pool is None or volume is None:
        return source.get("file") or source.get("dev")
    if pool not in targets:
        return f"the volume {volume} of the unknown storage pool {pool}"
    return f"{targets[pool]}/{volume}" if targets[pool] else None


def _format(part: ET.Element) -> str | None:
    """Return the format of a disk (driver type), of a file below it, and of a container's file system."""
    driver = part.find("driver")
    if driver is not None:
        return driver.get("format") or driver.get("type")
    below = part.find("format")
    return None if below is None else below.get("type")


def _targets(folders: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each storage pool and its folder; an empty one for a pool without a folder."""
    for root in _definitions(folders, "to see where its volumes are"):
        pool = root if root.tag == "pool" else root.find("pool")
        if pool is not None:
            yield pool.findtext("name") or "", pool.findtext("./target/path") or ""

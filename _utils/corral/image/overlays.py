"""Who uses an image: overlays by the header of each file, guests by libvirt's own files.

No daemon is asked and no program started, so a hundred overlays take milliseconds.
"""

from __future__ import annotations

import os
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from corral.errors import Unavailable
from corral.qcow2 import backing_path, header_of

# Defined and running guests, as libvirt keeps them (/etc: definitions, /run: with what is attached now).
GUESTS = ("/etc/libvirt/qemu", "/run/libvirt/qemu", "/etc/libvirt/lxc", "/run/libvirt/lxc")

Uses = dict[str, tuple[str, ...]]  # real path of a file → paths of overlays and names of guests that use it


def uses(search: Iterable[str], guests: Iterable[str] = GUESTS) -> Uses:
    """Return who uses which file.

    search
        Folders in which overlays may be, with all that is below them.
    guests
        Folders with libvirt's definitions; their disks are looked at wherever they are.

    Raises ``Unavailable`` when something cannot be read: it might be an overlay.
    """
    found: dict[str, set[str]] = {}
    seen: set[str] = set()
    for guest, disk in _disks(guests):
        found.setdefault(os.path.realpath(disk), set()).add(f"guest {guest}")
        _note(disk, seen, found)
    for top in search:
        for path in _files(top):
            _note(path, seen, found)
    return {path: tuple(sorted(users)) for path, users in found.items()}


def _note(path: str, seen: set[str], found: dict[str, set[str]]) -> None:
    real = os.path.realpath(path)
    if real in seen:
        return
    seen.add(real)
    backing = _backing(real)
    if backing is not None:
        found.setdefault(backing, set()).add(real)


def _backing(path: str) -> str | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        header = header_of(path)
    except FileNotFoundError:
        return None  # it went while we looked
    except OSError as error:
        raise Unavailable(f"{path} could not be read to see whether it is an overlay: {error.strerror}.")
    except ValueError:
        return None  # no program can use such a file
    return None if header is None or header.backing is None else backing_path(path, header.backing)


def _files(top: str) -> Iterator[str]:
    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise Unavailable(f"{error.filename} could not be searched for overlays: {error.strerror}.")

    for folder, _, names in os.walk(top, onerror=stop):
        yield from (os.path.join(folder, name) for name in names)


def _disks(folders: Iterable[str]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for file in sorted(Path(folder).glob("*.xml")):
            try:
                root = ET.fromstring(file.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ET.ParseError) as error:
                raise Unavailable(f"{file} could not be read to see which disks its guest has: {error}.")
            guest = root if root.tag == "domain" else root.find("domain")
            if guest is not None:
                yield from _disks_of(guest)


def _disks_of(guest: ET.Element) -> Iterator[tuple[str, str]]:
    name = guest.findtext("name") or "without a name"
    for source in guest.findall("./devices/disk/source"):
        path = source.get("file")
        if path:
            yield name, path

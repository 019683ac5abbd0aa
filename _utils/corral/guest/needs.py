"""What a guest needs of its host beside libvirt: bridges, and the files of its disks."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from corral.errors import Refused, Unavailable
from corral.guest.host import Host
from corral.qcow2 import backing_path, header_of


def lacking(fields: Mapping[str, Any], where: str, disks: bool = True) -> tuple[str, ...]:
    """Return a sentence for each bridge, file or folder that a guest names and the host has not.

    fields
        The guest's fields.
    where
        The path that the sentences begin with.
    disks
        Whether its disks must be there already.
    """
    return tuple(_lacking(fields, where, disks))


def _lacking(fields: Mapping[str, Any], where: str, disks: bool) -> Iterator[str]:
    for number, nic in enumerate(fields.get("nics") or ()):
        if problem := _bridge(nic["bridge"], nic["switch"]):
            yield f"{where}.nics[{number}].bridge: {problem}."
    for number, disk in enumerate(fields.get("disks") or () if disks else ()):
        if not os.path.isfile(disk["path"]) and not _is_block_device(disk["path"]):
            yield f"{where}.disks[{number}].path: there is no disk image {disk['path']}."
    log = fields.get("console_log")
    if log and not os.path.isdir(os.path.dirname(log)):
        yield f"{where}.console_log: there is no folder {os.path.dirname(log)}."


def _bridge(name: str, switch: str) -> str:
    """Say what is wrong with a bridge. Open vSwitch's bridges, too, are interfaces of the host."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return f"there is no bridge {name} on this host"
    is_linux = os.path.isdir(f"/sys/class/net/{name}/bridge")
    if switch == "linux" and not is_linux:
        return f"{name} is not a Linux bridge (switch: linux)"
    if switch == "ovs" and is_linux:
        return f"{name} is a Linux bridge, not one of Open vSwitch (switch: ovs)"
    return ""


def _is_block_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def missing(files: Iterable[str]) -> frozenset[str]:
    """Return those of some files that are not there."""
    return frozenset(file for file in files if not os.path.lexists(file))


def undeletable(doomed: Iterable[str], host: Host, name: str) -> tuple[str, ...]:
    """Return a sentence for each file that must not be deleted with a guest.

    Deleting an image loses all overlays on it; neither libvirt nor qemu-img looks. Overlays are looked
    for among the disks of other guests and in every folder with disks: kept ones have no guest.
    """
    doomed = frozenset(doomed)
    if not doomed:
        return ()
    disks = {file for found in host.guests.values() for file in found.files}
    folders = {os.path.dirname(file) for file in disks | doomed}
    candidates = (disks | {file for folder in folders for file in _regular(folder)}) - doomed
    bases = {base: file for file in sorted(candidates) if (base := _base(file))}
    return tuple(_undeletable(sorted(doomed), bases, name))


def _regular(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"{folder} could not be searched for overlays: {error.strerror}.") from None


def _undeletable(doomed: Iterable[str], bases: Mapping[str, str], name: str) -> Iterator[str]:
    for file in doomed:
        if overlay := bases.get(os.path.realpath(file)):
            yield f"guests.{name}.disks: {file} is the base of {overlay} and is not deleted."
        elif os.path.lexists(file) and not stat.S_ISREG(os.lstat(file).st_mode):
            yield f"guests.{name}.disks: {file} is not a regular file and is not deleted."


def _base(path: str) -> str | None:
    """Return the real path of the image that an image is an overlay of, if it is one.

    Raises ``Unavailable`` when it cannot be read: it might be an overlay.
    """
    try:
        header = header_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(
            f"{path} could not be read to see whether it is an overlay: {error.strerror}."
        ) from None
    except ValueError:
        return None  # no program can use such a file
    return None if header is None or header.backing is None else backing_path(path, header.backing)


def delete(path: str) -> None:
    """Delete a disk image; it may be gone already."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{path} could not be deleted: {error.strerror}.") from None

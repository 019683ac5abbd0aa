"""What a guest needs of its host beside libvirt: bridges, and the files of its disks."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from corral.errors import Refused, Unavailable
from corral.qcow2 import base_of

NET = Path("/sys/class/net")
File: TypeAlias = tuple[int, int] | str  # device and inode


def lacking(fields: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return a sentence for each bridge, file or folder that a guest names and the host has not.

    fields
        The guest's fields.
    where
        The path that the sentences begin with.
    """
    return tuple(_lacking(fields, where))


def _lacking(fields: Mapping[str, Any], where: str) -> Iterator[str]:
    for number, nic in enumerate(fields.get("nics") or ()):
        if problem := _bridge(nic["bridge"], nic["switch"]):
            yield f"{where}.nics[{number}].bridge: {problem}."
    for number, disk in enumerate(fields.get("disks") or ()):
        if not os.path.isfile(disk["path"]) and not _is_block_device(disk["path"]):
            yield f"{where}.disks[{number}].path: there is no disk image {disk['path']}."
    log = fields.get("console_log")
    if log and not os.path.isdir(os.path.dirname(log)):
        yield f"{where}.console_log: there is no folder {os.path.dirname(log)}."


def _bridge(name: str, switch: str) -> str:
    """Return what is wrong with a bridge. Open vSwitch's bridges, too, are interfaces of the host."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return f"there is no bridge {name} on this host"
    is_linux = (NET / name / "bridge").is_dir()
    if switch == "linux":
        return "" if is_linux else f"{name} is not a Linux bridge (switch: linux)"
    if switch != "ovs":
        return ""  # a kind that nobody can declare
    if is_linux:
        return f"{name} is a Linux bridge, not one of Open vSwitch (switch: ovs)"
    return _no_bridge(NET / name)


def _no_bridge(device: Path) -> str:
    """Return why a device is no bridge of Open vSwitch: these have no hardware and are ports of nothing."""
    if (device / "device").exists():
        return f"{device.name} is a NIC, not a bridge"
    master = device / "master"
    if master.exists() and "DEVTYPE=vrf" not in (master / "uevent").read_text():  # a VRF takes bridges, too
        return f"{device.name} is a port of {master.resolve().name}, not a bridge"
    return ""


def _is_block_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


def missing(files: Iterable[str]) -> frozenset[str]:
    """Return those of some files that are not there."""
    return frozenset(file for file in files if not os.path.lexists(file))


def undeletable(doomed: Collection[str], used: Mapping[str, Collection[str]], name: str) -> tuple[str, ...]:
    """Return a sentence for each disk that must not be deleted with a guest.

    doomed
        The paths of the disks.
    used
        The files of every guest, by its name.
    name
        The guest that goes.

    Deleting an image loses all overlays on it; neither libvirt nor qemu-img looks. Overlays are looked
    for among the disks of other guests and in every folder with disks: kept ones have no guest. Two
    paths may lead to one file (a link, a bind mount), so files are compared, not paths.
    """
    users = {_file(path): other for other in used if other != name for path in used[other]}
    disks = {*doomed, *(path for paths in used.values() for path in paths)}
    going = {_file(path) for path in doomed}
    staying = {path for path in disks | _beside(disks) if _file(path) not in going}
    return tuple(_undeletable(sorted(doomed), users, _bases(sorted(staying)), name))


def _undeletable(
    doomed: Iterable[str], users: Mapping[File, str], bases: Mapping[File, str], name: str
) -> Iterator[str]:
    for path in doomed:
        where, file = f"guests.{name}.disks: {path}", _file(path)
        if file in bases:
            yield f"{where} is the base of {bases[file]} and is not deleted."
        elif file in users:
            yield f"{where} is also a disk of {users[file]} and is not deleted."
        elif os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            yield f"{where} is not a regular file and is not deleted."


def _file(path: str) -> File:
    """Return what tells the file at a path from every other; of one that is not there, its path."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        raise _unread(path, error) from None
    return status.st_dev, status.st_ino


def _beside(disks: Iterable[str]) -> set[str]:
    """Return the regular files in the folders of some disks, by the path given and by the real one."""
    folders = {os.path.dirname(path) for disk in disks for path in (disk, os.path.realpath(disk))}
    return {file for folder in folders for file in _regular(folder)}


def _regular(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Unavailable(f"{folder} could not be searched for overlays: {error.strerror}.") from None


def _bases(images: Iterable[str]) -> dict[File, str]:
    """Return every file that is below one of some images, with the overlay right above it."""
    found: dict[File, str] = {}
    for image in images:
        overlay = image
        while (base := _base(overlay)) and _file(base) not in found:
            found[_file(base)] = overlay
            overlay = base
    return found


def _base(path: str) -> str | None:
    """Return the image that an image is an overlay of, if it is one.

    Raises ``Unavailable`` when it cannot be read: it might be an overlay.
    """
    try:
        return base_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENOMEDIUM:
            return None  # a drive of the host that is empty
        raise _unread(path, error) from None
    except ValueError:
        return None  # no program can use such a file


def _unread(path: str, error: OSError) -> Unavailable:
    return Unavailable(f"{path} could not be read to see whether it is an overlay: {error.strerror}.")


def delete(path: str) -> None:
    """Delete a disk image; it may be gone already."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{path} could not be deleted: {error.strerror}.") from None

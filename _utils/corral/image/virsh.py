"""The little of libvirt that a build by oz needs, through ``virsh``, which can be given a time limit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from corral.errors import Refused, Unavailable
from corral.image.programs import run

PROBING = 60.0  # seconds: the first question for capabilities makes libvirt try every emulator


def virsh(uri: str, *arguments: str, seconds: float = 10.0) -> str:
    """Return what virsh says."""
    return run(["virsh", "--connect", uri, "--quiet", *arguments], seconds=seconds)


def ready(uri: str) -> None:
    """Return when libvirt answers; raise ``Unavailable`` when it does not."""
    try:
        virsh(uri, "uri")
    except Refused as refused:
        raise Unavailable(f"libvirt ({uri}) does not answer: {refused}") from None


def qemu_user(uri: str) -> tuple[int, int]:
    """Return the numbers of the user and the group that QEMU runs as; 0 is root."""
    said = virsh(uri, "capabilities", seconds=PROBING)
    label = re.search(r"<baselabel type='qemu'>\+?(\d+):\+?(\d+)<", said)
    return (int(label[1]), int(label[2])) if label else (0, 0)


def destroy(uri: str, guest: str) -> None:
    """Have no guest of that name, running or defined."""
    _end(uri, ("list", "--name"), ("destroy", "--domain", guest))
    _end(uri, ("list", "--all", "--name"), ("undefine", "--domain", guest))


def destroy_pools(uri: str, folder: Path) -> None:
    """Stop the storage pools that oz started on a folder; it forgets them when it is killed."""
    there = ("pool-list", "--name")
    for name in virsh(uri, *there).split():
        xml = _of_what_is_there(uri, there, ("pool-dumpxml", "--pool", name))
        if f"<path>{folder}</path>" in xml:
            _end(uri, there, ("pool-destroy", "--pool", name))


def _end(uri: str, there: Sequence[str], command: Sequence[str]) -> None:
    if command[-1] in virsh(uri, *there).split():
        _of_what_is_there(uri, there, command)


def _of_what_is_there(uri: str, there: Sequence[str], command: Sequence[str]) -> str:
    """Return what a command about a guest or pool says; nothing when that has gone meanwhile.

    there
        The command that lists what is there. The last word of the other is what it is about.
    """
    try:
        return virsh(uri, *command)
    except Refused:
        if command[-1] in virsh(uri, *there).split():
            raise
        return ""

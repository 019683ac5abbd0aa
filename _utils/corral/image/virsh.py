"""The little of libvirt that a build by oz needs, through ``virsh``, which can be given a time limit."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from corral.errors import Error, Refused, Unavailable
from corral.image.programs import run

LOG = logging.getLogger(__name__)

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
    if guest in virsh(uri, "list", "--name").split():
        virsh(uri, "destroy", "--domain", guest)
    if guest in virsh(uri, "list", "--all", "--name").split():
        virsh(uri, "undefine", "--domain", guest)


def destroy_pools(uri: str, folder: Path) -> None:
    """Stop the storage pools that oz started on a folder; it forgets them when it is killed."""
    for name in virsh(uri, "pool-list", "--name").split():
        try:
            if f"<path>{folder}</path>" in virsh(uri, "pool-dumpxml", "--pool", name):
                virsh(uri, "pool-destroy", "--pool", name)
        except Error:
            LOG.debug("pool %s went while it was looked at", name)

"""The unit by which systemd has taken back at boot what was armed when the host went down.

It stays once it is there, and does nothing without a journal. systemd reads it at the next boot, which is the
first time that it can be needed, so nothing is asked of the systemd that runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from corral.errors import Unavailable
from corral.guard import FOLDER, JOURNAL
from corral.guard.watchdog import PROGRAM, SYSTEMD

UNITS = Path("/etc/systemd/system")
UNIT = UNITS / "corral-guard.service"
WANTED = UNITS / "multi-user.target.wants" / UNIT.name
TEXT = """\
# Written by Corral; changes made here are undone.
[Unit]
Description=Take back the network change in the middle of which this host went down (Corral)
ConditionPathExists={journal}
After=ovsdb-server.service ovs-vswitchd.service openvswitch-switch.service openvswitch.service
Before=network-online.target salt-minion.service

[Service]
Type=oneshot
ExecStart={python} -I {program} boot
TimeoutStartSec=660

[Install]
WantedBy=multi-user.target
"""


def text() -> str:
    """Return what the unit's file must hold."""
    return TEXT.format(journal=FOLDER / JOURNAL, python=sys.executable, program=PROGRAM)


def install() -> None:
    """Have systemd look for an armed guard at boot; where there is none, the next run of Corral does."""
    if not SYSTEMD.is_dir():
        return
    wanted = text()
    try:
        if not UNIT.is_file() or UNIT.read_text(encoding="utf-8") != wanted:
            _written(wanted)
        if not WANTED.is_symlink():
            WANTED.parent.mkdir(exist_ok=True)
            WANTED.symlink_to(UNIT)
            _synced(WANTED.parent)
    except OSError as failed:
        raise Unavailable(f"{failed.filename or UNIT} cannot be written: {failed.strerror}.") from failed


def _written(wanted: str) -> None:
    draft = UNIT.with_name(f".{UNIT.name}.new")
    with draft.open("w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(wanted)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(UNIT)
    _synced(UNITS)


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

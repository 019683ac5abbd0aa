"""The units by which systemd has taken back at boot what was armed when the host went down.

They stay once they are there, and do nothing without a journal. systemd reads them at the next boot, which is
the first time that they can be needed, so nothing is asked of the systemd that runs.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from corral.errors import Unavailable
from corral.guard import FOLDER, JOURNAL
from corral.guard.watchdog import PROGRAM, SYSTEMD

UNITS = Path("/etc/systemd/system")
WANTS = UNITS / "multi-user.target.wants"
TEXT = """\
# Written by Corral; changes made here are undone.
[Unit]
Description=Take back the network change in the middle of which this host went down (Corral)
ConditionPathExists={journal}
{order}
[Service]
Type=oneshot
ExecStart={python} -I {program} boot{stage}
TimeoutStartSec=660

[Install]
WantedBy=multi-user.target
"""
LATE = """\
After=ovsdb-server.service ovs-vswitchd.service openvswitch-switch.service openvswitch.service
Before=network-online.target salt-minion.service
"""
# What reads the distribution's network files comes after network-pre.target (systemd.special(7)).
EARLY = """\
DefaultDependencies=no
Wants=network-pre.target
After=local-fs.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
"""


def texts() -> dict[str, str]:
    """Return what the units' files must hold, by name."""
    text = partial(TEXT.format, journal=FOLDER / JOURNAL, python=sys.executable, program=PROGRAM)
    return {
        "corral-guard.service": text(order=LATE, stage=""),
        "corral-guard-early.service": text(order=EARLY, stage=" early"),
    }


def install() -> None:
    """Have systemd look for an armed guard at boot; where there is none, the next run of Corral does."""
    if not SYSTEMD.is_dir():
        return
    for name, wanted in texts().items():
        try:
            _install(UNITS / name, wanted)
        except OSError as failed:
            where = failed.filename or UNITS / name
            raise Unavailable(f"{where} cannot be written: {failed.strerror}.") from failed


def _install(unit: Path, wanted: str) -> None:
    if not unit.is_file() or unit.read_text(encoding="utf-8") != wanted:
        draft = unit.with_name(f".{unit.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(wanted)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(unit)
        _synced(unit.parent)
    link = WANTS / unit.name
    if not link.is_symlink():
        WANTS.mkdir(exist_ok=True)
        link.symlink_to(unit)
        _synced(WANTS)


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

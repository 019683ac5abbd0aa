"""A second Open vSwitch on the throw-away host, whose default datapath works although the kernel has none."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
DETACHED = ("--pidfile", "--detach", "--no-chdir")


@contextlib.contextmanager
def started(folder: Path) -> Iterator[None]:
    """Run its daemons with their sockets in a folder, which must be what ``OVS_RUNDIR`` says.

    Its ovs-vswitchd takes the dummy datapath for that of the kernel (``--enable-dummy=system``).
    """
    database, socket = f"{folder}/conf.db", f"{folder}/db.sock"
    subprocess.run(["ovsdb-tool", "create", database, SCHEMA], check=True)
    subprocess.run(["ovsdb-server", database, f"--remote=punix:{socket}", *DETACHED], check=True)
    try:
        subprocess.run(["ovs-vsctl", "--timeout=20", "--no-wait", "init"], check=True)
        subprocess.run(["ovs-vswitchd", f"unix:{socket}", "--enable-dummy=system", *DETACHED], check=True)
        yield
    finally:
        for daemon in ("ovs-vswitchd", "ovsdb-server"):
            if (folder / f"{daemon}.pid").exists():
                subprocess.run(["ovs-appctl", "--timeout=20", "-t", daemon, "exit"], check=True)

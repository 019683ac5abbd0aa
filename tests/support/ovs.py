"""Open vSwitch of the throw-away host, looked at and disturbed past Corral, by its own tools."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUNDIR = Path("/var/run/openvswitch")
PREFIX = "brt-ovs"  # of the bridges that these tests make
COLUMNS = {
    "Bridge": "_uuid,name,ports,datapath_type,fail_mode,stp_enable,rstp_enable,mcast_snooping_enable,"
    "external_ids,other_config",
    "Port": "_uuid,name,interfaces,tag,trunks,vlan_mode,bond_mode,lacp,bond_updelay,bond_downdelay,"
    "external_ids,other_config",
    "Interface": "_uuid,name,type,options,mtu_request,external_ids",
}


def vsctl(*arguments: str) -> str:
    return run("ovs-vsctl", "--timeout=20", *arguments)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def configuration() -> dict[str, Any]:
    """Return all that a state could move, and ``next_cfg``, which every write raises."""
    found: dict[str, Any] = {"next_cfg": vsctl("get", "Open_vSwitch", ".", "next_cfg")}
    for table, columns in COLUMNS.items():
        listed = json.loads(vsctl("--format=json", f"--columns={columns}", "list", table))
        found[table] = sorted(listed["data"], key=repr)
    return found


def uuid(table: str, name: str) -> str:
    return vsctl("get", table, name, "_uuid")


def clean() -> None:
    """Remove the bridges of these tests, and bring the host's cards up again."""
    for bridge in vsctl("list-br").split():
        if bridge.startswith(PREFIX):
            vsctl("del-br", bridge)
    for number in range(1, 5):
        run("ip", "link", "set", f"eth{number}", "up")


def pid(daemon: str) -> int:
    return int((RUNDIR / f"{daemon}.pid").read_text(encoding="ascii"))


@contextlib.contextmanager
def stopped(daemon: str) -> Iterator[None]:
    """Hold a daemon as if it hung; it goes on afterwards."""
    process = pid(daemon)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)

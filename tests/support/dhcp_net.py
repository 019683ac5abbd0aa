"""What the DHCP tests declare, and how they look at what came of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from corral.dhcp import files, paths, process

BRIDGE = "brt-dhcp0"
NET = "tdhcp"  # the name of the subnet
DECLARED: dict[str, Any] = {
    "interface": BRIDGE,
    "network": "10.71.0.0/24",
    "range": "10.71.0.100-10.71.0.199",
    "router": "10.71.0.1",
    "domain": "herd.test",
}
ONE = {"mac": "52:60:2f:71:00:01", "address": "10.71.0.11", "name": "one"}
TWO = {"mac": "52:60:2f:71:00:02", "address": "10.71.0.12", "name": "two"}
Ask = Callable[..., dict[str, str]]


def sh(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout


def make_bridge() -> None:
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "address", "add", "10.71.0.1/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")


def serving() -> process.Process:
    running = process.find(NET)
    assert running
    return running


def kill(running: process.Process) -> None:
    """Kill it as nobody should, and wait until it is gone."""
    handle = os.pidfd_open(running.pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    assert select.select([handle], [], [], 5)[0]
    os.close(handle)


def seen() -> Any:
    """Return all that a state could move: the files, and which process serves what."""
    texts = {str(file): file.read_text() for file in paths.CONFIG.glob("*") if file.is_file()}
    texts |= {str(file): file.read_text() for file in paths.hosts(NET).glob("*")}
    return texts, process.find(NET), files.read(paths.started(NET)), _log()


def _log() -> str | None:
    """Return what dnsmasq has said once it is silent: it reads reservations after the signal, not in it."""
    before, now = "", files.read(paths.log(NET))
    while now != before:
        time.sleep(0.1)
        before, now = now or "", files.read(paths.log(NET)) or ""
    return now

"""What the DHCP tests declare, and how they look at what came of it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from corral.dhcp import files, paths, process

BRIDGE, OTHER_BRIDGE = "brt-dhcp0", "brt-dhcp1"
NET, OTHER = "tdhcp", "tdhcp2"  # the names of the subnets
DECLARED: dict[str, Any] = {
    "interface": BRIDGE,
    "network": "10.71.0.0/24",
    "range": "10.71.0.100-10.71.0.199",
    "router": "10.71.0.1",
    "domain": "herd.test",
}
ONE = {"mac": "52:60:2f:71:00:01", "address": "10.71.0.11", "name": "one"}
TWO = {"mac": "52:60:2f:71:00:02", "address": "10.71.0.12", "name": "two"}
OTHERS: dict[str, Any] = {"interface": OTHER_BRIDGE, "network": "10.72.0.0/24"}
Ask = Callable[..., dict[str, str]]


def sh(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout


def make_bridge(name: str = BRIDGE, address: str = "10.71.0.1/24", within: str = "") -> None:
    """Make a bridge with an address, in the network namespace ``within`` or in the host's own."""
    ip = ("ip", "-n", within) if within else ("ip",)
    sh(*ip, "link", "add", name, "type", "bridge")
    sh(*ip, "address", "add", address, "dev", name)
    sh(*ip, "link", "set", name, "up")


def forget(subnet: str) -> None:
    """Remove a subnet past Corral."""
    running = process.find(subnet)
    if running:
        process.end(running)
    for place in (paths.state(subnet), paths.run(subnet)):
        shutil.rmtree(place, ignore_errors=True)
    paths.config(subnet).unlink(missing_ok=True)


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
    has_read()
    return texts, process.find(NET), files.read(paths.started(NET)), files.read(paths.log(NET))


def has_read() -> None:
    """Wait until dnsmasq has read what it was told to read: the signal wakes it, and then it sleeps again."""
    running = process.find(NET)
    deadline = time.monotonic() + 10
    while running and process.asleep(running) is None:
        assert time.monotonic() < deadline, "dnsmasq does not come to rest"
        time.sleep(0.001)  # nothing tells when a process goes to sleep

"""Somebody outside of the throw-away host, whom it reaches as long as its network is right."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

SPACE = "guard-peer"
NEAR, FAR = "vt-guard0", "vt-guard1"
HERE, THERE, BEYOND = "192.0.2.1", "192.0.2.9", "198.51.100.9"
HERE6, THERE6 = "2001:db8:9::1", "2001:db8:9::9"


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def there(*words: str) -> str:
    """Run ``ip`` on the other side."""
    return ip("-n", SPACE, *words)


@contextlib.contextmanager
def peer() -> Iterator[None]:
    """A machine of its own at the other end of a cable, which is also the way to another network."""
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", SPACE)
        there("link", "set", "lo", "up")
        there("address", "add", f"{BEYOND}/32", "dev", "lo")
        there("address", "add", f"{THERE}/24", "dev", FAR)
        there("address", "add", f"{THERE6}/64", "dev", FAR, "nodad")
        there("link", "set", FAR, "up")
        ip("link", "set", NEAR, "up")
        yield
    finally:
        ip("netns", "delete", SPACE)
        subprocess.run(["ip", "link", "delete", NEAR], capture_output=True, check=False)


def settle(device: str) -> None:
    """Give a device of this host its addresses, and the way out."""
    ip("address", "add", f"{HERE}/24", "dev", device, "label", f"{device}:x")
    ip("address", "add", f"{HERE6}/64", "dev", device, "nodad")
    ip("link", "set", device, "up")
    ip("route", "add", "default", "via", THERE, "dev", device, "metric", "42")
    ip("-6", "route", "add", "default", "via", THERE6, "dev", device)


def reached(address: str = THERE) -> bool:
    argv = ["ping", "-c", "1", "-W", "1", "-n", address]
    return any(subprocess.run(argv, capture_output=True, check=False).returncode == 0 for _ in range(3))


def network(device: str) -> Any:
    """Return what the kernel has of a device, but for what counts time."""
    (link,) = json.loads(ip("-json", "address", "show", "dev", device))
    addresses = [
        {key: one.get(key) for key in ("local", "prefixlen", "label", "scope", "dynamic")}
        for one in link["addr_info"]
        if one["scope"] != "link"
    ]
    shown = (ip(*words, "route", "show", "dev", device).splitlines() for words in ((), ("-6",)))
    routes = [sorted(one.strip() for one in lines if "proto kernel" not in one) for lines in shown]
    addresses.sort(key=str)
    return addresses, routes, link["mtu"], "UP" in link["flags"], link["address"]


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    """Have the other side take connections."""
    program = f'import socket; s = socket.create_server(("", {port})); print(flush=True)\nwhile 1: s.accept()'
    argv = ["ip", "netns", "exec", SPACE, sys.executable, "-c", program]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            yield
        finally:
            server.kill()


def mute() -> None:
    """Have the other side answer no ping."""
    argv = ["ip", "netns", "exec", SPACE, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all"]
    subprocess.run(argv, check=True)


def wait_up(device: str) -> None:
    """Wait until a device of this host is up, as the kernel tells it."""
    with subprocess.Popen(["ip", "monitor", "link"], stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        try:
            if "UP" not in json.loads(ip("-json", "link", "show", "dev", device))[0]["flags"]:
                next(line for line in monitor.stdout if f": {device}@" in line and ",UP" in line)
        finally:
            monitor.kill()

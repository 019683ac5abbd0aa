"""Network namespaces: made, removed and remembered; by ip-netns(8), whose names they have."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from corral import netns
from corral.errors import NotInstalled, Refused, Unavailable

SECONDS = 10.0
PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin"  # root's; Salt may have been given less
MARKS = Path("/run/corral/netns")  # gone with a reboot, as namespaces are


def make(name: str) -> None:
    """Make a namespace that is not there, and remember that it is ours."""
    _ip("add", name)
    # Which one it was: somebody else may remove it, and make another of its name.
    MARKS.mkdir(parents=True, exist_ok=True)
    (MARKS / name).write_text(netns.identity(name))


def remove(name: str) -> None:
    """Remove a namespace by its name; it is gone when nothing is in it."""
    _ip("delete", name)
    with contextlib.suppress(FileNotFoundError):
        (MARKS / name).unlink()


def ours(name: str) -> bool:
    """Return whether it is Corral that made a namespace."""
    with contextlib.suppress(FileNotFoundError):
        return (MARKS / name).read_text() == netns.identity(name)
    return False


def processes(name: str) -> dict[int, str]:
    """Return the names of the processes in a namespace, by process id."""
    here = netns.identity(name)
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has just ended
            one = os.stat(f"/proc/{pid}/ns/net")
            if f"{one.st_dev}:{one.st_ino}" == here:
                found[int(pid)] = Path(f"/proc/{pid}/comm").read_text().strip()
    return found


def _ip(word: str, name: str) -> None:
    argv = ["ip", "netns", word, name]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "LC_ALL": "C"},
            timeout=SECONDS,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise NotInstalled("ip is not installed (package iproute2).") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(argv)} has not ended after {SECONDS:.0f} s.") from None
    if done.returncode and bool(netns.identity(name)) != (word == "add"):
        raise Refused(f"namespaces.{name}: {done.stdout.strip()}")

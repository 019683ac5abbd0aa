"""The dnsmasq of a subnet as a process: known by its arguments and its start, never by a number alone."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corral.dhcp import paths
from corral.errors import Unavailable

END_SECONDS = 5.0


@dataclass(frozen=True)
class Process:
    """A process that cannot be taken for another one of the same number.

    started
        When, in clock ticks since the boot (proc(5), field 22 of ``stat``).
    """

    pid: int
    started: int

    @property
    def mark(self) -> str:
        return f"{self.pid} {self.started}"


def find(subnet: str) -> Process | None:
    """Return the dnsmasq that serves a subnet of this host, in whichever of its network namespaces."""
    for pid in _candidates(subnet):
        try:
            if _serves(pid, subnet):
                return Process(pid, _started(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        except OSError as unread:
            raise Unavailable(f"/proc/{pid} cannot be read: {unread.strerror}.") from unread
    return None


def asleep(process: Process) -> tuple[str, ...] | None:
    """Return a value that stays the same while a process sleeps without waking once; ``None`` while it runs.

    A signal that is sent, and a packet that comes in, ends its sleep at once (proc(5), ``status``).
    """
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = tuple(re.findall(r"^(?:State|voluntary_ctxt_switches):\s+(\w+)", text, re.MULTILINE))
    return words if words[:1] == ("S",) else None


def environment(process: Process) -> list[str]:
    """Return what it was given as environment when it was started, as ``KEY=value``."""
    try:
        text = Path(f"/proc/{process.pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as unread:
        raise Unavailable(f"/proc/{process.pid} cannot be read: {unread.strerror}.") from unread
    return text.decode(errors="replace").split("\0")


def reload(process: Process) -> None:
    """Let it read the reservations again; leases stay (dnsmasq(8), SIGHUP)."""
    with _Handle(process) as handle:
        handle.send(signal.SIGHUP)


def end(process: Process) -> None:
    """End it and return when it is gone."""
    with _Handle(process) as handle:
        for number in (signal.SIGTERM, signal.SIGKILL):
            handle.send(number)
            if handle.gone(END_SECONDS):
                return
    raise Unavailable(f"dnsmasq (process {process.pid}) does not end.")


class _Handle:
    """A pidfd: it means one process for good, so a signal cannot hit a newer one of the same number."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.descriptor: int | None = None

    def __enter__(self) -> _Handle:
        try:
            self.descriptor = os.pidfd_open(self.process.pid)
            if _started(self.process.pid) != self.process.started:
                self.__exit__()
        except (FileNotFoundError, ProcessLookupError):
            self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def send(self, number: signal.Signals) -> None:
        if self.descriptor is not None:
            try:
                signal.pidfd_send_signal(self.descriptor, number)
            except ProcessLookupError:
                self.__exit__()

    def gone(self, seconds: float) -> bool:
        return self.descriptor is None or bool(select.select([self.descriptor], [], [], seconds)[0])


def _candidates(subnet: str) -> Iterator[int]:
    """Yield what the pid file says, then every process: the file may be gone while dnsmasq runs."""
    with contextlib.suppress(OSError, ValueError):
        yield int(paths.pid(subnet).read_text())
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def _serves(pid: int, subnet: str) -> bool:
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if os.path.basename(argv[0]) != b"dnsmasq" or f"--conf-file={paths.started(subnet)}".encode() not in argv:
        return False
    # Processes of containers are seen from outside, with process ids of their own beside ours.
    return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")


def namespace(process: Process) -> str:
    """Return the identity of the network namespace that it runs in, as :mod:`corral.netns` has it."""
    try:
        one = os.stat(f"/proc/{process.pid}/ns/net")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    except OSError as unread:
        raise Unavailable(f"/proc/{process.pid} cannot be read: {unread.strerror}.") from unread
    return f"{one.st_dev}:{one.st_ino}"


def _started(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19])  # the name in parentheses may hold spaces

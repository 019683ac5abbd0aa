"""Runs of a pool in a process of their own, which kills itself at a call to the outside if it is told to.

Counted are the calls by which a run leaves something behind, where they leave Python: at libvirt, at the
programs and signals, and at the file system.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corral.converge import converge
from corral.pool import model, plan, wire

REPO = Path(__file__).resolve().parents[2]
MINION = "hypervisor"
FILES = {"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "socket.sendto"}
DOMAIN = ("create", "destroy", "shutdown", "undefineFlags")


@contextlib.contextmanager
def run(
    name: str, declared: dict[str, Any], state: str = "running", at: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """Start a run as ``guest_pool`` makes it; at the end it is killed, unless it has ended.

    at
        The number of the call at which it kills itself; 0 for none.
    """
    argv = [sys.executable, "-m", __name__, name, state, json.dumps(declared), str(at)]
    paths = {"PYTHONPATH": f"{REPO}:{REPO / '_utils'}", "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(argv, cwd=REPO, env={**os.environ, **paths}, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


class Counter:
    """Counts calls, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls = 0
        self.lock = threading.Lock()

    def count(self) -> None:
        with self.lock:
            self.calls += 1
            if self.calls == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an event of Python's own (https://docs.python.org/3/library/audit_events.html)."""
        if event == "open":
            path, _, flags = arguments
            leaves = flags & (os.O_WRONLY | os.O_RDWR) and not str(path).endswith((os.devnull, ".lock"))
        elif event == "subprocess.Popen":
            leaves = os.path.basename(arguments[0]) == "qemu-img"
        else:
            leaves = event in FILES
        if leaves:
            self.count()

    def wrap(self, owner: Any, name: str) -> None:
        """Count the calls of a function that Python does not tell of."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count()
            return function(*args, **kwargs)

        setattr(owner, name, counted)


def _main(name: str, state: str, declared: str, at: str) -> None:
    import libvirt

    counter = Counter(int(at))
    for method in DOMAIN:
        counter.wrap(libvirt.virDomain, method)
    counter.wrap(libvirt.virConnect, "defineXML")
    counter.wrap(signal, "pidfd_send_signal")
    sys.addaudithook(counter.heard)
    declare: Any = model.declare if state == "running" else model.absent
    answer = converge(
        name,
        {},
        declare=lambda: declare(MINION, name, json.loads(declared)),
        wire=wire.Declared if state == "running" else wire.Undeclared,
        plan=plan.plan if state == "running" else plan.plan_absent,
    )
    print(json.dumps({"calls": counter.calls, "result": answer["result"], "comment": answer["comment"]}))


if __name__ == "__main__":
    _main(*sys.argv[1:])

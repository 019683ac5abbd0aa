"""Guarded runs in processes of their own, which can be held, or kill themselves at a call to the outside.

Counted are the calls by which a run leaves something behind, where they leave Python: at the file system, at
programs and at sockets.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from corral.converge import Wire, converge
from corral.guard import STAYING, hand, journal, unit

REPO = Path(__file__).resolve().parents[2]
STRIDE = 1 if "CORRAL_EVERY_KILL" in os.environ else 5  # of the calls at which runs are killed
FILES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "subprocess.Popen"}
SENDS = ("send", "sendall", "sendto")


@contextlib.contextmanager
def run(
    product: str, name: str, declared: dict[str, Any], guard: Any = None, at: int = 0, held: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Start a run as the product's state makes it; it is killed at the end, unless it has ended.

    at
        The number of the call to the outside at which it kills itself; 0 for none.
    held
        Whether it says ``applied`` after the change and goes on when it is told anything.
    """
    words = json.dumps([product, name, declared, guard, at, held])
    argv = [sys.executable, "-m", __name__, words]
    paths = {"PYTHONPATH": os.environ.get("CORRAL_FROM", str(REPO / "_utils")) + f":{REPO}"}
    child = subprocess.Popen(
        argv,
        cwd="/",
        env={**os.environ, **paths, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def answer(child: subprocess.Popen[str]) -> dict[str, Any] | None:
    """Let a run end, and return what it says; ``None`` when it was killed."""
    said = child.communicate(timeout=120)[0]
    return dict(json.loads(said)) if child.returncode == 0 else None


def applied(child: subprocess.Popen[str]) -> None:
    """Wait until a held run has made its change."""
    assert child.stdout is not None
    assert child.stdout.readline() == "applied\n"


def watched() -> int:
    """Return the process id of the watchdog, which lives."""
    pid = journal.watchdog()
    assert pid
    return pid


def watchdog_ended() -> None:
    """Wait for the end of the watchdog, if there is one: it holds a lock for as long as it lives."""
    with contextlib.suppress(FileNotFoundError), (journal.FOLDER / journal.WATCHDOG).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def outcome() -> str:
    """Return what became of the last guard."""
    last = journal.last()
    return str(last["outcome"]) if last else ""


def nothing_is_armed() -> None:
    assert journal.read() is None
    watchdog_ended()
    assert set(os.listdir(journal.FOLDER)) <= set(STAYING)


def tried_in_vain() -> None:
    """Wait until the watchdog has said that it could not take the change back yet."""
    deadline = time.monotonic() + 60
    while outcome() != "not reverted yet":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reverted() -> None:
    """Wait until the watchdog has taken back what a run that lives has still to hear of."""
    deadline = time.monotonic() + 60
    while not ((armed := journal.read()) and armed.reverted):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with journal.locked():  # it is marked first, and all is done when the lock is free
        pass


@contextlib.contextmanager
def another_boot(folder: Path) -> Iterator[None]:
    """Have this host take itself for started anew."""
    boot, mark = "/proc/sys/kernel/random/boot_id", folder / "boot_id"
    mark.write_text("00000000-0000-4000-8000-000000000000\n")
    subprocess.run(["mount", "--bind", str(mark), boot], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", boot], check=True)


def at_boot(name: str) -> str:
    """Do what a unit does, in the environment of none, and return what it complains of."""
    (command,) = re.findall(r"^ExecStart=(.*)$", unit.texts()[name], re.MULTILINE)
    done = subprocess.run(command.split(), env={}, cwd="/", check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@contextlib.contextmanager
def rebooted(switch: Any, folder: Path) -> Iterator[None]:
    """Stop Open vSwitch and start it again from its database, on what takes itself for another boot."""
    identity = switch.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id").strip('"')
    control = "/usr/share/openvswitch/scripts/ovs-ctl"
    switch.run(control, "stop")
    switch.run(control, "--no-mlockall", "--no-full-hostname", f"--system-id={identity}", "start")
    with another_boot(folder):
        yield


class Counter:
    """Counts calls, and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)) or event in FILES:
            self.count()

    def wrap(self, owner: Any, name: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count()
            return function(*args, **kwargs)

        setattr(owner, name, counted)


def _link(name: str, declared: dict[str, Any]) -> dict[str, Any]:
    from corral.link.model import Link
    from corral.link.plan import plan
    from corral.link.wire import Netlink

    return {
        "declare": lambda: Link.declare({**declared, "name": name}, at=f"links.{name}"),
        "wire": Netlink,
        "plan": plan,
    }


def _ovs(name: str, declared: dict[str, Any]) -> dict[str, Any]:
    from corral.ovs.model import Switch
    from corral.ovs.plan import MANAGED, plan
    from corral.ovs.wire import Wire as Switched

    return {
        "declare": lambda: Switch.declare({"bridges": declared}),
        "wire": lambda desired: Switched(MANAGED, 10, desired),
        "plan": partial(plan, exact=True, maker=MANAGED),
    }


def _uplink(name: str, declared: dict[str, Any]) -> dict[str, Any]:
    from corral.uplink.model import Uplink
    from corral.uplink.plan import plan
    from corral.uplink.wire import Wire as Moved

    return {
        "declare": lambda: Uplink.declare(name, declared),
        "wire": lambda desired: Moved(desired, 10),
        "plan": plan,
    }


def _holding(wire: Callable[[Any], Wire[Any, Any]], desired: Any) -> Wire[Any, Any]:
    """Return a product's wire that waits after the change until it is told to go on."""
    daemon = wire(desired)
    apply = daemon.apply

    def held(*args: Any) -> None:
        apply(*args)
        print("applied", flush=True)
        sys.stdin.readline()

    daemon.apply = held  # type: ignore[method-assign]
    return daemon


def _main(words: str) -> None:
    product, name, declared, guard, at, held = json.loads(words)
    counter = Counter(at)
    if product == "recover":
        sys.addaudithook(counter.heard)
        _count_sockets(counter)
        hand.recover(False)
        print(json.dumps({"calls": counter.calls}))
        return
    how = {"link": _link, "ovs": _ovs, "uplink": _uplink}[product](name, declared)
    if held:
        how["wire"] = partial(_holding, how["wire"])
    sys.addaudithook(counter.heard)
    _count_sockets(counter)
    said = converge(name, {"local": True}, guard=guard, **how)
    print(json.dumps({**said, "calls": counter.calls}))


def _count_sockets(counter: Counter) -> None:
    class Counted(socket.socket):
        pass

    for name in SENDS:
        setattr(Counted, name, getattr(socket.socket, name))
        counter.wrap(Counted, name)
    socket.socket = Counted  # type: ignore[misc]


if __name__ == "__main__":
    _main(sys.argv[1])

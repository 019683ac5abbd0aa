"""The watchdog: a process of its own that takes a change back when nobody says that all is well.

It needs no network, no shell and no file of Salt's once it runs: whatever it may need is loaded before it
says that it is ready.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import syslog
import time
from collections.abc import Callable
from pathlib import Path

from corral.errors import Error, Unavailable
from corral.guard import journal
from corral.guard.back import prepared, take_back
from corral.guard.journal import Journal

PROGRAM = Path(__file__).with_name("program.py")
SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
PRODUCTS = ("link", "ovs")  # of which another state's plan may join one that is held
READY = 20.0  # seconds within which a watchdog must be ready
GRACE = 1.0  # seconds beyond its time that a run has to take its change back itself
PATIENCE = 600.0  # seconds for which daemons that do not answer are asked again
AGAIN = 2.0  # seconds between such questions
LINGER = 3600.0  # seconds for which a run may take to hear that its change was taken back
PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin"
ENDED = "the run that made the change was killed before it could say that the host is still reached."


def start(armed: Journal) -> None:
    """Start the watchdog of a guard, out of reach of whatever ends Salt, and return when it is ready.

    Raises ``Unavailable`` when it is not.
    """
    argv = [sys.executable, "-I", str(PROGRAM), "watch", armed.identity]
    if SYSTEMD.is_dir():
        _as_unit(armed, argv)
    else:
        _alone(argv)


def _as_unit(armed: Journal, argv: list[str]) -> None:
    """Have systemd start it: in a control group of its own, and again when it is killed (systemd-run(1))."""
    settings = (
        *("Restart=on-failure", "RestartSec=1", "OOMScoreAdjust=-900"),
        *("NotifyAccess=all", f"TimeoutStartSec={READY:.0f}"),
    )
    command = [
        *("systemd-run", "--quiet", "--collect", "--no-ask-password", "--service-type=notify"),
        *(f"--unit=corral-guard-{armed.identity}", f"--description=Guard of {armed.name} (Corral)"),
        *(f"--property={setting}" for setting in settings),
        *("--", *argv),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": PATH, "LC_ALL": "C"},
            timeout=READY + 10,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        raise Unavailable("systemd-run is not installed (package systemd).") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("systemd-run has not started the watchdog in time.") from None
    if done.returncode:
        raise Unavailable(f"systemd-run cannot start the watchdog: {done.stdout.strip()}")


def _alone(argv: list[str]) -> None:
    """Start it in a session of its own, as nobody's child."""
    heard, told = os.pipe()
    try:
        with subprocess.Popen(
            [*argv, str(told)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
            cwd="/",
            pass_fds=(told,),
            start_new_session=True,
        ):
            os.close(told)
            told = -1
            ready = select.select([heard], [], [], READY)[0] and os.read(heard, 1)
    finally:
        for end in (heard, told):
            if end >= 0:
                os.close(end)
    if not ready:
        raise Unavailable(f"The watchdog was not ready within {READY:.0f} s.")


def stop() -> None:
    """End a watchdog whose guard is not armed any more; without it, it would only sleep its time out."""
    pid = journal.watchdog()
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if journal.watchdog() == pid:  # it has lived all the time, so no other process has its number
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        finally:
            os.close(descriptor)


def watch(identity: str, descriptor: int = -1) -> None:
    """Wait for the end of the run or of its time, and take back what is still armed then.

    descriptor
        Where to write that it is ready; else systemd is told.
    """
    syslog.openlog("corral-guard")
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-900", encoding="ascii")
    with journal.watching():
        armed = journal.read()
        if armed is None or armed.identity != identity:
            return
        for product in {*PRODUCTS, *(step.product for step in armed.steps)}:
            prepared(product)
        _ready(descriptor)
        if _ended_in_time(armed):
            _insist(lambda: _settled(identity, ENDED))
        else:
            late = f"nobody has said within {armed.within} s that the host is still reached."
            _insist(lambda: _settled(identity, late))
            if journal.read() is not None and armed.run.ended(LINGER):  # the run has still to hear of it
                _insist(lambda: _settled(identity, late))


def _ended_in_time(armed: Journal) -> bool:
    """Wait for the end of a run, and return whether it came in time, which may be prolonged meanwhile."""
    while not armed.run.ended(armed.left + GRACE):
        now = journal.read()
        if now is None or now.identity != armed.identity or now.left + GRACE <= 0:
            return False
        armed = now
    return True


def boot(early: bool) -> None:
    """Take back what was armed when the host went down, once its daemons answer.

    early
        There are no daemons yet: do only what needs none.
    """
    syslog.openlog("corral-guard")
    armed = journal.read()
    if armed is not None and armed.rebooted and (not early or any(step.alone for step in armed.steps)):
        why = "the host was started anew in the middle of the change."
        _insist(lambda: _settled(armed.identity, why, early))


def _settled(identity: str, why: str, early: bool = False) -> None:
    with journal.locked():
        armed = journal.read()
        if armed is not None and armed.identity == identity:
            syslog.syslog(syslog.LOG_WARNING, f"{armed.name} is taken back: {why}")
            try:
                take_back(armed, why, early)
            except Error as error:
                journal.note(armed, "not reverted yet", str(error))
                raise


def _insist(act: Callable[[], None]) -> None:
    """Do something until it succeeds: a daemon may be about to start."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except Error as error:
            syslog.syslog(syslog.LOG_ERR, f"It could not be taken back yet: {error}")
            if time.monotonic() > deadline:
                raise
        time.sleep(AGAIN)


def _ready(descriptor: int) -> None:
    if descriptor >= 0:
        os.write(descriptor, b"1")
        os.close(descriptor)
    elif place := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as systemd:
            systemd.connect("\0" + place[1:] if place.startswith("@") else place)  # sd_notify(3)
            systemd.send(b"READY=1")

"""A throw-away hypervisor in namespaces: real Open vSwitch and libvirt, with nothing changed on the machine.

::

    python -m lab.host run [--nics N] [--keep] -- COMMAND…
    python -m lab.host list
    python -m lab.host enter NAME [-- COMMAND…]
    python -m lab.host stop NAME

Inside, what is written to ``/etc``, ``/opt``, ``/root``, ``/run``, ``/srv``, ``/usr`` and to the folders
``cache``, ``lib``, ``log`` and ``spool`` of ``/var`` is private to the host, and gone when it ends. All else
(``/tmp``, ``/var/tmp``, ``/home``, and this checkout wherever it is) is the machine's own. The host ends with
the process that started it, even if that is killed; :mod:`lab.init` is the inside.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
STATE = Path("/var/tmp/corral-lab")  # not in an overlaid folder, and on a disk: images live there
OZ_BRIDGE = "192.168.79.1/24"
GRACE_SECONDS = 10
INIT = Path(__file__).with_name("init.py")
UNSHARE = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LabError(Exception):
    """A throw-away hypervisor could not be started, found, entered or removed."""


class Host:
    """One throw-away hypervisor; use it as a context manager.

    hostname
        Its host name.
    nics
        Cards ``eth1`` … ``ethN``, cabled to each other in a loop (an even number; default 4: eth1 to eth3,
        eth2 to eth4).
    oz_bridge
        Address of the Linux bridge ``ozbr0`` (Oz cannot attach to Open vSwitch), or None for no such bridge.
    keep
        Leave it running when the context ends, unless an interrupt ends it (``KeyboardInterrupt``,
        ``SystemExit``); ``kept`` says afterwards whether it runs on.
    """

    def __init__(
        self,
        hostname: str = "hypervisor",
        *,
        nics: int = 4,
        oz_bridge: str | None = OZ_BRIDGE,
        keep: bool = False,
    ) -> None:
        if nics < 0 or nics % 2:
            raise LabError(f"nics: {nics} is not an even number, and cards are cabled in pairs")
        self.name = f"{hostname}-{secrets.token_hex(3)}"
        self.hostname = hostname
        self.nics = nics
        self.oz_bridge = oz_bridge
        self.keep = keep
        self.kept = False
        self.state = STATE / self.name
        self.pid = 0
        self._unshare: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    def __enter__(self) -> Host:
        if os.geteuid():
            raise LabError("a throw-away hypervisor needs root: it makes namespaces and mounts")
        lock = _claim(self.state)
        lifeline, self._lifeline = os.pipe()
        report, reported = os.pipe()
        inherited = {"lifeline": lifeline, "report": reported, "lock": lock}
        try:
            self._unshare = self._start(inherited)
            for end in inherited.values():
                os.close(end)
            with open(report) as answers:
                self._started(answers.readline())
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self, inherited: dict[str, int]) -> subprocess.Popen[bytes]:
        """Start process 1, with the open files that it is to have by name."""
        config = {
            "name": self.name,
            "hostname": self.hostname,
            "nics": self.nics,
            "oz_bridge": self.oz_bridge,
            "checkout": str(CHECKOUT),
            "state": str(self.state),
            **inherited,
        }
        with (self.state / "init.log").open("wb") as log:
            return subprocess.Popen(
                [*UNSHARE, sys.executable, "-I", "-S", str(INIT), json.dumps(config)],
                pass_fds=tuple(inherited.values()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"},
                start_new_session=True,
            )

    def _started(self, line: str) -> None:
        crash: dict[str, Any] = {
            "pid": 0,
            "error": "its process 1 died",
            "log": _read(self.state / "init.log"),
        }
        answer: dict[str, Any] = json.loads(line) if line else crash
        self.pid = answer["pid"]
        if "error" in answer:
            raise LabError(f"throw-away hypervisor {self.name}: {answer['error']}\n{answer['log']}".rstrip())
        (self.state / "pid").write_text(str(self.pid))

    def __exit__(self, end: type[BaseException] | None, *_: object) -> None:
        if self.keep and (end is None or issubclass(end, Exception)):
            os.write(self._lifeline, b"k")
            os.close(self._lifeline)
            self._lifeline = -1
            self.kept = True
        else:
            self.stop()

    def stop(self) -> None:
        """End every process of the host and remove its files."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._unshare is not None:
            self._unshare.wait()
        _remove(self.state)

    def enter_argv(self, cwd: str | None = None) -> list[str]:
        """Return the words to put before a command so that it runs inside, in *cwd* (default: ours)."""
        return _enter(self.pid, cwd)

    def command(self, verb: str) -> str:
        """Return the line for a shell in any folder that enters or stops it once it is kept."""
        words = (sys.executable, "-m", "lab.host", verb, self.name)
        return f"cd {shlex.quote(str(CHECKOUT))} && {shlex.join(words)}"

    def hints(self) -> str:
        """Return what to say when it is kept."""
        return (
            f"The throw-away hypervisor {self.name} stays up.\n"
            f"  enter: {self.command('enter')}\n"
            f"  stop:  {self.command('stop')}"
        )

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, plus ``CORRAL_LAB_HOST``."""
        return {**os.environ, "CORRAL_LAB_HOST": self.name}

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """``subprocess.run`` inside the host."""
        options.setdefault("env", self.environment)
        check = options.pop("check", False)
        return subprocess.run([*self.enter_argv(options.pop("cwd", None)), *argv], check=check, **options)

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """``subprocess.Popen`` inside the host; the process is ``nsenter``, whose only child runs *argv*."""
        options.setdefault("env", self.environment)
        return subprocess.Popen([*self.enter_argv(options.pop("cwd", None)), *argv], **options)

    def logs(self, lines: int = 60) -> str:
        """Return the last *lines* of every log of the host's daemons and guests."""
        private = self.state / "fresh"
        folders = [private / "var/log" / name for name in ("openvswitch", "libvirt")]
        texts = []
        for path in sorted(path for folder in folders for path in folder.rglob("*.log")):
            tail = _read(path).splitlines()[-lines:]
            texts.append("\n".join([f"--- /{path.relative_to(private)}", *tail]))
        return "\n".join(texts)


def _enter(pid: int, cwd: str | None = None) -> list[str]:
    folder = os.path.abspath(cwd or os.getcwd())
    if not os.path.isdir(f"/proc/{pid}/root{folder}"):
        folder = "/"
    return ["nsenter", f"--target={pid}", "--all", "--root", f"--wdns={folder}", "--"]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _remove(state: Path) -> None:
    """Remove the folder of a host that has ended; refuse outside ``STATE``, or with anything mounted in it.

    A removal goes through mounts into what is mounted, so it must never meet one.
    """
    if state.parent != STATE or state.is_symlink():
        raise LabError(f"{state} is not the folder of a throw-away hypervisor: not removed")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point == str(state) or point.startswith(f"{state}/"):
            raise LabError(f"{point} is mounted: {state} is not removed")
    shutil.rmtree(state, ignore_errors=True)


def _claim(state: Path) -> int:
    """Make the folder of a new host, remove those of dead ones, and return the lock that says this one lives.

    The lock is an open file that the host's process 1 inherits: the kernel gives it up when that process is
    gone, however it went.
    """
    STATE.mkdir(mode=0o700, exist_ok=True)
    if STATE.is_symlink() or STATE.lstat().st_uid != 0:
        raise LabError(f"{STATE} is not root's own folder: remove it")
    with (STATE / ".lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        for other in STATE.iterdir():
            if other.is_dir() and not other.name.startswith(".") and not _alive(other):
                _remove(other)
        state.mkdir(mode=0o700)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _alive(state: Path) -> bool:
    try:
        with (state / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def hosts() -> dict[str, int]:
    """Return the running hosts of this machine: name → PID of their process 1."""
    found = {}
    for state in sorted(STATE.iterdir()) if STATE.is_dir() else []:
        pid = _read(state / "pid")
        if pid and _alive(state):
            found[state.name] = int(pid)
    return found


def _pid_of(name: str) -> int:
    running = hosts()
    if name not in running:
        known = ", ".join(running) or "none"
        raise LabError(f"no throw-away hypervisor {name} is running here (running: {known})")
    return running[name]


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that everything is cleaned up as at any other end."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(arguments: argparse.Namespace) -> int:
    command = arguments.command or [os.environ.get("SHELL", "/bin/sh")]
    host = Host(
        arguments.hostname,
        nics=arguments.nics,
        oz_bridge=None if arguments.no_oz_bridge else OZ_BRIDGE,
        keep=arguments.keep,
    )
    with _ended_by_signals(), host:
        process = host.popen(command)
        try:
            status = process.wait()
        except (KeyboardInterrupt, SystemExit) as end:
            host.keep = False
            status = _wind_down(process, end)
    if host.kept:
        print(host.hints(), file=sys.stderr)
    return 128 - status if status < 0 else status


def _wind_down(process: subprocess.Popen[Any], end: BaseException) -> int:
    """Let the command inside end by itself: a terminal has signalled it too, SIGTERM is passed on."""
    if isinstance(end, SystemExit):
        children = _read(Path(f"/proc/{process.pid}/task/{process.pid}/children")).split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(GRACE_SECONDS)
    return int(end.code or 0) if isinstance(end, SystemExit) else 128 + signal.SIGINT


def _list(_: argparse.Namespace) -> int:
    for name, pid in hosts().items():
        print(f"{name}\t{pid}")
    return 0


def _enter_command(arguments: argparse.Namespace) -> int:
    argv = [*_enter(_pid_of(arguments.name)), *(arguments.command or ["bash"])]
    os.execvpe(argv[0], argv, {**os.environ, "CORRAL_LAB_HOST": arguments.name})


def _stop(arguments: argparse.Namespace) -> int:
    process = os.pidfd_open(_pid_of(arguments.name))
    signal.pidfd_send_signal(process, signal.SIGTERM)
    select.select([process], [], [])  # readable when process 1, and with it every other one, is gone
    os.close(process)
    _remove(STATE / arguments.name)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.host", description="Throw-away hypervisors in namespaces."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="start one, run COMMAND in it, end it; the exit status is COMMAND's")
    run.add_argument("--hostname", default="hypervisor")
    run.add_argument("--nics", type=int, default=4, help="cards cabled in pairs (default 4)")
    run.add_argument(
        "--no-oz-bridge", action="store_true", help=f"without the Linux bridge ozbr0 ({OZ_BRIDGE})"
    )
    run.add_argument("--keep", action="store_true", help="leave it running, and say how to enter and stop it")
    run.add_argument("command", nargs="*", metavar="COMMAND")
    run.set_defaults(call=_run)
    verbs.add_parser("list", help="name and PID of each running one").set_defaults(call=_list)
    enter = verbs.add_parser("enter", help="run COMMAND (default: a shell) in a running one")
    enter.add_argument("name")
    enter.add_argument("command", nargs="*", metavar="COMMAND")
    enter.set_defaults(call=_enter_command)
    stop = verbs.add_parser("stop", help="end a running one and remove its files")
    stop.add_argument("name")
    stop.set_defaults(call=_stop)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.call(arguments))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

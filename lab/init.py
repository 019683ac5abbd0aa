"""Process 1 of a throw-away hypervisor: makes its world, starts its daemons, reaps, and ends it all.

:mod:`lab.host` starts this file by ``unshare`` in fresh mount, network, UTS, IPC and PID namespaces. It needs
the standard library only, and talks to its starter by two pipes: it writes one JSON line when the host is up
(or why not), and lives as long as the starter holds the other one open (or has written ``k``, keep, into it).

Rule: nothing in here removes a file. Real folders of the machine are mounted in this namespace, and a removal
would go through the mounts; :mod:`lab.host` removes the host's folder from outside, when the mounts are gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START_SECONDS = 60
# Private copies: what the machine has, plus what this host writes. /var/tmp stays shared: the writes are kept
# there, and an overlay may not hold its own upper folder.
OVERLAID = ("/etc", "/opt", "/root", "/srv", "/usr", "/var/cache", "/var/lib", "/var/log", "/var/spool")
# Private and empty but for folders: nothing of the machine's own guests, switches and minion may be seen, or
# autostarted.
FRESH = (
    "/etc/libvirt",
    "/etc/openvswitch",
    "/etc/salt",
    "/var/cache/salt",
    "/var/lib/libvirt",
    "/var/lib/misc",
    "/var/lib/openvswitch",
    "/var/lib/oz",
    "/var/log/libvirt",
    "/var/log/openvswitch",
    "/var/log/salt",
)
CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"
READ_ONLY = (
    "/proc/sys",
    "/sys/kernel",
    "/sys/module",
    "/sys/power",
)  # of the whole machine, not of a namespace

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


class StartFailed(Exception):
    """A step failed: the sentence, and the log that explains it."""

    def __init__(self, sentence: str, log: str = "") -> None:
        super().__init__(sentence)
        self.log = log


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Call mount(2)."""
    if _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None):
        error = os.strerror(ctypes.get_errno())
        raise StartFailed(f"mount {kind or 'bind'} {source} on {target}: {error}")


@contextlib.contextmanager
def held(folder: str) -> Iterator[str]:
    """Hold *folder* open and yield a path to it that stays good while other things are mounted over it."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def run(*argv: str, log: Path | None = None, stdin: str | None = None) -> str:
    """Run one start-up command and return its output; a failure carries its output and the tail of *log*."""
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise StartFailed(f"{argv[0]} is not installed: run lab/setup.sh")
    except subprocess.TimeoutExpired as slow:
        raise StartFailed(f"{' '.join(argv)}: no end after {START_SECONDS} s", _tail(log, slow.output))
    if done.returncode:
        raise StartFailed(f"{' '.join(argv)}: exit status {done.returncode}", _tail(log, done.stdout))
    return done.stdout


def _tail(log: Path | None, output: str | bytes | None) -> str:
    said = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    if log is not None and log.exists():
        said += f"\n--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    return said


def make_world(state: Path, checkout: str) -> None:
    """Mount private copies of what this host may write to; the checkout and /tmp stay shared."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    with held(checkout) as real:
        for target in OVERLAID:
            if os.path.isdir(target):
                _overlay(target, state / "overlay" / target[1:].replace("/", "-"))
        if checkout.startswith(tuple(f"{target}/" for target in OVERLAID)):
            mount(real, checkout, flags=MS_BIND)
    configuration = {path.name: path.read_bytes() for path in Path("/etc/libvirt").glob("*.conf")}
    for target in FRESH:
        private = state / "fresh" / target[1:]
        private.mkdir(parents=True)
        os.makedirs(target, exist_ok=True)
        _same_access(target, private)
        for folder in filter(os.DirEntry.is_dir, os.scandir(target)):
            (private / folder.name).mkdir()
            _same_access(folder.path, private / folder.name)
        mount(str(private), target, flags=MS_BIND)
    for name, content in configuration.items():
        Path("/etc/libvirt", name).write_bytes(content)
    _emulation_only(state)
    mount("tmpfs", "/run", "tmpfs", data="mode=755")
    os.mkdir("/run/lock")
    os.chmod("/run/lock", 0o1777)
    _kernel_views()


def _emulation_only(state: Path) -> None:
    """Hide KVM, and share what libvirt learns of the emulators between hosts.

    Where ``/dev/kvm`` can be opened but runs no guest, libvirt takes its knowledge of an emulator for
    outdated at each look, and asks it anew for seconds: once for every guest that starts.
    """
    if os.path.exists("/dev/kvm"):
        unusable = state / "kvm"
        unusable.touch(mode=0)
        mount(str(unusable), "/dev/kvm", flags=MS_BIND)
    shared = (
        state.parent / ".capabilities"
    )  # libvirt checks what it finds here, and replaces files in one step
    shared.mkdir(exist_ok=True)
    os.makedirs(CAPABILITIES, exist_ok=True)
    mount(str(shared), CAPABILITIES, flags=MS_BIND)


def _overlay(target: str, folder: Path) -> None:
    upper, work = folder / "upper", folder / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    _same_access(target, upper)
    try:
        mount("overlay", target, "overlay", data=f"lowerdir={target},upperdir={upper},workdir={work}")
    except StartFailed as failure:
        why = "the file system there must bear an overlay; that of a container, itself one, does not"
        raise StartFailed(f"{failure} (writing to {folder}: {why})")


def _same_access(like: str, folder: Path) -> None:
    seen = os.stat(like)
    os.chown(folder, seen.st_uid, seen.st_gid)
    folder.chmod(seen.st_mode & 0o7777)


def _kernel_views() -> None:
    """Mount /proc and /sys of these namespaces; what they tell of the whole machine is read-only."""
    mount("proc", "/proc", "proc")
    with held("/proc/sys/net") as net:
        mount("sysfs", "/sys", "sysfs")
        for target in READ_ONLY:
            if os.path.isdir(target):
                mount(target, target, flags=MS_BIND | MS_REC)
                mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
        mount(net, "/proc/sys/net", flags=MS_BIND)


def make_network(hostname: str, nics: int, oz_bridge: str | None) -> None:
    """Bring up loopback, *nics* cards cabled in a loop (eth1 to eth3, eth2 to eth4) and oz's Linux bridge."""
    socket.sethostname(hostname)
    with open("/etc/hostname", "w") as file:
        file.write(f"{hostname}\n")
    with open("/etc/hosts", "a") as file:
        file.write(f"127.0.1.1 {hostname}\n")
    # OVS in user space reads a guest's frames beside the kernel, which must not answer ARP on that port.
    Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
    lines = ["link set lo up"]
    half = nics // 2
    for number in range(1, half + 1):
        lines.append(f"link add eth{number} type veth peer name eth{number + half}")
        lines += [f"link set eth{number} up", f"link set eth{number + half} up"]
    if oz_bridge:
        lines += ["link add ozbr0 type bridge", f"address add {oz_bridge} dev ozbr0", "link set ozbr0 up"]
    run("ip", "-batch", "-", stdin="\n".join(lines))


def start_daemons(system_id: str) -> None:
    """Start Open vSwitch and libvirt, and return when each answers."""
    # Memory locking would pin some hundred MiB for each lab host; the full host name needs a DNS.
    run(
        "/usr/share/openvswitch/scripts/ovs-ctl",
        *("--no-mlockall", "--no-full-hostname", f"--system-id={system_id}", "start"),
        log=Path("/var/log/openvswitch/ovs-vswitchd.log"),
    )
    _append(
        "/etc/libvirt/qemu.conf", ("cgroup_controllers = []", 'security_driver = "none"', "namespaces = []")
    )
    _append(
        "/etc/libvirt/libvirtd.conf",
        (
            'log_outputs = "2:file:/var/log/libvirt/libvirtd.log"',
            "max_clients = 5000",
            "max_workers = 50",
            "max_client_requests = 50",
            "max_anonymous_clients = 100",
            "ovs_timeout = 30",
        ),
    )
    run("virtlogd", "-d")
    run("libvirtd", "-d", log=Path("/var/log/libvirt/libvirtd.log"))
    # libvirtd accepts no call before all its drivers are up: the first answer is the event to wait for.
    run("virsh", "-c", "qemu:///system", "-q", "uri", log=Path("/var/log/libvirt/libvirtd.log"))


def _append(path: str, lines: tuple[str, ...]) -> None:
    with open(path, "a") as file:
        file.writelines(f"{line}\n" for line in lines)


def live(lifeline: int) -> None:
    """Reap orphans until SIGTERM, or until the starter is gone (unless it has said to keep this host)."""
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    ended: list[int] = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    waiting = select.poll()
    waiting.register(wake, select.POLLIN)
    waiting.register(lifeline, select.POLLIN | select.POLLHUP)
    while not ended:
        _reap()
        for descriptor, _ in waiting.poll():
            if descriptor == wake:
                os.read(wake, 4096)
            elif os.read(lifeline, 1) == b"k":
                waiting.unregister(lifeline)
            else:
                return


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(config: dict[str, Any]) -> int:
    """Make the host described by *config* (written by :class:`lab.host.Host`), and live.

    When process 1 ends, the kernel kills every other process of the host and drops its mounts and network.
    """
    lifeline, report = config["lifeline"], config["report"]
    for descriptor in (lifeline, report, config["lock"]):
        os.set_inheritable(descriptor, False)
    pid = int(os.readlink("/proc/self"))  # the starter's /proc is still mounted: the number out there
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.chdir("/")
    answer: dict[str, Any] = {"pid": pid}
    try:
        make_world(Path(config["state"]), config["checkout"])
        make_network(config["hostname"], config["nics"], config["oz_bridge"])
        start_daemons(config["name"])
    except StartFailed as failure:
        answer.update(error=str(failure), log=failure.log)
    except OSError as failure:
        answer.update(error=str(failure), log="")
    os.write(report, json.dumps(answer).encode() + b"\n")
    os.close(report)
    if "error" not in answer:
        live(lifeline)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))

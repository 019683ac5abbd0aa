"""What keeps the dnsmasq of a subnet running: systemd where it is the init system, else nothing but us."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from corral import netns
from corral.dhcp import files, paths, process
from corral.errors import Refused

DROP_IN = """\
# Written by Corral; changes made here are undone.
[Service]
NetworkNamespacePath={path}
"""
Run = Callable[..., tuple[int, str]]  # argv → exit status and output; see wire.run

UNITS = Path("/etc/systemd/system")
UNIT = UNITS / "corral-dhcp@.service"
NOT_LOADED = 5  # what systemctl says of a unit that it cannot find
TEMPLATE = """\
# Written by Corral; changes made here are undone.
[Unit]
Description=DHCP for the subnet %i (Corral)
After=network.target openvswitch-switch.service openvswitch.service
# The device of the subnet may come later than any unit that could be named here: try for ever.
StartLimitIntervalSec=0

[Service]
Type=forking
# Of this text: by it the running dnsmasq tells which unit it was started from.
Environment=CORRAL_UNIT={digest}
PIDFile={run}/%i/pid
RuntimeDirectory=corral/dhcp/%i
# The copy is what the running dnsmasq was told; the configuration may be newer.
ExecStartPre=/bin/cp {config}/%i.conf {run}/%i/dnsmasq.conf
ExecStart={dnsmasq} --conf-file={run}/%i/dnsmasq.conf
Restart=always
RestartSec=2
TimeoutStartSec=10
TimeoutStopSec=10

[Install]
WantedBy=multi-user.target
"""


class Systemd:
    """A unit ``corral-dhcp@<subnet>.service``, started at boot and whenever dnsmasq ends."""

    def __init__(self, run: Run, dnsmasq: str) -> None:
        self.run = run
        text = partial(TEMPLATE.format, run=paths.RUN, config=paths.CONFIG, dnsmasq=dnsmasq)
        self.digest = hashlib.sha256(text(digest="").encode()).hexdigest()[:16]
        self.template = text(digest=self.digest)

    def flaw(self, subnet: str, namespace: str | None, serving: process.Process) -> str:
        """Return in words what keeps the subnet from being served after a reboot or a crash."""
        told = f"CORRAL_UNIT={self.digest}" in process.environment(serving)
        if files.read(UNIT) != self.template or not told:
            return "from an older unit"
        if files.read(_drop_in(subnet)) != _inside(namespace):
            return "but in another network namespace after a restart"
        return "" if _link(subnet).is_symlink() else "but not started at boot"

    def start(self, subnet: str, namespace: str | None) -> None:
        """Start dnsmasq with the configuration that is written, in place of one that runs."""
        if files.read(UNIT) != self.template:
            files.write(UNIT, self.template)
        _keep_inside(subnet, namespace)
        unit = _link(subnet).name
        self._systemctl(subnet, "enable", "--quiet", unit)  # it has systemd read the template, too
        self._systemctl(subnet, "restart", unit)

    def stop(self, subnet: str) -> None:
        """End dnsmasq for good, even if the template is gone, without which nothing can be disabled."""
        self._systemctl(subnet, "stop", _link(subnet).name)
        files.remove(_link(subnet))
        _keep_inside(subnet, None)
        self._systemctl(subnet, "daemon-reload")
        _end(subnet)

    def _systemctl(self, subnet: str, *words: str) -> None:
        status, text = self.run(["systemctl", *words], seconds=30)
        if status and words[0] == "restart":
            # What dnsmasq said is in the journal; systemctl only says that there is something.
            its_own = ["-u", words[-1], "-t", "dnsmasq", "-n", "2", "-o", "cat", "--no-pager", "--quiet"]
            text = self.run(["journalctl", *its_own])[1] or text
            self.run(["systemctl", "stop", words[-1]], seconds=30)
        if status and (words[0], status) != ("stop", NOT_LOADED):
            raise Refused(f"dhcp.{subnet}: systemctl {words[0]} fails: {text}")


def _link(subnet: str) -> Path:
    """Return what has systemd start a subnet at boot; it has the name of its unit."""
    return UNITS / "multi-user.target.wants" / f"corral-dhcp@{subnet}.service"


def _drop_in(subnet: str) -> Path:
    """Return what tells systemd, beside the template, where a subnet is served (systemd.unit(5))."""
    return UNITS / f"{_link(subnet).name}.d" / "namespace.conf"


def _inside(namespace: str | None) -> str | None:
    return DROP_IN.format(path=netns.PLACE / namespace) if namespace else None


def _keep_inside(subnet: str, namespace: str | None) -> None:
    """Have systemd start a subnet in a network namespace, or in the host's own, from its next reading on."""
    file, text = _drop_in(subnet), _inside(namespace)
    if text is not None and files.read(file) != text:
        files.write(file, text)
    elif text is None:
        files.remove(file)
        with contextlib.suppress(OSError):  # it is not there, or somebody else has files in it
            file.parent.rmdir()


class Alone:
    """A daemon of its own, on a host without an init system; its log is beside its pid file.

    The log stays small without anybody who rotates it: what goes as it should is not said (``--quiet-dhcp``),
    and of the runs before only the last one's is kept.
    """

    def __init__(self, run: Run, dnsmasq: str) -> None:
        self.run = run
        self.dnsmasq = dnsmasq

    def flaw(self, subnet: str, namespace: str | None, serving: process.Process) -> str:
        return ""

    def start(self, subnet: str, namespace: str | None) -> None:
        self.stop(subnet)
        text = files.read(paths.config(subnet)) or ""
        files.write(paths.started(subnet), text)
        log = paths.log(subnet)
        with files.saying(f"{log} cannot be kept"):
            if log.exists():
                log.replace(log.with_name("log.1"))
        argv = [self.dnsmasq, f"--conf-file={paths.started(subnet)}", f"--log-facility={log}", "--quiet-dhcp"]
        # It returns when dnsmasq serves, or has said why it will not.
        status, said = self.run(netns.command(namespace, *argv))
        if status:
            raise Refused(f"dhcp.{subnet}: dnsmasq does not start: {said}")

    def stop(self, subnet: str) -> None:
        _end(subnet)


def _end(subnet: str) -> None:
    running = process.find(subnet)
    if running:
        process.end(running)


def supervisor(run: Run, dnsmasq: str) -> Systemd | Alone:
    """Return what keeps daemons running on this host (sd_booted(3) says how to tell)."""
    return Systemd(run, dnsmasq) if Path("/run/systemd/system").is_dir() else Alone(run, dnsmasq)

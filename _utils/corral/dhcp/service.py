"""What keeps the dnsmasq of a subnet running: systemd where it is the init system, else nothing but us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from corral.dhcp import files, paths, process
from corral.errors import Refused

Run = Callable[..., tuple[int, str]]  # argv → exit status and output; see wire.run

UNITS = Path("/etc/systemd/system")
TEMPLATE = """\
# Written by Corral; changes made here are undone.
[Unit]
Description=DHCP for the subnet %i (Corral)
After=network.target openvswitch-switch.service openvswitch.service
# The device of the subnet may come later than any unit that could be named here: try for ever.
StartLimitIntervalSec=0

[Service]
Type=forking
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
        self.template = TEMPLATE.format(run=paths.RUN, config=paths.CONFIG, dnsmasq=dnsmasq)

    def flaw(self, subnet: str) -> str:
        """Return in words what keeps the subnet from being served after a reboot or a crash."""
        if files.read(UNITS / "corral-dhcp@.service") != self.template:
            return "from an older unit"
        link = UNITS / "multi-user.target.wants" / f"corral-dhcp@{subnet}.service"
        return "" if link.is_symlink() else "but not started at boot"

    def start(self, subnet: str) -> None:
        """Start dnsmasq with the configuration that is written, in place of one that runs."""
        if files.read(UNITS / "corral-dhcp@.service") != self.template:
            files.write(UNITS / "corral-dhcp@.service", self.template)
            self._systemctl(subnet, "daemon-reload")
        unit = f"corral-dhcp@{subnet}.service"
        self._systemctl(subnet, "enable", "--quiet", unit)
        self._systemctl(subnet, "restart", unit)

    def stop(self, subnet: str) -> None:
        """End dnsmasq for good."""
        self._systemctl(subnet, "disable", "--quiet", "--now", f"corral-dhcp@{subnet}.service")

    def _systemctl(self, subnet: str, *words: str) -> None:
        status, text = self.run(["systemctl", *words], seconds=30)
        if status and words[0] == "restart":
            # What dnsmasq said is in the journal; systemctl only says that there is something.
            its_own = ["-u", words[-1], "-t", "dnsmasq", "-n", "2", "-o", "cat", "--no-pager"]
            text = self.run(["journalctl", *its_own])[1] or text
            self.run(["systemctl", "stop", words[-1]], seconds=30)
        if status:
            raise Refused(f"dhcp.{subnet}: systemctl {words[0]} fails: {text}")


class Alone:
    """A daemon of its own, on a host without an init system; its log is beside its pid file."""

    def __init__(self, run: Run, dnsmasq: str) -> None:
        self.run = run
        self.dnsmasq = dnsmasq

    def flaw(self, subnet: str) -> str:
        return ""

    def start(self, subnet: str) -> None:
        self.stop(subnet)
        text = files.read(paths.config(subnet)) or ""
        files.write(paths.started(subnet), text)
        files.remove(paths.log(subnet))
        argv = [self.dnsmasq, f"--conf-file={paths.started(subnet)}", f"--log-facility={paths.log(subnet)}"]
        status, said = self.run(argv)  # returns when dnsmasq serves, or has said why it will not
        if status:
            raise Refused(f"dhcp.{subnet}: dnsmasq does not start: {said}")

    def stop(self, subnet: str) -> None:
        running = process.find(subnet)
        if running:
            process.end(running)


def supervisor(run: Run, dnsmasq: str) -> Systemd | Alone:
    """Return what keeps daemons running on this host (sd_booted(3) says how to tell)."""
    return Systemd(run, dnsmasq) if Path("/run/systemd/system").is_dir() else Alone(run, dnsmasq)

"""The demo: from a bare host to a pool of guests on Open vSwitch by ``state.highstate``, shown and checked.

::

    python -m lab.demo [--guests N] [--keep] [--json]

``bin/demo`` installs what it needs and calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from lab.display import Line, bond_table, guest_table, summary
from lab.host import CHECKOUT, Host, LabError
from lab.minion import Highstate, Minion, MinionError
from lab.tree import Tree, served

POOL, SUBNET, IMAGE, BOND = "fedora-guest", "vmworld", "fedora-23", "bond0"
LEASES = f"var/lib/corral/dhcp/{SUBNET}/leases"
READOUT = (
    "timeout=300"  # an emulated guest makes its host key at the first contact, with sixteen doing so at once
)
MOST_GUESTS = 101  # the range of pillar/s0.sls holds no more; bin/demo knows it too
BOND_SECONDS = 30  # LACP needs some five to agree, once both ends of the bond are up
FIGURES = (
    "guests",
    "running",
    "leased",
    "answering",
    "readout",
    "second_run_changes",
    "second_run_seconds",
    "converge_seconds",
    "disk_bytes",
    "test_mode_matched",
)


class DemoFailed(Exception):
    """A step did not do what it promises; the text says which and why."""


class Demo:
    """One run of the demo, and the figures it makes: all of ``FIGURES``, None while unknown."""

    def __init__(self, guests: int, keep: bool, console: Console) -> None:
        self.guests = guests
        self.keep = keep
        self.console = console
        self.figures: dict[str, Any] = {**dict.fromkeys(FIGURES), "guests": guests}
        self.bond_healthy = False

    def run(self) -> None:
        """Do all of it; raises ``DemoFailed`` at the first promise that does not hold."""
        with self.step("kernel, small guest and install tree"):
            tree = Tree.prepare()
        host = Host(keep=self.keep)
        salt = ""
        try:
            with host:
                self.console.print(f"[green]✔[/] hypervisor [bold]{host.name}[/] is up (process {host.pid})")
                with served(tree, host) as url:
                    grains = {"corral_lab": {"guests": self.guests, "install_url": url}}
                    minion = Minion(host, host.state / "salt", grains)
                    salt = f"  Salt:  {host.command('enter')} -- {shlex.join(minion.argv)} ovs.show"
                    self.shown(minion, tree)
        finally:
            if host.kept:
                self.say(f"{host.hints()}\n{salt}".rstrip())

    def shown(self, minion: Minion, tree: Tree) -> None:
        """Do all that happens in the hypervisor, with its logs where something fails."""
        try:
            self.highstates(minion)
            self.look(minion, tree)
        except (DemoFailed, MinionError):
            self.say(minion.host.logs())
            raise

    def say(self, text: str) -> None:
        """Print others' text as it is: nothing in it is markup, and its lines are not broken."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def highstates(self, minion: Minion) -> None:
        """Preview, run, and run again."""
        with self.step("salt-call --local state.highstate test=True"):
            preview = self.highstate(minion, "test=True")
        began = time.monotonic()
        with self.step("salt-call --local state.highstate", _Progress(minion.host, self.guests)):
            done = self.highstate(minion)
        self.figures["converge_seconds"] = round(time.monotonic() - began, 1)
        self.figures["test_mode_matched"] = preview.our_changes() == done.our_changes()
        began = time.monotonic()
        with self.step("salt-call --local state.highstate, a second time"):
            again = self.highstate(minion)
        self.figures["second_run_seconds"] = round(time.monotonic() - began, 1)
        self.figures["second_run_changes"] = again.changed

    def highstate(self, minion: Minion, *arguments: str) -> Highstate:
        answer = Highstate(minion.call("state.highstate", *arguments))
        if answer.failed:
            raise DemoFailed("\n".join(answer.failed))
        return answer

    def look(self, minion: Minion, tree: Tree) -> None:
        """Look at the guests from outside and from inside, and show them."""
        guests = minion.call("guest_pool.show", POOL)["guests"]
        leases = {lease["mac"]: lease for lease in minion.call("dhcp.leases", SUBNET)}
        self.figures["running"] = sum(guest["state"] == "running" for guest in guests.values())
        self.figures["leased"] = sum(guest["mac"] in leases for guest in guests.values())
        self.figures["disk_bytes"] = _disk_bytes(minion.host, guests)
        with self.step("ping every guest"):
            answering = _answering(minion.host, [guest["address"] for guest in guests.values()])
        self.figures["answering"] = len(answering)
        with self.step("uname -a of every guest over SSH"):
            said = minion.call("guest_pool.readout", POOL, "uname -a", f"key={tree.key}", READOUT)
        readout = {name: one["stdout"].strip() for name, one in said.items() if one.get("status") == 0}
        self.figures["readout"] = len(readout)
        bond = _settled_bond(minion)
        self.bond_healthy = bond["healthy"]
        self.console.print(guest_table(POOL, guests, leases, answering, readout))
        self.console.print(bond_table(BOND, bond))
        self.console.print(summary(self.figures))

    def kept(self) -> bool:
        """Whether every promise was kept."""
        counts = ("running", "leased", "answering", "readout")
        return (
            all(self.figures[count] == self.guests for count in counts)
            and self.figures["second_run_changes"] == 0
            and self.figures["test_mode_matched"] is True
            and self.bond_healthy
        )

    @contextlib.contextmanager
    def step(self, what: str, progress: Any = None) -> Iterator[None]:
        """Show a step while it runs (with what *progress* returns), and its time when it is done."""
        began = time.monotonic()
        with Line(self.console, what, progress):
            yield
        self.console.print(f"[green]✔[/] {what} [dim]{time.monotonic() - began:.1f} s[/]", highlight=False)


class _Progress:
    """How many images are built and guests have leased, from the files of the host itself."""

    def __init__(self, host: Host, guests: int) -> None:
        self.root = Path(f"/proc/{host.pid}/root")
        self.guests = guests
        self.leased = 0

    def __call__(self) -> str:
        built = len(list((self.root / "var/lib/libvirt/images/corral").glob("*.json")))
        with contextlib.suppress(OSError):  # dnsmasq empties the file each time before it writes it
            self.leased = max(self.leased, len((self.root / LEASES).read_text().splitlines()))
        return f"images built {built}/1 · guests leased {self.leased}/{self.guests}"


def _answering(host: Host, addresses: list[str | None]) -> set[str]:
    """Return the addresses that answer a ping; a guest may have none."""
    probe = [sys.executable, "-m", "lab.probe", *filter(None, addresses)]
    ping = host.run(probe, cwd=str(CHECKOUT), capture_output=True, text=True)
    if ping.returncode:
        raise DemoFailed(f"the guests could not be pinged: exit status {ping.returncode}\n{ping.stderr}")
    return set(json.loads(ping.stdout))


def _settled_bond(minion: Minion) -> dict[str, Any]:
    """Return the bond's status as soon as it is healthy, or as it is when it has had its time."""
    last = time.monotonic() + BOND_SECONDS
    while True:
        bond: dict[str, Any] = minion.call("ovs.bond_status", BOND)[BOND]
        if bond["healthy"] or time.monotonic() > last:
            return bond


def _disk_bytes(host: Host, guests: dict[str, Any]) -> int:
    """Return what the guests' own disks occupy."""
    paths = [disk["path"] for guest in guests.values() for disk in guest["disks"]]
    return sum(Path(f"/proc/{host.pid}/root{path}").stat().st_blocks * 512 for path in paths)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    def count(text: str) -> int:
        if not text.isdigit() or not 1 <= int(text) <= MOST_GUESTS:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_GUESTS}")
        return int(text)

    parser = argparse.ArgumentParser(prog="bin/demo", description="Guests on Open vSwitch, by highstate.")
    parser.add_argument("--guests", type=count, default=10, metavar="N", help="how many (default 10)")
    parser.add_argument("--keep", action="store_true", help="leave the hypervisor up and say how to enter it")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def main() -> int:
    """The command line; exit status 0 only if every promise was kept."""
    arguments = _arguments()
    stream = sys.stderr if arguments.json else sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else 120)  # a log has no width of its own
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    demo = Demo(arguments.guests, arguments.keep, console)
    try:
        demo.run()
        return 0 if demo.kept() else 1
    except (DemoFailed, MinionError, LabError) as failure:
        console.print("[red]✘[/] ", end="")
        demo.say(str(failure))
        return 1
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130
    finally:
        if arguments.json:
            print(json.dumps(demo.figures), flush=True)


if __name__ == "__main__":
    sys.exit(main())

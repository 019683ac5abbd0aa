"""The demo: from a bare host to a pool of guests on Open vSwitch by ``state.highstate``, shown and checked.

::

    python -m lab.demo [--guests N] [--keep] [--json]

``bin/demo`` installs what it needs and calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lab.host import Host, LabError
from lab.minion import Highstate, Minion, MinionError
from lab.tree import Tree, served

POOL, SUBNET, IMAGE, BOND = "fedora-guest", "vmworld", "fedora-23", "bond0"
LEASES = f"var/lib/corral/dhcp/{SUBNET}/leases"
READOUT = (
    "timeout=300"  # an emulated guest makes its host key at the first contact, with sixteen doing so at once
)
MOST_GUESTS = 101  # the range of pillar/s0.sls holds no more


class DemoFailed(Exception):
    """A step did not do what it promises; the text says which and why."""


class Demo:
    """One run of the demo and the figures it makes."""

    def __init__(self, guests: int, keep: bool, console: Console) -> None:
        self.guests = guests
        self.keep = keep
        self.console = console
        self.figures: dict[str, Any] = {"guests": guests}

    def run(self) -> None:
        """Do all of it; raises ``DemoFailed`` at the first promise that does not hold."""
        with self.step("kernel, small guest and install tree"):
            tree = Tree.prepare()
        with Host(keep=self.keep) as host:
            self.console.print(f"[green]✔[/] hypervisor [bold]{host.name}[/] is up (process {host.pid})")
            with served(tree, host) as url:
                grains = {"corral_lab": {"guests": self.guests, "install_url": url}}
                minion = Minion(host, host.state / "salt", grains)
                try:
                    self.highstates(minion)
                    self.look(minion, tree)
                except (DemoFailed, MinionError):
                    self.console.print(host.logs(), highlight=False, markup=False)
                    raise
            if self.keep:
                self.console.print(
                    f"The hypervisor stays up. Enter it: {' '.join(host.enter_argv('/'))} bash"
                )
                self.console.print(f"Salt in it: {' '.join(minion.argv)} ovs.show", soft_wrap=True)
                self.console.print(f"Stop it: {sys.executable} -m lab.host stop {host.name}", soft_wrap=True)

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
        pool = minion.call("guest_pool.show", POOL)
        leases = {lease["mac"]: lease for lease in minion.call("dhcp.leases", SUBNET)}
        guests = pool["guests"]
        addresses = [guest["address"] for guest in guests.values()]
        with self.step("ping every guest"):
            ping = minion.host.run(
                [sys.executable, "-m", "lab.probe", *addresses], capture_output=True, text=True
            )
            answering = set(json.loads(ping.stdout))
        with self.step("uname -a of every guest over SSH"):
            said = minion.call("guest_pool.readout", POOL, "uname -a", f"key={tree.key}", READOUT)
        readout = {name: one["stdout"].strip() for name, one in said.items() if one.get("status") == 0}
        self.figures["running"] = sum(guest["state"] == "running" for guest in guests.values())
        self.figures["leased"] = sum(guest["mac"] in leases for guest in guests.values())
        self.figures["answering"] = len(answering)
        self.figures["readout"] = len(readout)
        self.figures["disk_bytes"] = _disk_bytes(minion.host, guests)
        self.console.print(_guest_table(guests, leases, answering, readout))
        self.console.print(_bond_table(minion.call("ovs.bond_status", BOND)[BOND]))
        self.console.print(_summary(self.figures))

    def kept(self) -> bool:
        """Whether every promise was kept."""
        counts = ("running", "leased", "answering", "readout")
        return (
            all(self.figures.get(count) == self.guests for count in counts)
            and self.figures["second_run_changes"] == 0
            and self.figures["test_mode_matched"]
        )

    @contextlib.contextmanager
    def step(self, what: str, progress: Any = None) -> Iterator[None]:
        """Show a step while it runs (with what *progress* returns), and its time when it is done."""
        began = time.monotonic()
        with _Line(self.console, what, progress):
            yield
        self.console.print(f"[green]✔[/] {what} [dim]{time.monotonic() - began:.1f} s[/]", highlight=False)


class _Line:
    """A line that a thread keeps up to date; on a terminal in place, else again at each change."""

    def __init__(self, console: Console, what: str, progress: Any) -> None:
        self.console, self.what, self.progress = console, what, progress or (lambda: "")
        self.live = Live(self.spinner(), console=console, transient=True) if console.is_terminal else None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.follow, daemon=True)

    def spinner(self) -> Spinner:
        return Spinner("dots", Text.assemble(self.what, "  ", (self.progress(), "cyan")))

    def follow(self) -> None:
        shown = ""
        while not self.ended.wait(0.5 if self.live else 5):
            if self.live:
                self.live.update(self.spinner())
            elif (now := self.progress()) != shown:
                shown = now
                self.console.print(f"  {now}", highlight=False)

    def __enter__(self) -> _Line:
        if self.live:
            self.live.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        if self.live:
            self.live.stop()


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


def _disk_bytes(host: Host, guests: dict[str, Any]) -> int:
    """Return what the guests' own disks occupy."""
    paths = [disk["path"] for guest in guests.values() for disk in guest["disks"]]
    return sum(Path(f"/proc/{host.pid}/root{path}").stat().st_blocks * 512 for path in paths)


def _guest_table(
    guests: dict[str, Any], leases: dict[str, Any], answering: set[str], readout: dict[str, str]
) -> Table:
    table = Table(title=f"Pool {POOL}", title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    for column, width in (("guest", len(max(guests, key=len))), ("MAC", 17), ("address", 15)):
        table.add_column(column, no_wrap=True, width=width)
    for column in ("lease", "ping"):
        table.add_column(column, no_wrap=True, width=5)
    table.add_column("uname -a", no_wrap=True, ratio=1)
    for name, guest in guests.items():
        table.add_row(
            name,
            guest["mac"],
            guest["address"],
            _mark(guest["mac"] in leases),
            _mark(guest["address"] in answering),
            readout.get(name, "[red]no answer[/]"),
        )
    return table


def _bond_table(bond: dict[str, Any]) -> Table:
    health = "[green]healthy[/]" if bond["healthy"] else f"[red]{bond['reason']}[/]"
    title = f"Bond {BOND}: {bond['mode']}, LACP {bond['lacp']}, {health}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    for column in ("member", "enabled", "link"):
        table.add_column(column)
    table.add_column("partner", ratio=1)
    for name, member in bond["members"].items():
        table.add_row(name, _mark(member["enabled"]), member["link"], member["partner"])
    return table


def _mark(yes: bool) -> str:
    return "[green]✔[/]" if yes else "[red]✘[/]"


def _summary(figures: dict[str, Any]) -> str:
    return (
        f"{figures['leased']} of {figures['guests']} guests leased, {figures['answering']} answer ping, "
        f"{figures['readout']} answered over SSH; first highstate {figures['converge_seconds']} s, "
        f"second {figures['second_run_seconds']} s with {figures['second_run_changes']} changes; "
        f"disks of all guests {figures['disk_bytes'] / 1e6:.1f} MB; "
        f"preview and run {'the same' if figures['test_mode_matched'] else '[red]differ[/]'}."
    )


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
    wide = None if sys.stdout.isatty() else 120  # a log has no width of its own
    console = Console(stderr=arguments.json, width=wide)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    demo = Demo(arguments.guests, arguments.keep, console)
    try:
        demo.run()
        kept = demo.kept()
    except (DemoFailed, MinionError, LabError) as failure:
        console.print(f"[red]✘[/] {failure}", highlight=False)
        kept = False
    except KeyboardInterrupt:
        console.print("Interrupted; the hypervisor is gone.")
        return 130
    if arguments.json:
        print(json.dumps(demo.figures))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

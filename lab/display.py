"""What the demo shows: a line that moves while a step runs, and its tables."""

from __future__ import annotations

import threading
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Line:
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
        ended = False
        while not ended:
            ended = self.ended.wait(0.5 if self.live else 5)
            if self.live:
                self.live.update(self.spinner())
            elif (now := self.progress()) != shown:
                shown = now
                self.console.print(f"  {now}", highlight=False)

    def __enter__(self) -> Line:
        if self.live:
            self.live.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        if self.live:
            self.live.stop()


def guest_table(
    pool: str, guests: dict[str, Any], leases: dict[str, Any], answering: set[str], readout: dict[str, str]
) -> Table:
    """Return a row for each guest: where it is, and whether it leased, answers and says who it is."""
    table = Table(title=f"Pool {pool}", title_justify="left", box=box.SIMPLE_HEAD, expand=True)
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
            escape(readout[name]) if name in readout else "[red]no answer[/]",
        )
    return table


def bond_table(name: str, bond: dict[str, Any]) -> Table:
    """Return a row for each member of a bond, under its verdict."""
    health = "[green]healthy[/]" if bond["healthy"] else f"[red]{escape(bond['reason'])}[/]"
    title = f"Bond {name}: {bond['mode']}, LACP {bond['lacp']}, {health}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    for column in ("member", "enabled", "link"):
        table.add_column(column)
    table.add_column("partner", ratio=1)
    for member_name, member in bond["members"].items():
        table.add_row(member_name, _mark(member["enabled"]), member["link"], member["partner"])
    return table


def _mark(yes: bool) -> str:
    return "[green]✔[/]" if yes else "[red]✘[/]"


def summary(figures: dict[str, Any]) -> str:
    """Return the figures as a sentence; all of them must be known."""
    return (
        f"{figures['leased']} of {figures['guests']} guests leased, {figures['answering']} answer ping, "
        f"{figures['readout']} answered over SSH; first highstate {figures['converge_seconds']} s, "
        f"second {figures['second_run_seconds']} s with {figures['second_run_changes']} changes; "
        f"disks of all guests {figures['disk_bytes'] / 1e6:.1f} MB; "
        f"preview and run {'the same' if figures['test_mode_matched'] else '[red]differ[/]'}."
    )

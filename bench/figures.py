"""A figure, and the page and the file that all of them end in."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import clock
from bench.clock import Rounds
from bench.salt import OURS
from lab.host import CHECKOUT

PAGE = Path(__file__).with_name("README.rst")
RESULTS = Path(__file__).with_name("results.json")
BEGIN, END = ".. figures: made by bench/run", ".. end of figures"
PEERS = CHECKOUT / ".lab/bench"
SALT_PEER = PEERS / "salt-3007/bin/salt-call"
ANSIBLE = PEERS / "ansible/bin/ansible-playbook"
COLUMNS = (
    "what Corral did",
    "beside",
    "Corral is",
    "goal",
    "by CPU time",
    "Corral, s",
    "beside, s",
    "rounds",
)


@dataclass(frozen=True)
class Figure:
    """One row: what Corral did beside something else.

    value, goal
        In ``unit``; at most ``goal`` is wanted, None if there is no goal for it.
    cpu
        The same by the CPU time of the commands, which other work on the machine hardly alters.
    ours, theirs
        Seconds, if it is about time.
    """

    what: str
    beside: str
    value: float
    unit: str = "×"
    goal: float | None = None
    cpu: float | None = None
    ours: float | None = None
    theirs: float | None = None
    rounds: int = 1

    def row(self) -> tuple[str, ...]:
        """The cells of the table."""
        met = "" if self.goal is None else (" ✔" if self.value <= self.goal else " **missed**")
        return (
            self.what,
            self.beside,
            f"{self.value:.3g} {self.unit}{met}",
            "" if self.goal is None else f"≤ {self.goal:g} {self.unit}",
            "" if self.cpu is None else f"{self.cpu:.3g} {self.unit}",
            *("" if value is None else f"{value:.2f}" for value in (self.ours, self.theirs)),
            str(self.rounds),
        )


def ratio(
    rounds: Rounds, what: str, beside: str, ours: str, *theirs: str, goal: float | None = None
) -> Figure:
    """How many times as long *ours* took as *theirs* together."""
    return _compared(clock.ratio, "×", rounds, what, beside, ours, theirs, goal)


def extra(
    rounds: Rounds, what: str, beside: str, ours: str, *theirs: str, goal: float | None = None
) -> Figure:
    """How many seconds more *ours* took than *theirs* together."""
    return _compared(clock.extra, "s more", rounds, what, beside, ours, theirs, goal)


def _compared(
    how: Callable[..., float],
    unit: str,
    rounds: Rounds,
    what: str,
    beside: str,
    ours: str,
    theirs: tuple[str, ...],
    goal: float | None,
) -> Figure:
    middle = {name: statistics.median(rounds.seconds[name]) for name in (ours, *theirs)}
    return Figure(
        what,
        beside,
        how(rounds.seconds, ours, *theirs),
        unit=unit,
        goal=goal,
        cpu=how(rounds.cpu, ours, *theirs),
        ours=middle[ours],
        theirs=sum(middle[name] for name in theirs),
        rounds=len(rounds.seconds[ours]),
    )


def load() -> float:
    """The machine's load average of the last minute."""
    return round(os.getloadavg()[0], 1)


def publish(measure: str, title: str, figures: list[Figure], load_before: float) -> None:
    """Put the figures of a measure into ``results.json`` and the page, in place of its older ones."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[measure] = {
        "title": title,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "load_before": load_before,
        "conditions": _conditions(),
        "figures": [asdict(figure) for figure in figures],
    }
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    head, _, rest = PAGE.read_text().partition(BEGIN)
    foot = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n\n{''.join(map(_section, results.values()))}{END}{foot}")


def _section(result: dict[str, Any]) -> str:
    lines = [result["title"], "-" * len(result["title"]), "", ".. list-table::", "   :header-rows: 1", ""]
    for cells in (COLUMNS, *(Figure(**figure).row() for figure in result["figures"])):
        first, *others = cells
        lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]
    conditions = "; ".join(f"{key} {value}" for key, value in result["conditions"].items())
    date = f"Measured {result['date']}, load average before {result['load_before']:g}"
    return "\n".join([*lines, "", f"{date}; {conditions}.", "", ""])


def _conditions() -> dict[str, str]:
    """What it was measured with."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "commit": _commit(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "Linux": platform.release(),
        "Salt": _said(str(OURS), "--version").split()[1],
        "Salt as peer": _said(str(SALT_PEER), "--version").split()[1],
        "Ansible": _said(str(ANSIBLE.with_name("pip")), "show", "ansible").split("Version:")[1].split()[0],
        "Open vSwitch": _said("ovs-vsctl", "--version").splitlines()[0].split()[-1],
        "libvirt": _said("libvirtd", "--version").split()[-1],
        "QEMU": _said("qemu-system-x86_64", "--version").split()[3].partition("(")[0] + " (TCG)",
    }


def _commit() -> str:
    """Return the commit, and whether more has changed since than what a run of bench writes itself."""
    git = ("git", "-C", str(CHECKOUT))
    changed = _said(*git, "status", "--porcelain", "--", ".", ":!bench/README.rst", ":!bench/results.json")
    return _said(*git, "rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

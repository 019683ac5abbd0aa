"""``python -m bench``, called by ``bench/run``: measure, and write the tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bench import clones, figures, guests, mesh, switch
from bench.figures import Figure
from bench.salt import BenchError
from lab.host import LabError
from lab.minion import MinionError


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description="Corral beside its peers and raw floors.")
    parser.add_argument("measures", nargs="*", help="switch, mesh, clones, guests (default: all)")
    parser.add_argument(
        "--guests", type=int, default=101, metavar="N", help="how many (default 101, the most)"
    )
    parser.add_argument("--ports", type=int, default=1000, metavar="N", help="of the switch (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of what is quick (default 5)")
    parser.add_argument("--peer-rounds", type=int, default=3, metavar="N", help="of slow peers (default 3)")
    parser.add_argument(
        "--loops",
        default=guests.LOOPS,
        metavar="LIST",
        help=f"hand-written loops to try, the fastest counts (default {guests.LOOPS})",
    )
    return parser.parse_args()


def main() -> int:
    """Do it; exit status 1 when something could not be measured."""
    arguments = _arguments()
    measures: dict[str, tuple[str, Callable[[], list[Figure]]]] = {
        "switch": (
            switch.TITLE,
            lambda: switch.measure(arguments.ports, arguments.rounds, arguments.peer_rounds),
        ),
        "mesh": (mesh.TITLE, lambda: mesh.measure(arguments.ports, arguments.rounds)),
        "clones": (clones.TITLE, lambda: clones.measure(arguments.guests, arguments.rounds)),
        "guests": (
            guests.TITLE,
            lambda: guests.measure(arguments.guests, arguments.loops.split(","), arguments.rounds),
        ),
    }
    chosen = arguments.measures or list(measures)
    if unknown := set(chosen) - set(measures):
        print(f"bench/run: there is no measure {', '.join(unknown)} ({', '.join(measures)})", file=sys.stderr)
        return 2
    for name in chosen:
        title, measure = measures[name]
        before = figures.load()
        try:
            found = measure()
        except (BenchError, LabError, MinionError) as failure:
            print(f"bench/run: {name}: {failure}", file=sys.stderr)
            return 1
        figures.publish(name, title, found, before)
        for figure in found:
            print(" | ".join(figure.row()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

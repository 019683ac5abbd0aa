"""The watchdog as a program: ``python -I program.py watch IDENTITY [DESCRIPTOR]`` and ``… boot [early]``.

Until the journal has told where this package is, it needs the standard library only.
"""

from __future__ import annotations

import json
import os
import sys

JOURNAL = "/var/lib/corral/guard/journal.json"


def main(verb: str, identity: str = "", descriptor: str = "") -> None:
    """Watch one guard, or take back after a boot what is still armed."""
    try:
        with open(JOURNAL, encoding="utf-8") as file:
            journal = json.load(file)
    except FileNotFoundError:
        return
    sys.path[:] = journal["paths"]
    os.environ.update(journal["environment"])
    if descriptor and os.fork():  # nobody's child any more but process 1's, and no leader of a session
        os._exit(0)
    from corral.guard import watchdog

    if verb == "boot":
        watchdog.boot(early=identity == "early")
    else:
        watchdog.watch(identity, int(descriptor or -1))


if __name__ == "__main__":
    main(*sys.argv[1:])

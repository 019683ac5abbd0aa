"""Copy-on-write clones of a base, all of a pool at once, beside as many bare ``qemu-img create``.

``python -m bench.clones CLONES ROUNDS DISK`` does it, inside a throw-away hypervisor, and prints JSON.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench.clock import Rounds
from bench.figures import Figure, ratio
from bench.salt import BenchError
from lab.host import CHECKOUT, Host
from lab.tree import Tree

TITLE = "Clones"
FOLDER = Path("/var/lib/libvirt/images")


def measure(count: int, rounds: int) -> list[Figure]:
    """Return the figures of *count* clones."""
    disk = Tree.prepare().disk
    argv = [sys.executable, "-m", "bench.clones", str(count), str(rounds), str(disk)]
    with Host() as host:
        done = host.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"clones: {done.stderr}")
    return [Figure(**figure) for figure in json.loads(done.stdout)]


def _inside(count: int, rounds: int, disk: str) -> list[Figure]:
    from corral.image.model import Base
    from corral.pool import disks

    path = FOLDER / "bench-base.qcow2"
    _run("qemu-img", "convert", "-O", "qcow2", disk, str(path))
    size = Path(disk).stat().st_size
    facts = path.stat()
    base = Base("bench", str(path), "qcow2", "", facts.st_size, size, facts.st_mtime_ns, "file", disk, "")
    disks.make(base, size, [str(FOLDER / "first.qcow2")])  # the first look at the program is nobody's
    times, used = Rounds(), 0
    for number in range(rounds):
        bare, ours = FOLDER / f"bare-{number}", FOLDER / f"ours-{number}"
        bare.mkdir()
        clones = [str(ours / f"clone-{index}.qcow2") for index in range(count)]
        times.time("bare", functools.partial(_bare, bare, path, count))
        times.time("ours", functools.partial(disks.make, base, size, clones))
        used = sum(Path(clone).stat().st_blocks * 512 for clone in clones)
    beside = f"{count} bare qemu-img create -b, one after another"
    return [
        ratio(
            times,
            f"{count} clones, safely on the disk (the pool's own function)",
            beside,
            "ours",
            "bare",
            goal=2,
        ),
        Figure(f"{count} clones", "new bytes on the disk", used / 1e6, "MB", goal=60),
    ]


def _bare(folder: Path, base: Path, count: int) -> None:
    for index in range(count):
        clone = str(folder / f"clone-{index}.qcow2")
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(base), clone)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    if "CORRAL_LAB_HOST" not in os.environ:
        sys.exit("This fills a host's disk: it belongs inside a throw-away hypervisor.")
    sys.path.insert(0, str(CHECKOUT / "_utils"))
    print(json.dumps([asdict(figure) for figure in _inside(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])]))

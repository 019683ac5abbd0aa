"""Guests to their leases beside hand-written libvirt loops, and a highstate that has nothing to do."""

from __future__ import annotations

import sys
import time

from bench.clock import Rounds
from bench.figures import Figure, extra, load
from bench.salt import BenchError, changed, check
from lab.host import Host
from lab.minion import Minion
from lab.tree import Tree, served

TITLE = "Guests"
LOOPS = "3:until-leased,4:until-leased,6:until-leased,4:until-started"
BASE = "/var/lib/libvirt/images/loop-base.qcow2"
SETUP = "switch,links,firewall,dhcp,images"


def measure(guests: int, loops: list[str], rounds: int) -> list[Figure]:
    """Return the figures; *loops* are of the form WIDTH:until-started or WIDTH:until-leased."""
    tree = Tree.prepare()
    seconds, idle = _corral(tree, guests, rounds)
    tried = sorted((_loop(tree, guests, how), how) for how in loops)
    what = f"{guests} guests from nothing to all leases (guest_pool.running), a single run of each"
    started = [
        Figure(
            what,
            f"{'fastest ' if goal else ''}hand-written libvirt loop ({how})",
            seconds / took,
            goal=goal,
            ours=seconds,
            theirs=took,
        )
        for (took, how), goal in zip(tried, [1.1, *[None] * len(tried)], strict=False)
    ]
    return [*started, *idle]


def _corral(tree: Tree, guests: int, rounds: int) -> tuple[float, list[Figure]]:
    """Start the pool of pillar/ once, then run highstates that find nothing to do."""
    idle = Rounds()
    with Host() as host, served(tree, host) as url:
        minion = Minion(host, host.state / "salt", {"corral_lab": {"guests": guests, "install_url": url}})
        check(minion.call("state.apply", SETUP))
        before = load()
        began = time.monotonic()
        check(minion.call("state.apply", "guests"))
        seconds = time.monotonic() - began
        print(f"corral: {seconds:.1f} s, load {before} to {load()}", file=sys.stderr, flush=True)
        check(minion.call("state.highstate"))
        for _ in range(rounds):
            idle.time("ping", lambda: minion.call("test.ping"))
            again = idle.time("highstate", lambda: minion.call("state.highstate"))
            check(again)
            if changed(again):
                raise BenchError("a highstate with nothing to do changed something")
            idle.time("nop", lambda: minion.call("state.single", "test.nop", "bench"))
    what = f"highstate with nothing to do, {guests} guests running"
    return seconds, [
        extra(idle, what, "salt-call test.ping", "highstate", "ping", goal=1.0),
        extra(idle, what, "salt-call state.single test.nop", "highstate", "nop"),
    ]


def _loop(tree: Tree, guests: int, how: str) -> float:
    """Return the seconds of one hand-written loop, in a hypervisor of its own."""
    width, _, hold = how.partition(":")
    with Host() as host:
        before = load()
        convert = ["qemu-img", "convert", "-O", "qcow2", str(tree.disk), BASE]
        argv = [sys.executable, "-m", "bench.loop", str(guests), BASE, width, hold]
        for step in (convert, argv):
            done = host.run(step, capture_output=True, text=True)
            if done.returncode:
                raise BenchError(f"{' '.join(step)}: {done.stderr}\n{host.logs()}")
    print(f"loop {how}: {float(done.stdout):.1f} s, load {before} to {load()}", file=sys.stderr, flush=True)
    return float(done.stdout)

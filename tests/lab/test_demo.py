"""The demo keeps its promises, says when it does not, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lab.demo import Demo
from lab.display import guest_table
from lab.host import CHECKOUT, Host, hosts
from lab.tree import Tree
from tests.lab.remains import DEADLINE, nothing_is_left, stop_hosts_of, wait_for_end

GUESTS = 3
PROMISED = {
    "guests": GUESTS,
    "running": GUESTS,
    "leased": GUESTS,
    "answering": GUESTS,
    "readout": GUESTS,
    "second_run_changes": 0,
    "test_mode_matched": True,
}
MEASURED = {"second_run_seconds", "converge_seconds", "disk_bytes"}
UP = re.compile(rb"hypervisor (\S+) is up")
BOOTING = re.compile(rb"images built 1/1")


def test_demo() -> None:
    """S0.2 to S0.8 in one run: image, switch, bond, DHCP, pool, leases, readout."""
    demo = [str(CHECKOUT / "bin/demo"), f"--guests={GUESTS}", "--json"]
    run = subprocess.run(demo, cwd="/", capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert {key: figures.pop(key) for key in PROMISED} == PROMISED
    assert figures.keys() == MEASURED
    assert all(value > 0 for value in figures.values())
    assert "images built 1/1 · guests leased 3/3" in run.stderr
    assert "healthy" in run.stderr


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def finished(said: io.StringIO) -> Demo:
    """A demo that has kept its promises."""
    demo = Demo(GUESTS, keep=False, console=Console(file=said, width=80))
    demo.figures |= PROMISED | dict.fromkeys(MEASURED, 1)
    demo.bond_healthy = True
    assert demo.kept()
    return demo


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        *((count, value) for count in ("running", "leased", "answering", "readout") for value in (2, None)),
        ("second_run_changes", 1),
        ("second_run_changes", None),
        ("test_mode_matched", False),
        ("test_mode_matched", None),
    ],
)
def test_each_promise_counts(finished: Demo, figure: str, value: Any) -> None:
    finished.figures[figure] = value
    assert not finished.kept()


def test_the_bond_counts(finished: Demo) -> None:
    finished.bond_healthy = False
    assert not finished.kept()


def test_what_others_say_is_shown_as_it_is(finished: Demo, said: io.StringIO) -> None:
    """Rich takes words in brackets for its markup, and breaks lines at its width."""
    sentence = f"bond0: [eth1, eth2] of [/etc/foo], {'a long ' * 20}sentence"
    finished.say(sentence)
    guest = {"mac": None, "address": None}
    finished.console.print(guest_table("web", {"web-0": guest}, {}, set(), {"web-0": "Linux [/x]"}))
    assert sentence in said.getvalue()
    assert "Linux [/x]" in said.getvalue()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A checkout of its own, with what is made and installed in the real one."""
    Tree.prepare()
    for folder in ("lab", "pillar", "salt", "_modules", "_states", "_utils", ".lab/cache"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder, symlinks=True)
    (tmp_path / ".venv").symlink_to(CHECKOUT / ".venv")
    yield tmp_path
    stop_hosts_of(tmp_path)


def test_a_demo_that_fails_says_all_and_is_kept(checkout: Path) -> None:
    pillar = checkout / "pillar/lab.sls"
    wrong = pillar.read_text().replace("[eth3, eth4], mode: balance-tcp", "[eth3, eth4], mode: '[/etc/foo]'")
    pillar.write_text(wrong)
    python = str(checkout / ".venv/bin/python")
    argv = [python, "-m", "lab.demo", f"--guests={GUESTS}", "--json", "--keep"]
    run = subprocess.run(argv, cwd=checkout, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    figures = json.loads(run.stdout)
    assert figures == {**dict.fromkeys((*PROMISED, *MEASURED)), "guests": GUESTS}
    assert "[/etc/foo]" in run.stderr

    salt, stop = (re.search(rf"^  {verb}: +(.+)$", run.stderr, re.MULTILINE) for verb in ("Salt", "stop"))
    assert salt and stop
    (name,) = re.findall(r"hypervisor (\S+) is up", run.stderr)
    namespace = os.readlink(f"/proc/{hosts()[name]}/ns/pid")
    shown = subprocess.check_output(["sh", "-c", salt[1]], cwd="/", text=True)
    assert "bridges" in shown
    subprocess.run(["sh", "-c", stop[1]], cwd="/", check=True)
    nothing_is_left(name, namespace)


@dataclass
class Started:
    """A demo, and the hypervisor that it has said is up."""

    demo: subprocess.Popen[bytes]
    name: str
    namespace: str

    @classmethod
    def now(cls) -> Started:
        argv = [sys.executable, "-m", "lab.demo", "--guests=10", "--json", "--keep"]
        demo = subprocess.Popen(
            argv,
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # so that nothing is lost between reading lines and communicate()
            start_new_session=True,
        )
        name = awaited(demo, UP)[1].decode()
        return cls(demo, name, os.readlink(f"/proc/{hosts()[name]}/ns/pid"))

    def interrupt(self, number: signal.Signals) -> list[int]:
        """Signal it, as a terminal does for SIGINT; return its children, to be waited for."""
        pid = self.demo.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        opened = [os.pidfd_open(int(child)) for child in children]
        if number is signal.SIGINT:
            os.killpg(pid, number)
        else:
            self.demo.send_signal(number)
        return opened


def awaited(demo: subprocess.Popen[bytes], sign: re.Pattern[bytes]) -> re.Match[bytes]:
    """Read what the demo says until it is *sign*."""
    assert demo.stderr is not None
    for line in demo.stderr:
        if found := sign.search(line):
            return found
    raise AssertionError(f"the demo ended before it said {sign.pattern!r}")


@pytest.mark.parametrize("moment", [None, BOOTING], ids=["just up", "guests booting"])
def test_nothing_is_left_of_an_interrupted_one(moment: re.Pattern[bytes] | None) -> None:
    """Three at a time: one for each signal. That they are to be kept makes no difference."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    started = {number: Started.now() for number in signals}
    children = {}
    for number, one in started.items():
        if moment:
            awaited(one.demo, moment)
        children[number] = one.interrupt(number)
    for number, one in started.items():
        out, said = one.demo.communicate(timeout=DEADLINE)
        assert b"Traceback" not in said, said.decode()
        for child in children[number]:
            assert select.select([child], [], [], DEADLINE)[0], "it outlives the demo"
            os.close(child)
        wait_for_end(one.name)
        if number is signal.SIGKILL:
            assert one.demo.returncode == -number
            with Host(nics=0, oz_bridge=None):  # nobody was left to remove its files: the next start does
                pass
        else:
            assert one.demo.returncode == 128 + number
            assert json.loads(out.splitlines()[-1]).keys() == {*PROMISED, *MEASURED}
        nothing_is_left(one.name, one.namespace)

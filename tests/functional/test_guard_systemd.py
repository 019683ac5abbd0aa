"""A guard on a host that systemd has booted: its watchdog is a unit, and another one waits for the next boot.

No systemd runs in the throw-away host, so ``tests.support.guard_systemd`` stands for ``systemd-run`` on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.guard import hand, journal, unit, watchdog
from tests.support import guard_net as net
from tests.support import guard_runs as runs
from tests.support import guard_systemd
from tests.support.expect import assert_failed
from tests.support.guard_net import NEAR

PROGRAM = Path("/usr/local/sbin/systemd-run")
GUARD = {"within": "3s", "probes": ["gateway"]}
LONG = {"within": "5m", "probes": ["gateway"]}


@pytest.fixture(autouse=True)
def reached() -> Iterator[None]:
    """This host with a way out, booted by systemd."""
    PROGRAM.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {guard_systemd.__file__} "$@"\n')
    PROGRAM.chmod(0o755)
    watchdog.SYSTEMD.mkdir(parents=True)
    with net.peer():
        net.settle(NEAR)
        yield
        runs.watchdog_ended()
        hand.recover(False)
    shutil.rmtree("/run/systemd")
    PROGRAM.unlink()
    for name in unit.texts():
        for file in (unit.UNITS / name, unit.WANTS / name):
            file.unlink(missing_ok=True)


def test_the_watchdog_is_a_unit_and_another_waits_for_the_next_boot() -> None:
    before = net.network(NEAR)
    with runs.run("link", NEAR, {"up": False}, LONG, held=True) as child:
        runs.applied(child)
        for name, text in unit.texts().items():
            assert (unit.UNITS / name).read_text() == text
            assert (unit.WANTS / name).resolve() == unit.UNITS / name
        assert os.getsid(runs.watched()) != os.getsid(child.pid)
        child.kill()
        child.wait()
        runs.watchdog_ended()
    assert net.network(NEAR) == before
    assert runs.outcome() == "reverted"


def test_older_units_are_replaced(state: Any) -> None:
    (name, *_) = unit.texts()
    unit.WANTS.mkdir(exist_ok=True)
    (unit.UNITS / name).write_text("older")
    assert state("link.managed", NEAR, guard=LONG, mtu=1400)["result"] is True
    assert (unit.UNITS / name).read_text() == unit.texts()[name]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("exec false", "systemd-run cannot start the watchdog: "),
        ("echo 'Failed to connect to bus.'; exit 1", "cannot start the watchdog: Failed to connect to bus."),
        (None, "systemd-run is not installed (package systemd)."),
    ],
    ids=["fails", "says why", "is not there"],
)
def test_without_a_watchdog_nothing_is_changed(
    state: Any, monkeypatch: pytest.MonkeyPatch, program: str | None, sentence: str
) -> None:
    before = net.network(NEAR)
    if program is None:
        monkeypatch.setattr(watchdog, "PATH", "/nowhere")
    else:
        PROGRAM.write_text(f"#!/bin/sh\n{program}\n")
    assert_failed(state("link.managed", NEAR, guard=GUARD, mtu=1400), sentence)
    assert net.network(NEAR) == before
    assert journal.read() is None
    assert state("link.managed", NEAR, mtu=1400)["result"] is True, "nothing is in the way of others"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd to judge the units")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name, text in unit.texts().items():
        (tmp_path / name).write_text(text)
        judged = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / name], check=False, capture_output=True, text=True
        )
        assert (judged.returncode, judged.stderr) == (0, "")

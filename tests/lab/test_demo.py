"""The demo keeps its promises, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from lab.host import CHECKOUT, hosts

GUESTS = 3


def start() -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "lab.demo", f"--guests={GUESTS}", "--json"]
    return subprocess.Popen(
        argv, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=1
    )


def test_demo() -> None:
    """S0.2 to S0.8 in one run: image, switch, bond, DHCP, pool, leases, readout."""
    demo = start()
    out, said = demo.communicate()
    assert demo.returncode == 0, said
    figures = json.loads(out.splitlines()[-1])
    for count in ("guests", "running", "leased", "answering", "readout"):
        assert figures[count] == GUESTS, figures
    assert figures["second_run_changes"] == 0
    assert figures["test_mode_matched"] is True
    assert figures["disk_bytes"] > 0
    assert {"converge_seconds", "second_run_seconds"} <= figures.keys()
    assert "healthy" in said


def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    before = set(hosts())
    demo = start()
    assert demo.stderr is not None
    for line in demo.stderr:
        if "is up" in line:
            break
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=60) == 130
    assert set(hosts()) == before

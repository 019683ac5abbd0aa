"""``lab/setup.sh`` on a machine where systemd runs: it installs, leaves nothing enabled, says why it ends.

The script is real; the programs that would change the machine stand in front of the real ones on PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.host import CHECKOUT, PATH, Host

POLICY = "/usr/sbin/policy-rc.d"
THEIRS, OURS = "libvirtd.service enabled enabled\n", "virtlogd.socket enabled enabled\n"
STAND_INS = {
    "dpkg-query": "exit 1",  # as the real one when it knows none of the packages
    "systemctl": """
        case " $* " in
            *" list-unit-files "*) grep . "$ENABLED" ;; # exit status 1 for none, as the real one
            *" disable "*) shift; for unit; do sed -i "/^$unit /d" "$ENABLED"; done ;;
        esac""",
    "apt-get": f"""
        echo "apt-get $*" >>"$CALLS"
        case " $* " in
            *" install "*) printf '{OURS}' >>"$ENABLED"; eval "$THEN" ;;
        esac""",
}
Setup = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def machine() -> Iterator[Host]:
    """A machine that systemd has booted, by its own sign for that (sd_booted(3))."""
    with Host(nics=0, oz_bridge=None) as host:
        host.run(["mkdir", "-p", "/run/systemd/system"], check=True)
        yield host


@pytest.fixture
def setup(machine: Host, tmp_path: Path) -> Setup:
    """Run the setup of a fresh checkout; *then* is what apt-get does when it has installed."""
    (tmp_path / "checkout/lab").mkdir(parents=True)
    for name in ("setup.sh", "requirements.txt"):
        shutil.copy(CHECKOUT / "lab" / name, tmp_path / "checkout/lab")
    (tmp_path / "bin").mkdir()
    for name in ("enabled", "calls"):
        (tmp_path / name).touch()
    stand_in(tmp_path, STAND_INS)

    def run(then: str = "exit 1") -> subprocess.CompletedProcess[str]:
        paths = {"ENABLED": str(tmp_path / "enabled"), "CALLS": str(tmp_path / "calls")}
        environment = {**os.environ, **paths, "PATH": f"{tmp_path}/bin:{PATH}", "THEN": then}
        script = str(tmp_path / "checkout/lab/setup.sh")
        return machine.run([script], env=environment, capture_output=True, text=True)

    return run


def stand_in(tmp_path: Path, programs: dict[str, str]) -> None:
    for name, script in programs.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)


def policy(machine: Host) -> str:
    """Return what dpkg would ask before it starts a service."""
    return machine.run(["cat", POLICY], capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("then", "status"),
    [("exit 1", 1), ("kill -HUP $PPID", 129), ("kill -INT $PPID", 130), ("kill -TERM $PPID", 143)],
)
def test_packages_are_installed_and_their_services_left_off(
    setup: Setup, machine: Host, tmp_path: Path, then: str, status: int
) -> None:
    """Where nothing is enabled before, and however the installation ends."""
    before = policy(machine)
    run = setup(then)
    assert run.returncode == status, run.stderr
    assert " install " in (tmp_path / "calls").read_text(), run.stderr
    assert (tmp_path / "enabled").read_text() == ""
    assert policy(machine) == before


def test_the_next_one_finishes_what_a_killed_one_left(setup: Setup, machine: Host, tmp_path: Path) -> None:
    """It still knows what was enabled before, and leaves that enabled."""
    before = policy(machine)
    (tmp_path / "enabled").write_text(THEIRS)
    setup("kill -KILL $PPID")
    assert (tmp_path / "enabled").read_text() == THEIRS + OURS
    assert "start nothing" in policy(machine)
    run = setup()
    assert "leaving the new services off" in run.stdout
    assert (tmp_path / "enabled").read_text() == THEIRS
    assert policy(machine) == before


def test_it_does_not_end_without_a_word(setup: Setup, tmp_path: Path) -> None:
    stand_in(tmp_path, {"chmod": "exit 3"})
    run = setup()
    assert run.returncode == 1
    assert run.stderr.startswith("setup: exit status 3 of chmod 755 ")

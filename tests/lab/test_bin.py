"""``bin/test`` and ``bin/demo`` judge their arguments first, and an interrupt ends all of ``bin/test``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.host import CHECKOUT

# Stands for each program that bin/test runs. As pytest it takes an interrupt for an end like any other, and
# as a throw-away host it takes its time to wind down.
PROGRAM = f"""#!{sys.executable} -IS
import os, signal, sys, time

def wind_down(*_):
    time.sleep(0.5)
    open("wound-down", "w").close()
    os._exit(0)

words = " ".join(sys.argv)
if any(name in words for name in ("ruff", "mypy", "lab.tree", "lab.demo")):
    sys.exit()
if "test_ovs" in words:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, wind_down)
    open("beside", "w").close()
    signal.pause()
if "test_guest" in words:
    open("beside").close()
try:
    print("at work", flush=True)
    signal.pause()
except KeyboardInterrupt:
    sys.exit(2)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing to install and stand-ins to run."""
    shutil.copytree(CHECKOUT / "bin", tmp_path / "bin")
    for folder in ("lab", ".lab", ".venv/bin", "tests/functional"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("lab/setup.sh", "tests/functional/test_guest.py", "tests/functional/test_ovs.py"):
        (tmp_path / file).touch()
    for name in ("python", "ruff", "mypy"):
        program = tmp_path / ".venv/bin" / name
        program.write_text(PROGRAM)
        program.chmod(0o755)
    os.mkfifo(tmp_path / "beside")  # opened by the two halves of the functional tests when both are there
    return tmp_path


def interrupted(checkout: Path, *words: str) -> tuple[int, str]:
    """Interrupt ``bin/test`` at work as a terminal does; return its exit status and what it said then."""
    run = subprocess.Popen(
        [str(checkout / "bin/test"), *words], stdout=subprocess.PIPE, bufsize=0, start_new_session=True
    )
    assert run.stdout is not None
    while (line := run.stdout.readline()) != b"at work\n":
        assert line, "it has ended"
    os.killpg(run.pid, signal.SIGINT)
    try:
        said = run.communicate(timeout=30)[0]
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    return run.returncode, said.decode()


def test_an_interrupt_ends_all_parts(checkout: Path) -> None:
    assert interrupted(checkout) == (130, "")


def test_an_interrupt_ends_both_halves_of_a_part(checkout: Path) -> None:
    assert interrupted(checkout, "functional") == (130, "")
    assert (checkout / "wound-down").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bin/test", "nope"), "bin/test: there is no part 'nope'"),
        (("bin/demo", "--guests", "102"), "bin/demo: --guests: '102' is not a number from 1 to 101"),
        (("bin/demo", "--guests=0"), "bin/demo: --guests: '0' is not"),
        (("bin/demo", "--keep", "--guests"), "bin/demo: --guests: '' is not"),
        (("bin/demo", "--json", "--ports", "3"), "bin/demo: there is no option '--ports'"),
    ],
)
def test_arguments_are_judged_before_anything_is_installed(
    checkout: Path, words: tuple[str, ...], said: str
) -> None:
    (checkout / "lab/setup.sh").write_text("echo installing\n")
    run = subprocess.run([checkout / words[0], *words[1:]], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(said)


@pytest.mark.parametrize("command", ["bin/test", "bin/demo"])
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_the_header(checkout: Path, command: str, word: str) -> None:
    (checkout / "lab/setup.sh").write_text("echo installing\n")
    said = subprocess.check_output([checkout / command, word], text=True)
    assert f"  {command} " in said
    assert "installing" not in said

"""Builds by a program in oz-install's place: what it leaves behind, and what of its words is shown."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from corral.errors import Refused
from corral.image import programs
from corral.image.build import accepted, build
from corral.image.model import OzImage, declare
from corral.image.store import Scratch

TDL = {"os": "Fedora", "version": 23, "arch": "x86_64", "install": {"url": "http://install.example/f23/"}}
VIRSH = "#!/bin/sh\ncase \"$*\" in *' list '*) {list} ;; esac\n"

Oz = Callable[..., None]


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    folder = tmp_path / "store" / ".making" / "web.abc"
    folder.mkdir(parents=True)
    return Scratch(folder)


@pytest.fixture
def oz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Oz:
    """Put an oz-install and a virsh on the path: ``oz("lines of Python")``."""

    def put(body: str, interpreter: str = "/usr/bin/env python3", virsh: str = ":") -> None:
        for name, text in {
            "oz-install": f"#!{interpreter}\n{body}",
            "virsh": VIRSH.format(list=virsh),
        }.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setattr(programs, "FOLDERS", f"{tmp_path}:{programs.FOLDERS}")

    return put


def image(rootpw: str = "a-password") -> OzImage:
    declared = declare("web", {"source": "oz", "tdl": {**TDL, "rootpw": rootpw}})
    assert isinstance(declared, OzImage)
    return declared


GOOD = """
import pathlib, subprocess, sys
here = pathlib.Path(sys.argv[sys.argv.index("-x") + 1]).parent
(here / "disk.raw").write_bytes(b"x")
(here / "result.xml").write_text(
    f"<domain><devices><disk device='disk'><source file='{here}/disk.raw'/></disk></devices></domain>"
)
print(f"Libvirt XML was written to {here}/result.xml")
"""


def test_what_oz_left_running_ends_with_it(oz: Oz, scratch: Scratch) -> None:
    """Its files go with the scratch folder, and nobody would look for it later."""
    oz(GOOD + "stray = subprocess.Popen(['sleep', '600'])\n(here / 'stray').write_text(str(stray.pid))\n")
    disk = build(image(), scratch, lambda *_: None)
    assert disk == scratch.path / "disk.raw"
    stray = int((scratch.path / "stray").read_text())
    try:
        with open(os.pidfd_open(stray), "rb") as process:
            ended, _, _ = select.select([process], [], [], 10)
            assert ended
    except ProcessLookupError:
        pass


@pytest.mark.parametrize("password", ["a  two'quotes\"", "<tag> & 'more'", "s\u00e9cret word", "x" * 700])
def test_secrets_are_hidden_however_they_are_written(oz: Oz, scratch: Scratch, password: str) -> None:
    """Only then white space is condensed and the end is cut off."""
    forms = [password, repr(password), ascii(password), escape(password), repr(f"\"'{password}")]
    for form in forms:
        oz(f"raise ValueError('it said', {form!r})" if form is password else f"raise ValueError({form!r})")
        with pytest.raises(Refused) as raised:
            build(image(password), scratch, lambda *_: None)
        shown = str(raised.value)
        assert shown.startswith(".tdl: oz-install failed: ValueError: ")
        assert "********" in shown
        assert not [part for part in ("two", "tag", "more", "cret", "word", "xx") if part in shown]
        scratch.remove()
        scratch.path.mkdir()


def test_progress_is_told_even_when_a_secret_looks_like_it(oz: Oz, scratch: Scratch) -> None:
    oz(GOOD + "print('Waiting for web to finish installing, 1190/1200', file=sys.stderr, flush=True)\n")
    steps: list[Any] = []
    build(image("1190/1200"), scratch, lambda *step: steps.append(step))
    assert steps == [("finish installing", 10, 1200)]


def test_failure_of_the_cleaning_up_does_not_hide_that_of_oz(oz: Oz, scratch: Scratch) -> None:
    """What is left is noted for the next run."""
    oz("import pathlib; pathlib.Path('failed').touch(); raise ValueError('no medium')", virsh=NOT_LISTED)
    with pytest.raises(Refused, match="oz-install failed: ValueError: no medium"):
        build(image(), scratch, lambda *_: None)
    assert scratch.kept
    assert scratch.note["guest"].startswith("corral-build-")


NOT_LISTED = 'test -e "${0%/*}/store/.making/web.abc/failed" || exit 0; echo "error: no list" >&2; exit 1'


def test_python_of_oz_that_says_something_else(oz: Oz) -> None:
    oz("", interpreter="/bin/echo")
    with pytest.raises(Refused, match=r"images\.web\.tdl: the Python of oz-install said '.*' when asked"):
        accepted("images.web.tdl", "<template/>")

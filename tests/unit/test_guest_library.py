"""Hosts on which a library is missing: said, with the package to install, and a preview is still possible."""

from __future__ import annotations

import subprocess
import sys

import pytest

from corral.errors import NotInstalled
from corral.guest import wire
from tests.support.salt_here import REPO

WITHOUT_PYDANTIC = """
import runpy, sys
sys.modules["pydantic"] = None
for kind in ("_states", "_modules"):
    print(runpy.run_path(f"{sys.argv[1]}/{kind}/guest.py")["__virtual__"]())
"""


def test_without_libvirts_library_the_host_is_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    wire._library.cache_clear()
    with wire.Libvirt() as libvirt:
        with pytest.raises(NotInstalled, match="install libvirt-python in Salt's Python"):
            libvirt.read()
        assert libvirt.bare().guests == {}
    wire._library.cache_clear()


def test_without_pydantic_the_loader_files_say_why() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYDANTIC, str(REPO)],
        env={"PYTHONPATH": str(REPO / "_utils")},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()
    assert len(said) == 2
    assert all(line.startswith('(False, "guest needs corral and pydantic') for line in said), said

"""Hosts on which a library is missing: said, with the package to install, and a preview is still possible."""

from __future__ import annotations

import subprocess
import sys

import pytest

from corral.errors import NotInstalled
from corral.guest.library import library
from corral.guest.wire import Libvirt
from tests.support.salt_here import REPO

LOADED = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))  # what cannot be imported
for kind in ("_states", "_modules"):
    print(runpy.run_path(f"{sys.argv[1]}/{kind}/guest.py")["__virtual__"]())
"""


def test_without_libvirts_library_the_host_is_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    library.cache_clear()
    with Libvirt() as libvirt:
        with pytest.raises(NotInstalled, match="install libvirt-python in Salt's Python"):
            libvirt.read()
        assert libvirt.bare().guests == {}
    library.cache_clear()


def test_without_pydantic_the_loader_files_say_so() -> None:
    why = "guest cannot be used: import of pydantic halted; None in sys.modules"
    assert loaded(str(REPO / "_utils"), "pydantic") == [str((False, why))] * 2


def test_without_corral_the_loader_files_say_how_it_comes() -> None:
    why = "guest cannot be used: No module named 'corral' (run saltutil.sync_all)"
    assert loaded("") == [str((False, why))] * 2


def loaded(path: str, *gone: str) -> list[str]:
    """Return what ``__virtual__`` of the loader files says with some folder to import from."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(REPO), *gone],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()

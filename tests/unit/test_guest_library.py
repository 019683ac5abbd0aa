"""Hosts on which a library is missing: said, with the package to install, and a preview is still possible."""

from __future__ import annotations

import sys

import pytest

from corral.errors import NotInstalled
from corral.guest.library import library
from corral.guest.wire import Libvirt


def test_without_libvirts_library_the_host_is_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    library.cache_clear()
    with Libvirt() as libvirt:
        with pytest.raises(NotInstalled, match="install libvirt-python in Salt's Python"):
            libvirt.read()
        assert libvirt.bare().guests == {}
    library.cache_clear()

"""A file system that fails, or a program that does: said in one sentence, and nothing is lost or hidden."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.dhcp import paths, wire
from corral.dhcp.model import Reservation
from corral.errors import Unavailable
from tests.support.dhcp_net import DECLARED, NET, ONE, TWO, seen, sh
from tests.support.expect import assert_failed

pytest_plugins = ["tests.support.dhcp_clients"]

State = Callable[..., dict[str, Any]]
PLACES = [paths.CONFIG, paths.STATE, paths.RUN]


@contextlib.contextmanager
def mounted(place: Path, *words: str) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    sh("mount", *words, str(place))
    try:
        yield
    finally:
        sh("umount", str(place))


@contextlib.contextmanager
def read_only(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    with mounted(place, "--bind", str(place)):
        sh("mount", "-o", "remount,bind,ro", str(place))
        yield


@contextlib.contextmanager
def full(place: Path) -> Iterator[None]:
    with mounted(place, "-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        with pytest.raises(OSError) as failed:
            (place / "filler").write_bytes(bytes(1 << 20))
        assert failed.value.errno == errno.ENOSPC
        yield


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_nothing_is_made_where_nothing_can_be_written(state: State, bridge: str, place: Path) -> None:
    with read_only(place):
        assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), f"{place}/", "Read-only file system")
    assert not any(path(NET).exists() for path in (paths.config, paths.state))
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_what_cannot_be_changed_stays_as_it_was(state: State, bridge: str, place: Path) -> None:
    """Whichever file of several cannot be written: the others are put back, and dnsmasq serves on."""
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])["result"] is True
    before = seen()
    with read_only(place):
        other = {**DECLARED, "domain": "b.test", "reservations": [TWO]}
        assert_failed(state("dhcp.subnet_managed", NET, **other), f"{place}", "Read-only file system")
    assert seen() == before
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])["changes"] == {}


@pytest.mark.parametrize("place", [paths.STATE, paths.RUN], ids=str)
def test_reservations_of_a_pool_that_cannot_be_written(state: State, bridge: str, place: Path) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    before = seen()
    with read_only(place), pytest.raises(Unavailable, match="Read-only file system"):
        wire.write_reservations(NET, "web", [Reservation.declare(ONE)])
    assert seen() == before


@pytest.mark.parametrize("place", [paths.CONFIG, paths.STATE], ids=str)
def test_a_full_disk(state: State, bridge: str, place: Path) -> None:
    with full(place):
        failed = state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])
        assert_failed(failed, f"{place}/", "cannot be written: No space left on device")
        assert [file.name for file in place.rglob("*")] == ["filler"]
    assert not any(path(NET).exists() for path in (paths.config, paths.state))


def test_a_subnet_whose_leases_cannot_be_removed_is_not_gone(state: State, bridge: str) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    with mounted_file(paths.leases(NET)):
        failed = state("dhcp.subnet_absent", NET)
        assert_failed(failed, f"{paths.state(NET)} cannot be removed: Device or resource busy")
        assert paths.config(NET).exists()
    assert state("dhcp.subnet_absent", NET)["result"] is True
    assert not any(path(NET).exists() for path in (paths.config, paths.state, paths.run))


@contextlib.contextmanager
def mounted_file(file: Path) -> Iterator[None]:
    """A file that cannot be removed."""
    sh("mount", "--bind", str(file), str(file))
    try:
        yield
    finally:
        sh("umount", str(file))


def test_who_listens_must_be_known(state: State, bridge: str) -> None:
    """An ``ss`` that fails is not one that has found no other server."""
    before = seen()
    ss = Path("/usr/local/sbin/ss")
    ss.write_text("#!/bin/sh\necho 'Cannot open netlink socket'\nexit 1\n")
    ss.chmod(0o755)
    try:
        assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), "ss: Cannot open netlink socket")
    finally:
        ss.unlink()
    assert seen() == before


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=f"{tmp_path} cannot be run: Permission denied"):
        wire.run([str(tmp_path)])

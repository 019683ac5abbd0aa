"""Deleting a guest's disks: what somebody else needs of them stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.expect import assert_failed
from tests.support.guest_rig import seen, sh, virsh

State = Callable[..., dict[str, Any]]
POOL = "tguest-pool"


@pytest.fixture
def define(state: State) -> Callable[..., None]:
    """Define a small guest with some disks, and perhaps start it: ``define("web", path, run=True)``."""

    def small(name: str, *paths: str, run: bool = False) -> None:
        disks = [{"path": path, "format": "qcow2"} for path in paths]
        made = state(
            "guest.running" if run else "guest.stopped",
            name,
            memory="32M",
            type="qemu",
            tcg_cache="8M",
            disks=disks,
        )
        assert made["result"] is True, made

    return small


@pytest.fixture
def new(guest_images: Path) -> Callable[..., str]:
    """Make an image below the folder for images, of its own or on another one: ``new("a/x.qcow2")``."""

    def make(name: str, base: str = "") -> str:
        path = guest_images / name
        path.parent.mkdir(exist_ok=True)
        below = ("-b", base, "-F", "qcow2") if base else ("-o", "size=1M")
        sh("qemu-img", "create", "-q", "-f", "qcow2", *below, str(path))
        return str(path)

    return make


@pytest.fixture
def kept(state: State) -> Callable[[str, str, str], None]:
    """Assert that a guest's disk is refused, and that all is as before: ``kept(guest, disk, why)``."""

    def refused(name: str, disk: str, why: str) -> None:
        before = seen()
        preview = state("guest.absent", name, test=True, disks="delete")
        sentence = f"guests.{name}.disks: {disk} {why} and is not deleted."
        assert preview["comment"].endswith(f"A run now would be refused: {sentence}"), preview
        assert_failed(state("guest.absent", name, disks="delete"), sentence)
        assert seen() == before
        assert Path(disk).exists()

    return refused


def test_the_disk_of_another_guest_under_another_path(
    state: State, define: Any, new: Any, kept: Any, guest_images: Path
) -> None:
    disk = new("real/x.qcow2")
    (guest_images / "link").symlink_to("real")
    define("tguest-a", disk)
    define("tguest-b", str(guest_images / "link" / "x.qcow2"), run=True)
    kept("tguest-a", disk, "is also a disk of tguest-b")
    assert state("guest.absent", "tguest-b", shutdown_timeout=0)["result"] is True
    assert state("guest.absent", "tguest-a", disks="delete")["result"] is True
    assert not Path(disk).exists()


def test_a_disk_that_was_plugged_into_a_running_guest(define: Any, new: Any, kept: Any) -> None:
    """Its definition does not say so."""
    disk = new("x.qcow2")
    define("tguest-a", disk)
    define("tguest-b", new("b.qcow2"), run=True)
    virsh("attach-disk", "tguest-b", disk, "vdb", "--subdriver", "qcow2", "--live")
    kept("tguest-a", disk, "is also a disk of tguest-b")


def test_the_base_of_a_base_of_another_guests_disk(define: Any, new: Any, kept: Any) -> None:
    base = new("1/base.qcow2")
    middle = new("2/middle.qcow2", base)
    define("tguest-a", base)
    define("tguest-b", new("3/top.qcow2", middle))
    kept("tguest-a", base, f"is the base of {middle}")


def test_a_volume_of_a_storage_pool(
    define: Any, new: Any, kept: Any, altered: Callable[[str, str, str], None], guest_images: Path
) -> None:
    disk = new("x.qcow2")
    define("tguest-a", disk)
    define("tguest-b", new("b.qcow2"))
    virsh("pool-create-as", POOL, "dir", "--target", str(guest_images))
    file = "<disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2'/>\n      <source {}/>"
    volume = file.replace("'file'", "'volume'").format(f"pool='{POOL}' volume='x.qcow2'")
    try:
        altered("tguest-b", file.format(f"file='{guest_images}/b.qcow2'"), volume)
        kept("tguest-a", disk, "is also a disk of tguest-b")
    finally:
        virsh("pool-destroy", POOL)


def test_the_base_of_another_guests_disk_is_not_deleted(state: State, guest_images: Path) -> None:
    base, overlay = str(guest_images / "base.qcow2"), str(guest_images / "overlay.qcow2")
    sh("qemu-img", "create", "-q", "-f", "qcow2", base, "1M")
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay)
    for name, path in (("tguest-base", base), ("tguest-over", overlay)):
        made = state("guest.stopped", name, memory="32M", type="qemu", disks=[{"path": path}])
        assert made["result"] is True, made
    before = seen()
    answer = state("guest.absent", "tguest-base", disks="delete")
    assert_failed(answer, f"guests.tguest-base.disks: {base} is the base of {overlay} and is not deleted.")
    assert seen() == before
    assert state("guest.absent", "tguest-over")["result"] is True
    answer = state("guest.absent", "tguest-base", disks="delete")
    assert_failed(answer, f"{base} is the base of {overlay}")  # kept, and nobody's now
    Path(overlay).unlink()
    assert state("guest.absent", "tguest-base", disks="delete")["result"] is True
    assert not Path(base).exists()

"""Disks: whose they are, when they go, and what stays as it is whatever happens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from corral.errors import Conflict, Refused
from corral.guest.wire import Libvirt
from corral.image.store import Store
from corral.pool import disks as pool_disks
from corral.pool.model import declare
from corral.pool.plan import plan
from corral.pool.wire import Declared
from tests.support.expect import assert_failed
from tests.support.guest_rig import moved, sh, virsh
from tests.support.pool_rig import FOLDER, IMAGE, State, disks, names, pool, running, seen

STRANGER = """<domain type='qemu'>
  <name>tpool-x</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""
DELETE: list[tuple[str, dict[str, Any]]] = [
    ("running", pool(replicas=1, scale_in={"disks": "delete"})),
    ("absent", {"disks": "delete", "directory": str(FOLDER)}),
]


def disk_of(pool_name: str, index: int) -> Path:
    return FOLDER / pool_name / f"{pool_name}-00{index}.qcow2"


def define_stranger(disk: Path) -> None:
    """Define a guest that is not of the pool and has one of its disks."""
    file = FOLDER / "stranger.xml"
    file.write_text(STRANGER.format(disk))
    virsh("define", str(file))
    file.unlink()


def itself(disk: Path) -> Path:
    return disk


def linked(disk: Path) -> Path:
    link = FOLDER / "link.qcow2"
    link.symlink_to(disk)
    return link


@pytest.mark.parametrize("way", [itself, linked])
def test_a_disk_that_somebody_elses_guest_uses_is_not_removed(
    state: State, pools: None, way: Callable[[Path], Path]
) -> None:
    assert state("guest_pool.running", "tpool-own", **pool())["result"] is True
    disk = disk_of("tpool-own", 1)
    define_stranger(way(disk))
    before = seen()
    for function, arguments in DELETE:
        assert_failed(
            state(f"guest_pool.{function}", "tpool-own", **arguments),
            f"pools.tpool-own.disks: {disk} is also a disk of guest tpool-x and is not removed.",
        )
    assert seen() == before


@pytest.mark.parametrize("way", [itself, linked])
def test_a_disk_that_was_kept_and_has_another_user_now_stays(
    state: State, pools: None, way: Callable[[Path], Path]
) -> None:
    assert state("guest_pool.running", "tpool-own", **pool())["result"] is True
    assert state("guest_pool.absent", "tpool-own", shutdown_timeout=0)["result"] is True
    define_stranger(way(disk_of("tpool-own", 1)))
    answer = state("guest_pool.absent", "tpool-own", disks="delete", directory=str(FOLDER))
    assert answer["result"] is True, answer
    assert list(answer["changes"]) == [f"tpool-own.disks.{disk_of('tpool-own', 0)}"]
    assert disk_of("tpool-own", 1).exists()
    assert names() == ["tpool-x"]


def test_a_disk_that_is_the_base_of_another_is_not_removed(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-keep", **pool())["result"] is True
    disk, top = disk_of("tpool-keep", 1), FOLDER / "top.qcow2"
    sh("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", str(disk), "-F", "qcow2", str(top), "1M")
    before = seen()
    for function, arguments in DELETE:
        assert_failed(
            state(f"guest_pool.{function}", "tpool-keep", **arguments),
            f"pools.tpool-keep.disks: {disk} is the base of {top} and is not removed.",
        )
    assert seen() == before


def test_external_snapshots(state: State, pools: None) -> None:
    """The disk as it was lies below the new one: it is in use, and goes when that goes."""
    declared = pool(scale_in={"disks": "delete"})
    assert state("guest_pool.running", "tpool-snap", **declared)["result"] is True
    virsh("snapshot-create-as", "tpool-snap-001", "before", "--disk-only")
    assert (FOLDER / "tpool-snap" / "tpool-snap-001.before").exists()
    before = disks()
    again = state("guest_pool.running", "tpool-snap", **declared)
    assert (again["result"], again["changes"]) == (True, {})
    assert disks() == before
    shrunk = state("guest_pool.running", "tpool-snap", **{**declared, "replicas": 1})
    assert shrunk["result"] is True, shrunk
    assert [path for path in disks() if "001" in path] == []


@pytest.mark.parametrize("power", ["running", "stopped"])
def test_a_disk_that_cannot_be_seen_is_not_made_anew(state: State, pools: None, power: str) -> None:
    """A mount that failed after a reboot: what is on it comes back, and no empty disks lie in its place."""
    assert state("guest_pool.running", "tpool-away", **pool())["result"] is True
    if power == "stopped":
        assert state("guest_pool.stopped", "tpool-away", shutdown_timeout=0)["result"] is True
    with moved(FOLDER / "tpool-away"):
        before = seen()
        for replicas in (2, 3):
            assert_failed(
                state("guest_pool.running", "tpool-away", **pool(replicas=replicas)),
                f"pools.tpool-away.guests.tpool-away-000: it is {power}, and its disk"
                f" {disk_of('tpool-away', 0)} does not exist; mount or restore it, or take the guest away",
            )
        assert seen() == before
    before = disks()
    assert state("guest_pool.running", "tpool-away", **pool())["result"] is True
    assert disks() == before


def another_run(state: State) -> None:
    assert state("guest_pool.running", "tpool-late", **pool(replicas=1))["result"] is True


def a_disk(_: State) -> None:
    disk_of("tpool-late", 0).parent.mkdir(parents=True)
    sh("qemu-img", "create", "-q", "-f", "qcow2", str(disk_of("tpool-late", 0)), "1M")


@pytest.mark.parametrize("come", [another_run, a_disk])
def test_a_plan_is_not_carried_out_when_something_has_come_first(
    state: State, pools: None, come: Callable[[State], None]
) -> None:
    desired = declare("hypervisor", "tpool-late", pool(replicas=1))
    with Declared(desired) as late:
        current = late.read()
        todo = plan(current, desired)
        come(state)
        before = seen()
        with pytest.raises(Conflict, match=r"pools\.tpool-late: somebody else changes its guests or disks"):
            late.apply(todo, current, desired)
    assert seen() == before


def test_a_file_that_is_there_is_never_overwritten(pools: None) -> None:
    """Whoever made it in the last moment."""
    folder = FOLDER / "tpool-file"
    folder.mkdir(parents=True)
    (folder / "a.qcow2").write_text("precious")
    image = Store().find(IMAGE)
    assert image is not None
    with pytest.raises(Refused, match=rf"{folder}/a\.qcow2 could not be made: File exists\."):
        pool_disks.make(image, image.virtual_size, [str(folder / "a.qcow2")])
    assert (folder / "a.qcow2").read_text() == "precious"
    assert [path.name for path in folder.iterdir()] == ["a.qcow2"]


@contextmanager
def mounted(options: str) -> Iterator[Path]:
    place = FOLDER / "mounted"
    place.mkdir(parents=True)
    sh("mount", "-t", "tmpfs", "-o", options, "tpool", str(place))
    try:
        yield place
    finally:
        sh("umount", str(place))


def test_a_folder_that_cannot_be_written_to(state: State, pools: None) -> None:
    with mounted("ro") as place:
        before = seen()
        assert_failed(
            state("guest_pool.running", "tpool-ro", **pool(disk={"directory": str(place / "deep")})),
            f"pools.tpool-ro.disk.directory: {place} cannot be written to.",
        )
        assert seen() == before


def test_a_full_file_system(state: State, pools: None) -> None:
    with mounted("nr_inodes=1") as place:
        answer = state("guest_pool.running", "tpool-full", **pool(disk={"directory": str(place)}))
    assert answer["result"] is False
    assert answer["comment"] == f"{place}/tpool-full could not be made: No space left on device."
    assert names() == []
    shutil.rmtree(Store().directory / f"{IMAGE}.places")  # what was to be there will not come back


def test_guests_whose_disks_go_are_asked_to_power_off(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-ask", **pool())["result"] is True
    stops: Queue[tuple[str, str]] = Queue()
    with Libvirt() as libvirt:
        libvirt.watch(lambda name, event, why: stops.put((name, why)) if event == "stopped" else None)
        for function, arguments in DELETE:
            assert state(f"guest_pool.{function}", "tpool-ask", **arguments)["result"] is True
        assert [stops.get(timeout=60) for _ in DELETE] == [
            ("tpool-ask-001", "shutdown"),
            ("tpool-ask-000", "shutdown"),
        ]
    assert running() == []
    assert disks() == {}

"""Who uses a base, and that none is taken from under them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corral.errors import Refused
from corral.image.overlays import uses
from corral.image.store import Store
from tests.support.expect import assert_failed
from tests.support.image_files import NAME, Image, base_of, overlay, qemu_img, sha256, snapshot

GUEST = "t-image-guest"
QCOW2 = "<driver name='qemu' type='qcow2'/>"

State = Callable[..., dict[str, Any]]


def test_absent_four_ways_but_never_under_an_overlay(
    state: State, image: Image, images: Path, place: Any, salt: Any
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    base = base_of(place)
    (images / "deep" / "er").mkdir(parents=True)
    disk = overlay(base, images / "deep" / "er" / "disk.qcow2")
    relative = images / "relative.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", f"store/{base.name}", "-F", "qcow2", str(relative))
    before = snapshot(images)

    assert_failed(state("image.absent", NAME, **place), f"images.{NAME}: it is used by {disk}, {relative}.")
    preview = state("image.absent", NAME, test=True, **place)
    assert preview["result"] is None
    assert f"it is used by {disk}, {relative}" in preview["comment"]
    assert snapshot(images) == before
    assert salt.cmd("image.users", NAME, **place) == {str(base): [str(disk), str(relative)]}

    shutil.rmtree(images / "deep")
    relative.unlink()
    gone = state("image.absent", NAME, **place)
    assert gone["result"] is True
    assert gone["changes"] == preview["changes"]
    assert snapshot(images) == {}
    again = state("image.absent", NAME, **place)
    assert (again["result"], again["changes"]) == (True, {})


def test_guests_count_wherever_their_disks_are(
    state: State, image: Image, images: Path, place: Any, tmp_path: Path
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    base = base_of(place)
    elsewhere = overlay(base, tmp_path / "elsewhere.qcow2")
    define("t-image-overlay", elsewhere)
    define("t-image-base", base)
    try:
        said = f"it is used by {elsewhere}, guest t-image-base."
        assert_failed(state("image.absent", NAME, **place), said)
    finally:
        for guest in ("t-image-overlay", "t-image-base"):
            subprocess.run(["virsh", "undefine", guest], check=True, capture_output=True)
    assert state("image.absent", NAME, **place)["result"] is True


def define(guest: str, disk: Path) -> None:
    define_with(guest, f"<disk type='file'>{QCOW2}<source file='{disk}'/><target dev='vda'/></disk>")


def define_with(guest: str, device: str) -> None:
    define_xml(
        f"<domain type='qemu'><name>{guest}</name><memory>65536</memory><os><type>hvm</type></os>"
        f"<devices>{device}</devices></domain>"
    )


def define_xml(xml: str, *command: str) -> None:
    argv = ["virsh", *(command or ("define",)), "/dev/stdin"]
    subprocess.run(argv, input=xml, text=True, check=True, capture_output=True)


def virsh(*argv: str) -> None:
    subprocess.run(["virsh", *argv], check=True, capture_output=True)


# --- shapes in which something uses a base; each returns what is said of it ---


def chain_of_snapshots(base: Path, folder: Path, images: Path) -> str:
    disk = overlay(base, folder / "disk.qcow2")
    define(GUEST, overlay(disk, folder / "disk.snap1"))
    return f"it is used by {disk}."


def folder_behind_a_link(base: Path, folder: Path, images: Path) -> str:
    (images / "link").symlink_to(folder)
    (folder / "back").symlink_to(images)
    return f"it is used by {overlay(base, folder / 'disk.qcow2')}."


def volume(base: Path, folder: Path, images: Path) -> str:
    target = f"<target><path>{folder}</path></target>"
    define_xml(f"<pool type='dir'><name>{GUEST}</name>{target}</pool>", "pool-define")
    source = f"<source pool='{GUEST}' volume='disk.qcow2'/>"
    define_with(GUEST, f"<disk type='volume'>{QCOW2}{source}<target dev='vda'/></disk>")
    return f"it is used by {overlay(base, folder / 'disk.qcow2')}."


def volume_of_an_unknown_pool(base: Path, folder: Path, images: Path) -> str:
    volume(base, folder, images)
    virsh("pool-undefine", GUEST)
    words = f"the volume disk.qcow2 of the unknown storage pool {GUEST}"
    return f"guest {GUEST} uses {words}, which is not there now: what it needs is not known."


def container(base: Path, folder: Path, images: Path) -> str:
    disk = overlay(base, folder / "disk.qcow2")
    driver, source = "<driver type='nbd' format='qcow2'/>", f"<source file='{disk}'/>"
    root = f"<filesystem type='file'>{driver}{source}<target dir='/'/></filesystem>"
    define_xml(
        f"<domain type='lxc'><name>{GUEST}</name><memory>65536</memory><os><type>exe</type>"
        f"<init>/bin/sh</init></os><devices>{root}</devices></domain>",
        "--connect",
        "lxc:///",
        "define",
    )
    return f"it is used by {disk}."


def backing_that_only_the_guest_names(base: Path, folder: Path, images: Path) -> str:
    disk = folder / "disk.qcow2"
    qemu_img("create", "-f", "qcow2", str(disk), "1M")
    below = f"<backingStore type='file'><format type='qcow2'/><source file='{base}'/></backingStore>"
    define_with(GUEST, f"<disk type='file'>{QCOW2}<source file='{disk}'/>{below}<target dev='vda'/></disk>")
    return f"it is used by guest {GUEST}."


def disk_that_is_away(base: Path, folder: Path, images: Path) -> str:
    disk = overlay(base, folder / "disk.qcow2")
    define(GUEST, disk)
    disk.rename(folder / "elsewhere")
    return f"guest {GUEST} uses {disk}, which is not there now: what it needs is not known."


def link_that_leads_nowhere(base: Path, folder: Path, images: Path) -> str:
    link, disk = images / "disk.qcow2", folder / "disk.qcow2"
    link.symlink_to(disk)
    return f"{link} uses {disk}, which is not there now: what it needs is not known."


@pytest.fixture
def no_definitions() -> Iterator[None]:
    """Have libvirt forget what a test defined."""
    yield
    for argv in (("undefine", GUEST), ("--connect", "lxc:///", "undefine", GUEST), ("pool-undefine", GUEST)):
        subprocess.run(["virsh", *argv], check=False, capture_output=True)


@pytest.mark.parametrize(
    "shape",
    [
        chain_of_snapshots,
        folder_behind_a_link,
        volume,
        volume_of_an_unknown_pool,
        container,
        backing_that_only_the_guest_names,
        disk_that_is_away,
        link_that_leads_nowhere,
    ],
)
@pytest.mark.usefixtures("no_definitions")
def test_no_base_goes_from_under(
    shape: Callable[..., str], state: State, image: Image, images: Path, place: Any, tmp_path: Path
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    old = base_of(place)
    folder = tmp_path / "far"
    folder.mkdir()
    said = shape(old, folder, images)
    assert_failed(state("image.absent", NAME, **place), f"images.{NAME}: {said}")
    assert said in state("image.absent", NAME, test=True, **place)["comment"]

    other = {"source": "file", "path": str(image("b.qcow2", b"y")), "superseded": "delete", **place}
    newer = state("image.present", NAME, **other)
    assert newer["changes"].keys() == {f"{NAME}.file"}
    assert old.exists()


def test_what_needs_no_other_file_may_be_away(
    state: State, image: Image, images: Path, place: Any, no_definitions: None
) -> None:
    """A medium that was removed after an installation is no reason to keep a base for ever."""
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    medium = "<driver name='qemu' type='raw'/><source file='/nowhere/install.iso'/>"
    define_with(GUEST, f"<disk type='file' device='cdrom'>{medium}<target dev='hdc'/></disk>")
    assert state("image.absent", NAME, **place)["result"] is True


# --- places where overlays were made ---


def test_overlays_in_the_folder_of_a_pool_count(
    state: State, image: Image, images: Path, place: Any, tmp_path: Path
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    folder = tmp_path / "pool"
    with Store(place["directory"]).hold(NAME, str(folder)) as base:
        folder.mkdir()
        kept = overlay(base.path, folder / "kept.qcow2")
    with Store(place["directory"]).hold(NAME, str(tmp_path / "never-made"), str(folder)):
        pass
    notes = Path(place["directory"], f"{NAME}.places")
    assert {path.stat().st_mode & 0o077 for path in (notes, *notes.iterdir())} == {0}
    before = snapshot(images)
    assert_failed(state("image.absent", NAME, **place), f"images.{NAME}: it is used by {kept}.")
    assert snapshot(images) == before
    kept.unlink()
    assert state("image.absent", NAME, **place)["result"] is True
    assert snapshot(images) == {}


def test_overlays_on_a_file_system_that_is_not_mounted_count(
    state: State, image: Image, images: Path, place: Any, tmp_path: Path
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path)], check=True)
    try:
        with Store(place["directory"]).hold(NAME, str(tmp_path / "pool")):
            pass
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    (note,) = Path(place["directory"], f"{NAME}.places").iterdir()
    said = f"overlays were made in {tmp_path}/pool, and nothing is mounted at {tmp_path} now"
    assert_failed(state("image.absent", NAME, **place), f"images.{NAME}: {said}", f"remove {note}")
    note.unlink()
    assert state("image.absent", NAME, **place)["result"] is True


def test_held_base_is_not_removed(state: State, image: Image, images: Path, place: Any) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    with Store(place["directory"]).hold(NAME) as base:
        assert_failed(state("image.absent", NAME, **place), f"guests are being made from {base.path}")
    assert state("image.absent", NAME, **place)["result"] is True
    said = f"there is no such image in {place['directory']}"
    with pytest.raises(Refused, match=said), Store(place["directory"]).hold(NAME):
        pass


def test_base_that_is_being_removed_is_not_waited_for_without_end(
    state: State, image: Image, images: Path, place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    monkeypatch.setattr("corral.image.store.PATIENCE", 0.2)
    base = base_of(place)
    with base.open("rb") as removed:
        fcntl.flock(removed, fcntl.LOCK_EX)
        said = f"images.{NAME}: {base} is being removed just now"
        with pytest.raises(Refused, match=said), Store(place["directory"]).hold(NAME):
            pass


def test_users_are_asked_for_in_valid_words_only(salt: Any, place: Any) -> None:
    """A text in place of a list of folders would be every letter of it: ``/`` is one."""
    with pytest.raises(CommandExecutionError, match=f"images.{NAME}.search: a text is not valid"):
        salt.cmd("image.users", NAME, search="/srv")
    with pytest.raises(CommandExecutionError, match=r"images\.\.\./x\.name: '\.\./x' is not"):
        salt.cmd("image.show", "../x")
    with pytest.raises(CommandExecutionError, match=r"image\.list\.directory: 'srv' is not an"):
        salt.cmd("image.list", directory="srv")


def test_lost_base_under_an_overlay_comes_back_only_as_it_was(
    state: State, image: Image, images: Path, place: Any
) -> None:
    source = image("golden.qcow2", b"one")
    declared = {"source": "file", "path": str(source), **place}
    state("image.present", NAME, **declared)
    lost = base_of(place)
    disk = overlay(lost, images / "disk.qcow2")
    lost.unlink()
    with pytest.raises(Refused, match=f"images.{NAME}: its base {lost} is missing"):
        Store(place["directory"]).find(NAME)

    content = source.read_bytes()
    source.write_bytes(image("other.qcow2", b"two").read_bytes())
    assert_failed(state("image.present", NAME, **declared), f"is not the content of {lost}", str(disk))
    source.unlink()
    said = f"images.{NAME}: its base {lost} is gone while {disk} uses it"
    assert_failed(state("image.present", NAME, **declared), said)
    assert_failed(state("image.present", NAME, test=True, **declared), said)
    Path(place["directory"], f"{NAME}.json").unlink()  # the provenance, too
    assert_failed(state("image.present", NAME, **declared), said)

    source.write_bytes(content)
    declared["sha256"] = sha256(source)
    assert state("image.present", NAME, **declared)["result"] is True
    assert base_of(place) == lost
    subprocess.run(["qemu-img", "check", str(disk)], check=True, capture_output=True)


def test_superseded_bases_stay_unless_told_to_go(
    state: State, image: Image, images: Path, place: Any
) -> None:
    def declare(number: int, **more: Any) -> dict[str, Any]:
        path = image(f"{number}.qcow2", f"{number}".encode())
        return {"source": "file", "path": str(path), "sha256": sha256(path), **place, **more}

    state("image.present", NAME, **declare(1))
    first = base_of(place)
    disk = overlay(first, images / "disk.qcow2")
    state("image.present", NAME, **declare(2))
    second = base_of(place)
    assert first.exists()

    third = declare(3, superseded="delete")
    preview = state("image.present", NAME, test=True, **third)
    run = state("image.present", NAME, **third)
    removal = {"old": str(second), "new": None, "takes": "data loss"}
    assert preview["changes"][f"{NAME}.superseded.{second}"] == removal
    assert (run["result"], run["changes"]) == (True, preview["changes"])
    assert (first.exists(), second.exists()) == (True, False)
    assert state("image.present", NAME, **third)["changes"] == {}

    disk.unlink()
    last = state("image.present", NAME, **third)
    assert last["changes"] == {f"{NAME}.superseded.{first}": {**removal, "old": str(first)}}
    assert not first.exists()


def test_uses_reads_what_qemu_writes(image: Image, tmp_path: Path) -> None:
    base = image("base.qcow2", b"x")
    overlay(base, tmp_path / "plain")
    block = json.dumps({"driver": "qcow2", "file": {"driver": "file", "filename": str(base)}})
    names = {"file": f"file:{base}", "json": f"json:{block}"}
    for name, backing in names.items():
        qemu_img("create", "-f", "qcow2", "-b", backing, "-F", "qcow2", str(tmp_path / name))
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "cut").write_bytes(base.read_bytes()[:40])
    found = uses([str(tmp_path)], guests=[])
    assert found == {str(base): tuple(str(tmp_path / name) for name in ("file", "json", "plain"))}

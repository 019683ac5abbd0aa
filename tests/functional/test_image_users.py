"""Who uses a base, and that none is taken from under them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Refused
from corral.image.overlays import uses
from corral.image.wire import Store
from tests.support.expect import assert_failed
from tests.support.image_files import NAME, Image, base_of, overlay, qemu_img, sha256, snapshot

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
    xml = (
        f"<domain type='qemu'><name>{guest}</name><memory>65536</memory><os><type>hvm</type></os><devices>"
        f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda'/>"
        "</disk></devices></domain>"
    )
    subprocess.run(["virsh", "define", "/dev/stdin"], input=xml, text=True, check=True, capture_output=True)


def test_held_base_is_not_removed(state: State, image: Image, images: Path, place: Any) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    with Store(place["directory"]).hold(NAME) as base:
        assert_failed(state("image.absent", NAME, **place), f"guests are being made from {base.path}")
    assert state("image.absent", NAME, **place)["result"] is True
    with pytest.raises(Refused, match="there is no such image"), Store(place["directory"]).hold(NAME):
        pass


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

"""The folders and files of a pool's disks, as far as no program is needed for them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.errors import Refused
from corral.pool import disks


@pytest.fixture
def tight() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def overlay(path: Path, base: Path | None) -> str:
    """Write as much of an overlay as tells what is below it."""
    name = os.fsencode(base) if base else b""
    path.write_bytes(
        struct.pack(">4sIQII", b"QFI\xfb", 2, 72 if base else 0, len(name), 16).ljust(72, b"\0") + name
    )
    return str(path)


def test_folders_are_open_for_qemu_whatever_the_umask(tmp_path: Path, tight: None) -> None:
    tmp_path.chmod(0o750)
    disks.folder(str(tmp_path / "pools" / "web"))
    modes = [
        path.stat().st_mode & 0o777 for path in (tmp_path / "pools" / "web", tmp_path / "pools", tmp_path)
    ]
    assert modes == [0o711, 0o711, 0o750], "only what was made is opened"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "pools").write_text("no folder")
    with pytest.raises(Refused, match=r"/pools/web could not be made: (Not a directory|File exists)\."):
        disks.folder(str(tmp_path / "pools" / "web"))


def test_only_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    kept = [".notes.part", "web-000.qcow2.12.part", ".web-000.qcow2.12.part.old", "web-000.qcow2"]
    for name in (*kept, ".web-000.qcow2.12.part", ".web-001.qcow2.99999.part"):
        (tmp_path / name).touch()
    disks.sweep(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    disks.sweep(str(tmp_path / "none"))


def test_a_disk_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match=r"/folder could not be removed: Is a directory\."):
        disks.remove([str(tmp_path / "folder")], str(tmp_path))


def test_what_is_below_a_snapshot(tmp_path: Path) -> None:
    pool, image = tmp_path / "web", tmp_path / "image.qcow2"
    pool.mkdir()
    overlay(image, None)
    disk, plain = overlay(pool / "a.qcow2", image), overlay(pool / "b.qcow2", image)
    first = overlay(pool / "a.first", Path(disk))
    second = overlay(pool / "a.second", Path(first))
    found = disks.bases(str(pool), [second])
    assert disks.below(str(pool), {path: found[path] for path in (second, plain)}) == {second: (first, disk)}


def test_an_image_in_the_folder_is_not_a_disk_below(tmp_path: Path) -> None:
    image = Path(overlay(tmp_path / "image.qcow2", None))
    disk = overlay(tmp_path / "a.qcow2", image)
    assert disks.below(str(tmp_path), {disk: str(image)}) == {}


def test_overlays_of_each_other(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    overlay(one, two)
    overlay(two, one)
    assert disks.below(str(tmp_path), {str(one): str(two)}) == {str(one): (str(two), str(one))}

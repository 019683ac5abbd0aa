"""Real images, and the folder of a host that they are in, for the functional tests of images."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.image.wire import Store

NAME = "t-image"

Image = Callable[..., Path]


def qemu_img(*argv: str) -> None:
    subprocess.run(["qemu-img", *argv], check=True, capture_output=True, timeout=60)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def snapshot(folder: Path) -> dict[str, Any]:
    """All that a state could move: everything with inode, size, mode and time."""
    seen = {path: path.lstat() for path in sorted(folder.rglob("*"))}
    return {str(p): (s.st_ino, s.st_size, s.st_mode, s.st_mtime_ns) for p, s in seen.items()}


def overlay(base: str | Path, path: Path) -> Path:
    qemu_img("create", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(path))
    return path


def base_of(place: dict[str, Any]) -> Path:
    """The file of the current base of the image that the tests make."""
    found = Store(place["directory"]).record(NAME).current
    assert found is not None
    return Path(found.path)


@pytest.fixture
def images() -> Iterator[Path]:
    """A folder for overlays with the store in it, as on a real host."""
    folder = Path("/var/lib/libvirt/images/t-image")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def place(images: Path) -> dict[str, Any]:
    return {"directory": str(images / "store"), "search": [str(images)]}


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Make an image in a folder of the test's own: ``image("a.qcow2", b"content")``."""

    def make(name: str, content: bytes, kind: str = "qcow2") -> Path:
        raw = tmp_path / "raw"
        raw.write_bytes(content.ljust(1 << 20, b"\0"))
        target = tmp_path / name
        qemu_img("convert", "-f", "raw", "-O", kind, str(raw), str(target))
        raw.unlink()
        return target

    return make

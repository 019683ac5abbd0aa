"""Make the file of a base from its source, in a scratch folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corral.errors import Error, Refused
from corral.image import build, fetch
from corral.image.disk import digest
from corral.image.model import FileImage, Image, OzImage, UrlImage
from corral.image.programs import image_info, qemu_img_version, run
from corral.image.store import Scratch
from corral.progress import Progress

CONVERTING = 3600.0  # seconds

Made = tuple[Path, dict[str, Any]]  # the file, and what its provenance tells of it


def make(image: Image, scratch: Scratch, tell: Progress, oz: str) -> Made:
    """Return the file that the source gives, and what is known of it.

    oz
        The version of the installed oz, for the provenance of what it builds.

    Raises errors that begin with the key they are about (``.url: …``), the image's name left out.
    """
    if isinstance(image, OzImage):
        return _build(image, scratch, tell, oz)
    if isinstance(image, UrlImage):
        return _fetch(image, scratch, tell)
    assert isinstance(image, FileImage)
    return _copy(image, scratch, tell)


def _build(image: OzImage, scratch: Scratch, tell: Progress, version: str) -> Made:
    file = build.build(image, scratch, tell)
    if image.format != "raw":
        tell(f"convert to {image.format}", 0, 0)
        raw, file = file, scratch.path / "result"
        # Not compressed: the base is read by every guest, and its zeros take no room as it is.
        argv = ["qemu-img", "convert", "-f", "raw", "-O", image.format, str(raw), str(file)]
        run(argv, seconds=CONVERTING)
    facts = {
        "sha256": digest(file),
        "virtual_size": image_info(str(file), image.format)["virtual_size"],
        "origin": fetch.address(image.tdl.install.url or image.tdl.install.iso or ""),
        "tdl": image.key(),
        "tools": {"oz": version, "qemu-img": qemu_img_version()},
    }
    return file, facts


def _fetch(image: UrlImage, scratch: Scratch, tell: Progress) -> Made:
    file = scratch.path / "result"
    with _at("url"):
        sha256 = fetch.download(image.url, file, image.timeout, tell)
    origin = fetch.address(image.url)
    _compare(origin, sha256, image.sha256)
    return file, _examined(file, image, "url", sha256, origin)


def _copy(image: FileImage, scratch: Scratch, tell: Progress) -> Made:
    file = scratch.path / "result"
    with _at("path"):
        offered = fetch.look(image.path)
        sha256 = fetch.copy(image.path, file, tell)
        if fetch.look(image.path) != offered:
            raise Refused(f"{image.path} was written to while it was copied.")
    _compare(image.path, sha256, image.sha256)
    facts = _examined(file, image, "path", sha256, image.path)
    return file, {**facts, "file": None if image.sha256 else offered}


def _examined(file: Path, image: Image, key: str, sha256: str, origin: str) -> dict[str, Any]:
    with _at(key):
        info = fetch.examine(file, image.format)
    tools = {"qemu-img": qemu_img_version()}
    return {"sha256": sha256, "origin": origin, "virtual_size": info["virtual_size"], "tools": tools}


@contextlib.contextmanager
def _at(key: str) -> Iterator[None]:
    try:
        yield
    except Error as error:
        raise type(error)(f".{key}: {error}") from error


def _compare(origin: str, found: str, declared: str | None) -> None:
    if declared not in (None, found):
        raise Refused(f".sha256: {origin} has {found}, declared is {declared}.")

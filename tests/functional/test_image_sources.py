"""Base images from URLs and files: real downloads, real qcow2 files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Refused
from corral.image.store import Store
from tests.support import image_files
from tests.support.expect import assert_failed
from tests.support.image_files import NAME, Handler, Image, base_of, may, overlay, qemu_img, sha256, snapshot

State = Callable[..., dict[str, Any]]

server = image_files.server  # the fixture


# --- url ---


def test_url_four_ways(four_ways: Any, image: Image, server: str, images: Path, place: Any) -> None:
    source = image("a.qcow2", b"one")
    declared = {"source": "url", "url": f"{server}/a.qcow2", "sha256": sha256(source), **place}
    changes = four_ways(
        "image.present",
        NAME,
        look=lambda: snapshot(images),
        disturb=lambda: base_of(place).unlink(),
        drift={f"{NAME}.base": {"old": "missing", "new": "intact"}},
        **declared,
    )
    new = {"source": "url", "format": "qcow2", "sha256": sha256(source)}
    assert changes == {NAME: {"old": None, "new": new}}
    base = base_of(place)
    assert base.name == f"{NAME}-{sha256(source)[:12]}.qcow2"
    assert base.stat().st_mode & 0o777 == 0o440
    assert may("libvirt-qemu", "-r", base)
    assert not may("libvirt-qemu", "-w", base)
    assert not may("nobody", "-r", base)
    assert base.read_bytes() == source.read_bytes()
    assert not (images / "store" / ".making").exists()


def test_touched_base_is_looked_at_and_kept(state: State, image: Image, server: str, place: Any) -> None:
    declared = {
        "source": "url",
        "url": f"{server}/a.qcow2",
        "sha256": sha256(image("a.qcow2", b"x")),
        **place,
    }
    state("image.present", NAME, **declared)
    inode = base_of(place).stat().st_ino
    os.utime(base_of(place))
    with pytest.raises(Refused, match=f"images.{NAME}: .* was changed"):
        Store(place["directory"]).find(NAME)
    mended = state("image.present", NAME, **declared)
    assert mended["changes"] == {f"{NAME}.base": {"old": "touched", "new": "intact"}}
    assert Store(place["directory"]).find(NAME) is not None
    assert base_of(place).stat().st_ino == inode


def test_altered_base_is_never_taken(
    state: State, image: Image, server: str, images: Path, place: Any
) -> None:
    declared = {
        "source": "url",
        "url": f"{server}/a.qcow2",
        "sha256": sha256(image("a.qcow2", b"x")),
        **place,
    }
    state("image.present", NAME, **declared)
    with base_of(place).open("r+b") as file:
        file.seek(100)
        file.write(b"!")
    before = snapshot(images)
    assert_failed(state("image.present", NAME, **declared), f"images.{NAME}: its base", "was altered")
    assert_failed(state("image.present", NAME, test=True, **declared), "was altered")
    assert snapshot(images) == before


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none.qcow2", "the server says 404"),
        ("/broken", "broke off after 9 of 100000 bytes"),
        ("/unsure", "'many'"),
        (None, "Connection refused"),
    ],
)
def test_unreachable_url(
    state: State, server: str, images: Path, place: Any, path: str | None, said: str
) -> None:
    url = f"{server}{path}" if path else "http://127.0.0.1:9/a.qcow2"
    answer = state("image.present", NAME, source="url", url=url, sha256="0" * 64, **place)
    assert_failed(answer, f"images.{NAME}.url: {url} cannot be fetched", said)
    assert snapshot(images) == {}


def test_wrong_checksum(state: State, image: Image, server: str, images: Path, place: Any) -> None:
    found, declared = sha256(image("a.qcow2", b"x")), "ab" * 32
    answer = state("image.present", NAME, source="url", url=f"{server}/a.qcow2", sha256=declared, **place)
    assert_failed(answer, f"images.{NAME}.sha256: {server}/a.qcow2 has {found}, declared is {declared}")
    assert snapshot(images) == {}


def test_download_has_a_limit(state: State, server: str, images: Path, place: Any) -> None:
    """However little comes, as long as something comes."""
    answer = state(
        "image.present", NAME, source="url", url=f"{server}/drip", sha256="0" * 64, timeout=1, **place
    )
    assert_failed(answer, f"images.{NAME}.url: The image was not there within 1 s (")
    assert Handler.left.wait(30)
    assert snapshot(images) == {}


def test_query_of_a_url_is_not_shown(
    state: State, image: Image, server: str, place: Any, salt: Any, images: Path
) -> None:
    """In the URL of an object store it is the right to read the object."""
    sum_of_it = sha256(image("a.qcow2", b"x"))
    signed = {"source": "url", "sha256": sum_of_it, **place}
    gone = state("image.present", NAME, url=f"{server}/none?X-Signature=s3cret", **signed)
    assert_failed(gone, f"images.{NAME}.url: {server}/none cannot be fetched: the server says 404")
    other = state("image.present", NAME, url=f"{server}/a.qcow2?s3cret", **{**signed, "sha256": "0" * 64})
    assert_failed(other, f"images.{NAME}.sha256: {server}/a.qcow2 has {sum_of_it}")
    run = state("image.present", NAME, url=f"{server}/a.qcow2?X-Signature=s3cret", **signed)
    assert run["result"] is True
    shown = salt.cmd("image.show", NAME, directory=place["directory"])
    assert shown["origin"] == f"{server}/a.qcow2"
    assert "s3cret" not in f"{gone}{other}{run}{Path(place['directory'], f'{NAME}.json').read_text()}"


def test_images_that_are_not_what_they_should_be(
    state: State, image: Image, server: str, images: Path, place: Any, tmp_path: Path
) -> None:
    base = image("a.qcow2", b"x")
    bad = {
        "overlay": (overlay(base, tmp_path / "overlay"), "qcow2", f"needs a backing file ({base})"),
        "raw": (image("raw.img", b"x", "raw"), "qcow2", "is raw, but qcow2 is declared"),
        "qcow2": (base, "raw", "is qcow2, but raw is declared"),
        "vmdk": (image("a.vmdk", b"x", "vmdk"), "qcow2", "is vmdk, but qcow2 is declared"),
    }
    data = tmp_path / "data.raw"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={data}", str(tmp_path / "external"), "1M")
    bad["external"] = (tmp_path / "external", "qcow2", "needs an external data file")
    for file, kind, said in bad.values():
        url = f"{server}/{file.name}"
        answer = state(
            "image.present", NAME, source="url", url=url, sha256=sha256(file), format=kind, **place
        )
        assert_failed(answer, f"images.{NAME}.url: the image {said}")
    assert snapshot(images) == {}


def test_raw_image_keeps_its_holes(state: State, image: Image, server: str, place: Any) -> None:
    source = image("a.img", b"x", "raw")
    with source.open("r+b") as file:
        file.truncate(50 << 20)
    declared = {"source": "url", "url": f"{server}/a.img", "sha256": sha256(source), "format": "raw", **place}
    assert state("image.present", NAME, **declared)["result"] is True
    base = Store(place["directory"]).find(NAME)
    assert base is not None
    assert (base.format, base.size, base.virtual_size) == ("raw", 50 << 20, 50 << 20)
    assert os.stat(base.path).st_blocks * 512 < 10 << 20
    assert sha256(Path(base.path)) == sha256(source)


# --- file ---


def test_file_four_ways(four_ways: Any, image: Image, images: Path, place: Any, salt: Any) -> None:
    source = image("golden.qcow2", b"one")
    before = seen = source.stat()

    def disturb() -> None:
        source.write_bytes(image("other.qcow2", b"two").read_bytes())
        os.utime(source, ns=(0, 10**18))

    def looks(size: int, when: str) -> str:
        return f"{source}, {size} bytes of {when}"

    os.utime(source, ns=(0, 2 * 10**18 + 5))
    four_ways(
        "image.present",
        NAME,
        look=lambda: snapshot(images),
        disturb=disturb,
        drift={
            f"{NAME}.file": {
                "old": looks(before.st_size, "2033-05-18T03:33:20.000000005Z"),
                "new": looks(seen.st_size, "2001-09-09T01:46:40.000000000Z"),
            }
        },
        source="file",
        path=str(source),
        **place,
    )
    shown = salt.cmd("image.show", NAME, directory=place["directory"])
    assert shown["origin"] == str(source)
    assert len(shown["superseded"]) == 1
    assert salt.cmd("image.list", directory=place["directory"]) == {NAME: shown["path"]}


def test_file_may_go_when_the_base_is_there(state: State, image: Image, place: Any) -> None:
    source = image("golden.qcow2", b"one")
    declared = {"source": "file", "path": str(source), **place}
    assert state("image.present", NAME, **declared)["result"] is True
    source.unlink()
    again = state("image.present", NAME, **declared)
    assert (again["result"], again["changes"]) == (True, {})


def test_file_that_was_only_touched_makes_no_new_base(
    state: State, image: Image, images: Path, place: Any
) -> None:
    source = image("golden.qcow2", b"one")
    declared = {"source": "file", "path": str(source), "superseded": "delete", **place}
    state("image.present", NAME, **declared)
    base = base_of(place)
    before = base.stat()
    os.utime(source, ns=(0, 10**18))
    preview = state("image.present", NAME, test=True, **declared)
    assert preview["changes"].keys() == {f"{NAME}.file"}
    run = state("image.present", NAME, **declared)
    assert (run["result"], run["changes"]) == (True, preview["changes"])
    assert (base_of(place), base.stat()) == (base, before)
    assert state("image.present", NAME, **declared)["changes"] == {}


def test_file_that_is_not_there(state: State, images: Path, place: Any) -> None:
    declared = {"source": "file", "path": "/nowhere/a.qcow2", **place}
    assert_failed(
        state("image.present", NAME, **declared), f"images.{NAME}.path: /nowhere/a.qcow2 does not exist"
    )
    preview = state("image.present", NAME, test=True, **declared)
    assert preview["result"] is None
    assert "would be refused" in preview["comment"]
    assert snapshot(images) == {}


def test_file_with_another_checksum(state: State, image: Image, images: Path, place: Any) -> None:
    source = image("golden.qcow2", b"one")
    answer = state("image.present", NAME, source="file", path=str(source), sha256="cd" * 32, **place)
    assert_failed(answer, f"images.{NAME}.sha256: {source} has {sha256(source)}, declared is {'cd' * 32}")
    assert snapshot(images) == {}


def test_bad_declarations_touch_nothing(state: State, images: Path, place: Any) -> None:
    bad = [
        ({}, f"images.{NAME}.source: is required"),
        ({"source": "ftp"}, f"images.{NAME}.source: 'ftp' is not a source of images (oz, url, file)"),
        ({"source": "file", "path": "a"}, f"images.{NAME}.path: 'a' is not an absolute path"),
        ({"source": "file", "path": "/a", "colour": 1}, f"images.{NAME}.colour: unknown key"),
        ({"source": "url", "url": "http://h/a"}, f"images.{NAME}.sha256: is required"),
        ({"source": "url", "url": "http://u:p@h/a", "sha256": "0" * 64}, f"images.{NAME}.url: holds a user"),
        ({"source": "url", "url": "http://h/ä", "sha256": "0" * 64}, f"images.{NAME}.url: holds 'ä'"),
    ]
    for declared, said in bad:
        assert_failed(state("image.present", NAME, **declared, **place), said)
    assert_failed(state("image.absent", NAME, colour=1, **place), f"images.{NAME}.colour: unknown key")
    assert snapshot(images) == {}


def test_store_that_cannot_be_read_is_not_empty(state: State, image: Image, images: Path, place: Any) -> None:
    declared = {"source": "file", "path": str(image("a.qcow2", b"x")), **place}
    state("image.present", NAME, **declared)
    Path(place["directory"], f"{NAME}.json").write_text("{}")
    said = f"images.{NAME}: {place['directory']}/{NAME}.json is not a provenance"
    assert_failed(state("image.present", NAME, **declared), said)
    assert_failed(state("image.absent", NAME, **place), said)


def test_one_damaged_provenance_hides_no_other_image(
    state: State, image: Image, images: Path, place: Any, salt: Any
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    damaged = Path(place["directory"], "damaged.json")
    damaged.write_text("{}")
    assert salt.cmd("image.list", directory=place["directory"]) == {
        NAME: str(base_of(place)),
        "damaged": f"{damaged} is not a provenance that this version can read.",
    }

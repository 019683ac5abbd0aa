"""Base images from URLs and files: real downloads, real qcow2 files."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corral.errors import Refused, Unavailable
from corral.image.lock import making
from corral.image.wire import Store
from tests.support.expect import assert_failed
from tests.support.image_files import NAME, Image, base_of, overlay, qemu_img, sha256, snapshot

RUN = """
import json, sys
from pathlib import Path
from tests.support import salt_here
salt_here.caller(Path(sys.argv[1])).cmd("state.single", "image.present", **json.loads(sys.argv[2]))
"""

State = Callable[..., dict[str, Any]]


class _Handler(http.server.SimpleHTTPRequestHandler):
    slow = threading.Event()
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/broken"):
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"only this")
        elif self.path.startswith("/gated"):
            self.asked.append(self.path)
            self.slow.wait(60)
            self.path = self.path.removeprefix("/gated")
            super().do_GET()
        elif self.path.startswith("/slow"):
            self.send_response(200)
            self.send_header("Content-Length", "3000000")
            self.end_headers()
            self.wfile.write(b"x" * 2_000_000)
            self.slow.wait(60)
        else:
            super().do_GET()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of the test's own folder."""

    def handler(*args: Any) -> _Handler:
        return _Handler(*args, directory=str(tmp_path))

    _Handler.slow.clear()
    _Handler.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as daemon:
        threading.Thread(target=daemon.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{daemon.server_address[1]}"
        _Handler.slow.set()
        daemon.shutdown()


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
    assert base.stat().st_mode & 0o777 == 0o444
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
    _Handler.slow.set()
    answer = state(
        "image.present", NAME, source="url", url=f"{server}/slow", sha256="0" * 64, timeout=1, **place
    )
    assert_failed(answer, f"images.{NAME}.url", "broke off after 2000000 of 3000000 bytes")
    assert snapshot(images) == {}


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


def test_killed_download_leaves_nothing_behind(
    state: State, image: Image, server: str, images: Path, place: Any, tmp_path: Path, repo: Path
) -> None:
    slow = {"name": NAME, "source": "url", "url": f"{server}/slow", "sha256": "0" * 64, **place}
    argv = [sys.executable, "-c", RUN, str(tmp_path / "salt"), json.dumps(slow)]
    salt_call = subprocess.Popen(argv, cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    making = images / "store" / ".making"
    until(lambda: making.is_dir() and any(p.stat().st_size > 1e6 for p in making.glob("*/result")))
    assert state("image.present", NAME, test=True, **slow_of(slow))["changes"].keys() == {NAME}
    salt_call.send_signal(signal.SIGKILL)
    salt_call.wait()

    (left,) = making.iterdir()
    good = {"source": "url", "url": f"{server}/a.qcow2", "sha256": sha256(image("a.qcow2", b"x")), **place}
    preview = state("image.present", NAME, test=True, **good)
    assert preview["changes"][f"{NAME}.unfinished.{left}"] == {"old": str(left), "new": None}
    run = state("image.present", NAME, **good)
    assert (run["result"], run["changes"]) == (True, preview["changes"])
    assert not making.exists()
    assert state("image.present", NAME, **good)["changes"] == {}


def test_the_second_of_two_runs_waits_and_finds_it_done(
    state: State, image: Image, server: str, images: Path, place: Any, tmp_path: Path, repo: Path
) -> None:
    source = image("a.qcow2", b"x")
    declared = {"source": "url", "url": f"{server}/gated/a.qcow2", "sha256": sha256(source), **place}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "salt"), json.dumps({"name": NAME, **declared})],
        cwd=repo,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        until(lambda: _Handler.asked)
        said = f"images.{NAME} by process {first.pid} is still being made"
        with pytest.raises(Unavailable, match=said), making("another", patience=0.1):
            pass
        threading.Timer(1, _Handler.slow.set).start()
        second = state("image.present", NAME, **declared)
        assert first.wait() == 0
    assert (second["result"], second["changes"]) == (True, {})
    assert len(_Handler.asked) == 1


def test_a_full_disk_is_said_in_a_sentence(state: State, image: Image, images: Path, place: Any) -> None:
    source = image("a.qcow2", b"x")
    Path(place["directory"]).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place["directory"]], check=True)
    try:
        answer = state("image.present", NAME, source="file", path=str(source), **place)
        assert_failed(answer, f"images.{NAME}.path: ", f"{source} cannot be copied: No space left on device")
    finally:
        subprocess.run(["umount", place["directory"]], check=True)


def slow_of(declared: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in declared.items() if key != "name"}


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def test_unfinished_run_of_an_image_that_is_there(
    state: State, image: Image, images: Path, place: Any
) -> None:
    declared = {"source": "file", "path": str(image("a.qcow2", b"x")), **place}
    state("image.present", NAME, **declared)
    (images / "store" / ".making" / f"{NAME}.abc").mkdir(parents=True)
    half = images / "store" / f".{NAME}.json.1234"
    half.write_text("{")
    assert len(state("image.present", NAME, **declared)["changes"]) == 2
    assert not half.exists()
    assert state("image.present", NAME, **declared)["changes"] == {}


def test_orphan_of_a_run_killed_before_its_provenance(
    state: State, image: Image, images: Path, place: Any
) -> None:
    scratch = images / "store" / ".making" / f"{NAME}.abc"
    scratch.mkdir(parents=True)
    orphan = images / "store" / f"{NAME}-0123456789ab.qcow2"
    orphan.write_bytes(b"x")
    (scratch / "note.json").write_text(json.dumps({"final": str(orphan)}))
    declared = {"source": "file", "path": str(image("a.qcow2", b"x")), **place}
    assert state("image.present", NAME, **declared)["result"] is True
    assert not orphan.exists()


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

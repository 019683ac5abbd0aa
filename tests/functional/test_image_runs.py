"""Runs that are killed, that fail late, or that meet: what they leave, and what the next one finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Unavailable
from corral.image import model, programs, wire
from corral.image.lock import LOCK, making
from corral.image.store import Store
from tests.support import image_files
from tests.support.expect import assert_failed
from tests.support.image_files import NAME, Handler, Image, base_of, sha256

RUN = """
import json, sys
from pathlib import Path
from tests.support import salt_here
salt_here.caller(Path(sys.argv[1])).cmd("state.single", "image.present", **json.loads(sys.argv[2]))
"""

VIRSH = """#!/bin/sh
case "$*" in
*list*) echo corral-build-x ;;
*destroy*) echo "error: Cannot destroy it" >&2; exit 1 ;;
esac
"""

State = Callable[..., dict[str, Any]]

server = image_files.server  # the fixture


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def lock_files() -> int:
    """How often this process has the lock of the host open to take it, which it does to wait for it."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if descriptor.readlink() == LOCK:
                _, _, flags = Path("/proc/self/fdinfo", descriptor.name).read_text().partition("flags:")
                found += int(flags.split()[0], 8) & os.O_ACCMODE == os.O_RDWR
        except FileNotFoundError:
            continue
    return found


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
        until(lambda: Handler.asked)
        said = f"images.{NAME} by process {first.pid} is still being made"
        with pytest.raises(Unavailable, match=said), making("another", patience=0.1):
            pass
        with ThreadPoolExecutor() as threads:
            release = threads.submit(lambda: (until(lock_files), Handler.slow.set()))
            second = state("image.present", NAME, **declared)
            release.result()
        assert first.wait() == 0
    assert (second["result"], second["changes"]) == (True, {})
    assert len(Handler.asked) == 1


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


def test_run_that_another_one_overtook_looks_again(
    state: State, image: Image, images: Path, place: Any
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    wanted = model.declare(NAME, {"source": "file", "path": str(image("b.qcow2", b"y")), **place})
    provenance = Path(place["directory"], f"{NAME}.json")
    with ThreadPoolExecutor() as threads:
        with making("another"):
            run = threads.submit(wire.ensure, wanted)
            until(lambda: lock_files() == 2)
            provenance.write_text(provenance.read_text().replace('"built": "', '"built": "later than '))
        assert run.result().sha256 == sha256(image("b.qcow2", b"y"))


def test_failure_after_the_base_is_in_its_place_leaves_no_base(
    state: State, image: Image, images: Path, place: Any
) -> None:
    """There is room for store, .making, scratch, note and base, but not for the provenance."""
    source = image("a.qcow2", b"x")
    Path(place["directory"]).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=6", "none", place["directory"]], check=True)
    try:
        (Path(place["directory"]) / "something").touch()
        answer = state("image.present", NAME, source="file", path=str(source), **place)
        assert_failed(answer, f"images.{NAME}: ", f"/.{NAME}.json.", "No space left on device")
        assert [path.name for path in Path(place["directory"]).iterdir()] == ["something"]
    finally:
        subprocess.run(["umount", place["directory"]], check=True)


def test_base_stays_while_its_provenance_cannot_be_read(
    state: State, image: Image, images: Path, place: Any
) -> None:
    state("image.present", NAME, source="file", path=str(image("a.qcow2", b"x")), **place)
    base, provenance = base_of(place), Path(place["directory"], f"{NAME}.json")
    store = Store(place["directory"])
    whole = provenance.read_text()
    with store.scratch(NAME) as scratch:
        scratch.remember(final=str(base))
        provenance.write_text("{")
    assert base.exists()
    assert scratch.path.exists()
    provenance.write_text(whole)
    store.discard(scratch)
    assert base.exists()
    assert not scratch.path.exists()


def test_remains_of_another_image_are_left_to_its_own_run(
    state: State, image: Image, images: Path, place: Any
) -> None:
    other = images / "store" / ".making" / "other.abc"
    other.mkdir(parents=True)
    half = images / "store" / ".other.json.1234"
    half.touch()
    declared = {"source": "file", "path": str(image("a.qcow2", b"x")), **place}
    assert state("image.present", NAME, **declared)["changes"].keys() == {NAME}
    assert other.exists()
    assert half.exists()
    swept = state("image.absent", "other", **place)["changes"]
    assert swept.keys() == {f"other.unfinished.{other}", f"other.unfinished.{half}"}
    assert not other.exists()
    assert not half.exists()


def test_refusal_about_the_remains_of_another_image_is_told_there(
    state: State, image: Image, images: Path, place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = images / "store" / ".making" / "other.abc"
    other.mkdir(parents=True)
    (other / "note.json").write_text(json.dumps({"guest": "corral-build-x", "uri": "qemu:///system"}))
    (tmp_path / "virsh").write_text(VIRSH)
    (tmp_path / "virsh").chmod(0o755)
    monkeypatch.setattr(programs, "FOLDERS", f"{tmp_path}:{programs.FOLDERS}")
    declared = {"source": "file", "path": str(image("a.qcow2", b"x")), **place}
    assert state("image.present", NAME, **declared)["result"] is True
    said = "images.other: virsh: error: Cannot destroy it"
    assert_failed(state("image.absent", "other", **place), said)
    assert other.exists()

"""Real images, the folder of a host that they are in, and a server, for the functional tests of images."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from corral.image.store import Store

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


def may(user: str, what: str, path: str | Path) -> bool:
    """Whether a user may do something with a file: ``may("nobody", "-r", path)``."""
    argv = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", "test", what, str(path)]
    return subprocess.run(argv, check=False).returncode == 0


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


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and what no server should do.

    slow
        Set: nobody waits any more.
    left
        Set by a client that had enough of ``/drip``, which takes 20 seconds.
    asked
        The paths below ``/gated``, which are served when ``slow`` is set.
    """

    slow = threading.Event()
    left = threading.Event()
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/broken"):
            self.begin("100000")
            self.wfile.write(b"only this")
        elif self.path.startswith("/unsure"):
            self.begin("many")
        elif self.path.startswith("/drip"):
            self.begin("3000000")
            try:
                for _ in range(200):
                    self.wfile.write(b"x")
                    self.slow.wait(0.1)
            except OSError:
                self.left.set()
        elif self.path.startswith("/gated"):
            self.asked.append(self.path)
            self.slow.wait(60)
            self.path = self.path.removeprefix("/gated")
            super().do_GET()
        elif self.path.startswith("/slow"):
            self.begin("3000000")
            self.wfile.write(b"x" * 2_000_000)
            self.slow.wait(60)
        else:
            super().do_GET()

    def begin(self, length: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", length)
        self.end_headers()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of the test's own folder."""

    def handler(*args: Any) -> Handler:
        return Handler(*args, directory=str(tmp_path))

    Handler.slow.clear()
    Handler.left.clear()
    Handler.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as daemon:
        threading.Thread(target=daemon.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{daemon.server_address[1]}"
        Handler.slow.set()
        daemon.shutdown()

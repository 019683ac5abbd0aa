"""Certificates made by ovs-pki(8), and real managers and controllers that listen with them."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from types import TracebackType

PATIENCE = 30.0  # seconds


class Keys:
    """Certificates of a ``switch``, a ``manager``, and a ``stranger`` whom the wrong authority signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pki("init")
        for name, kind in (("switch", "switch"), ("manager", "controller"), ("stranger", "switch")):
            self._pki("req+sign", name, kind)
        trusted = [self.authority(kind).read_text() for kind in ("switch", "controller")]
        # A peer sends the certificate of its own authority, too, when it knows it: it can be learned then.
        (folder / "both.pem").write_text("".join(trusted))

    def _pki(self, *words: str) -> None:
        command = ("ovs-pki", "--dir", str(self.folder / "pki"), "--unique", *words)
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, timeout=60)

    def authority(self, kind: str) -> Path:
        return self.folder / "pki" / f"{kind}ca" / "cacert.pem"

    def ssl(self, ca_cert: Path | None = None) -> dict[str, str]:
        """Return the switch's ``ssl`` as declared."""
        return {
            "private_key": str(self.folder / "switch-privkey.pem"),
            "certificate": str(self.folder / "switch-cert.pem"),
            "ca_cert": str(ca_cert or self.authority("controller")),
        }

    def options(self, name: str) -> list[str]:
        """Return the options by which Open vSwitch's programs are given a certificate."""
        return [
            f"--private-key={self.folder / name}-privkey.pem",
            f"--certificate={self.folder / name}-cert.pem",
            f"--ca-cert={self.folder / 'both.pem'}",
        ]


class Peer:
    """A program that listens while the context lasts, started again when it ends; what it says is kept."""

    def __init__(self, *command: str) -> None:
        self.command, self.said = command, ""
        self.news, self.over = threading.Condition(), False
        self.process: subprocess.Popen[str] | None = None
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> Peer:
        self.thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with self.news:
            self.over = True
            if self.process is not None:
                self.process.terminate()
        self.thread.join()

    def heard(self, words: str) -> None:
        """Return when the program has said these words."""
        with self.news:
            assert self.news.wait_for(lambda: words in self.said, PATIENCE), self.said

    def _run(self) -> None:
        while True:
            with self.news:
                if self.over:
                    return
                self.process = subprocess.Popen(
                    self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
            with self.process as process:
                assert process.stdout is not None
                for line in process.stdout:
                    with self.news:
                        self.said += line
                        self.news.notify_all()


def manager(keys: Keys, name: str, port: int) -> Peer:
    """Return an OVSDB manager, to which the switch connects and which follows the names of its bridges."""
    follow = ("--format=json", "monitor", f"pssl:{port}:127.0.0.1", "Open_vSwitch", "Bridge", "name")
    return Peer("stdbuf", "-oL", "ovsdb-client", *keys.options(name), *follow)


def controller(keys: Keys, name: str, port: int) -> Peer:
    """Return an OpenFlow controller."""
    return Peer("ovs-testcontroller", *keys.options(name), f"pssl:{port}:127.0.0.1")

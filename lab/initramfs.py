"""Initramfs images in the kernel's own format, made without mounting or device nodes on the machine.

The format is cpio "newc", as in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import subprocess
from pathlib import Path


class Initramfs:
    """An image being put together; the same contents always give the same bytes."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
        for folder in ("dev", "proc", "sys", "root"):
            self.folder(folder)
        self._add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        self._add("dev/null", stat.S_IFCHR | 0o666, device=(1, 3))

    def _add(self, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        parent = path.rpartition("/")[0]
        if parent:
            self.folder(parent)
        self._entries[path] = (mode, content, device)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder, with those above it."""
        if path not in self._entries:
            self._add(path, stat.S_IFDIR | mode)

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file."""
        self._add(path, stat.S_IFREG | mode, content)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def program(self, path: str, source: str) -> None:
        """Add the machine's program *source* as *path*, and the shared libraries that it needs."""
        self.file(path, Path(source).read_bytes(), 0o755)
        needs = subprocess.run(["ldd", source], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"^\s+(?:\S+ => )?(/\S+)", needs, re.MULTILINE):
            self.file(library[1:], Path(library).read_bytes(), 0o755)

    def busybox(self) -> None:
        """Add busybox under every name it has, and as process 1."""
        found = shutil.which("busybox") or "/bin/busybox"
        self.file("bin/busybox", Path(found).read_bytes(), 0o755)
        names = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in names:
            if name != "busybox":
                self.link(f"bin/{name}", "busybox")
        self.link("init", "bin/busybox")

    def packed(self, level: int = 9) -> bytes:
        """Return the gzipped image."""
        parts = []
        for number, (path, (mode, content, device)) in enumerate(self._entries.items(), 1):
            parts.append(_record(path, number, mode, content, device))
        parts.append(_record("TRAILER!!!", 0, 0, b"", (0, 0)))
        return gzip.compress(b"".join(parts), level, mtime=0)


def _record(path: str, number: int, mode: int, content: bytes, device: tuple[int, int]) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + b"\0" * (-len(part) % 4)

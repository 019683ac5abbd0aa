"""Bytes of images on this host's disk."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path

CHUNK = 1 << 20
_ZEROS = bytes(CHUNK)


def digest(path: str | Path, kind: str = "sha256") -> str:
    """Return a digest of a file. Default: SHA-256."""
    whole = hashlib.new(kind)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            whole.update(chunk)
    return whole.hexdigest()


def pour(chunks: Iterable[bytes], target: Path) -> tuple[str, int]:
    """Write chunks to a new file, with holes where they are zeros, and return SHA-256 and size."""
    whole, size = hashlib.sha256(), 0
    with open(target, "xb", opener=private) as file:
        for chunk in chunks:
            whole.update(chunk)
            size += len(chunk)
            if chunk == _ZEROS[: len(chunk)]:
                file.seek(len(chunk), os.SEEK_CUR)
            else:
                file.write(chunk)
        file.truncate(size)
    return whole.hexdigest(), size


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read: whole or not at all, whatever happens meanwhile."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with open(temporary, "x", opener=private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    fsync(path.parent)


def let_pass(folder: Path, user: int, group: int) -> None:
    """Let a user, besides root, pass through a folder, but not list it, and nobody else.

    group
        Takes the user's place where the file system has no access control lists (NFS).

    Oz makes the disk of its guest writable for everybody, and its path can be read in the list of
    processes, so only the way to it can be guarded.
    """
    if user:
        _let(folder, user, group, owner=7, others=1)


def let_read(file: Path, user: int, group: int) -> None:
    """Let a user, besides root, read a file, nobody write it, and nobody else do anything with it.

    user, group
        As above; 0 for nobody besides root.

    A base holds what every guest on it has to itself otherwise, such as ``/etc/shadow``.
    """
    file.chmod(0o440)
    if user:
        _let(file, user, group, owner=4, others=4)


def _let(path: Path, user: int, group: int, owner: int, others: int) -> None:
    """Give rights (4: read, 2: write, 1: pass through) to the owner and to one more user."""
    try:
        os.setxattr(path, "system.posix_acl_access", _acl(user, owner, others))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.chown(path, -1, group)
        path.chmod(owner << 6 | others << 3)


def _acl(user: int, owner: int, named: int) -> bytes:
    """Return the access control list (acl(5)) as Linux stores it (posix_acl_xattr.h, version 2)."""
    nothing, no_id = 0, 0xFFFFFFFF
    entries = [  # tag, permissions, id: owner, the user, group, mask, others
        (0x01, owner, no_id),
        (0x02, named, user),
        (0x04, nothing, no_id),
        (0x10, named, no_id),
        (0x20, nothing, no_id),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def fsync(path: Path) -> None:
    """Have a file, or the entries of a folder, safely on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private(path: str, flags: int) -> int:
    """Open a file so that only its owner may read it; an ``opener`` for ``open``."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)

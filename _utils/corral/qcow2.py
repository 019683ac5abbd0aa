"""The header of a qcow2 image, read without starting a program for each file.

The format is QEMU's ``docs/interop/qcow2.txt``; all numbers are big-endian.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
FIXED = struct.Struct(">4sIQIIQI")  # magic, version, backing offset and size, cluster bits, disk size, crypt
DATA_FILE = 1 << 2  # incompatible feature: the data is in another file
LONGEST_NAME = 1023  # bytes of a backing file name
EXTENSION_END, BACKING_FORMAT = 0, 0xE2792ACA
EXTENSIONS = 64  # more than any image has


@dataclass(frozen=True)
class Header:
    """What a header says of the files around the image.

    backing, backing_format
        The image that this one is an overlay of, as written; ``None`` for an image of its own.
    external
        Whether its data lies in another file.
    """

    version: int
    virtual_size: int
    backing: str | None
    backing_format: str | None
    external: bool
    encrypted: bool


Read = Callable[[int, int], bytes]  # offset, length → bytes, fewer at the end of the file


def parse(read: Read) -> Header | None:
    """Return the header of a qcow2 image; ``None`` for anything else.

    Raises ``ValueError`` when the magic is there and the rest is not a header.
    """
    start = read(0, 104)
    if start[:4] != MAGIC:
        return None
    if len(start) < 72:
        raise ValueError("is cut off in its qcow2 header")
    _, version, offset, length, _, size, crypt = FIXED.unpack_from(start)
    features, header_length = 0, 72
    if version >= 3 and len(start) >= 104:
        (features,) = struct.unpack_from(">Q", start, 72)
        (header_length,) = struct.unpack_from(">I", start, 100)
    backing = None
    if offset and length:
        name = read(offset, length) if length <= LONGEST_NAME else b""
        if len(name) != length:
            raise ValueError("has a backing file name that is cut off or too long")
        backing = os.fsdecode(name)
    kind = _extension(read, header_length, BACKING_FORMAT) if backing is not None else None
    return Header(version, size, backing, kind, bool(features & DATA_FILE), crypt != 0)


def _extension(read: Read, at: int, wanted: int) -> str | None:
    """Return the text of a header extension; they follow the header, each padded to 8 bytes."""
    for _ in range(EXTENSIONS):
        head = read(at, 8)
        if len(head) < 8:
            return None
        kind, length = struct.unpack(">II", head)
        if kind == EXTENSION_END:
            return None
        if kind == wanted:
            return read(at + 8, min(length, 64)).decode(errors="replace")
        at += 8 + (length + 7) // 8 * 8
    return None


def header_of(path: str) -> Header | None:
    """Return the header of the file at a path; ``None`` when it is not qcow2.

    Raises ``OSError``, and ``ValueError`` for a broken header.
    """
    # A FIFO or a device among the images must not make us wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return parse(lambda offset, length: os.pread(descriptor, length, offset))
    finally:
        os.close(descriptor)


def base_of(path: str) -> str | None:
    """Return the real path of the image that the one at a path is an overlay of, if it is one.

    Raises ``OSError``, and ``ValueError`` for a broken header.
    """
    header = header_of(path)
    return None if header is None or header.backing is None else backing_path(path, header.backing)


def backing_path(overlay: str, backing: str) -> str | None:
    """Return the real path that a backing file name means; ``None`` when it is not a local file.

    overlay
        The path of the overlay; a relative name counts from its folder.
    backing
        As written: a path, ``file:…`` or ``json:{…}``.
    """
    name: object = backing
    if backing.startswith("json:"):
        name = _filename(backing.removeprefix("json:"))
    elif backing.startswith("file:"):
        name = backing.removeprefix("file:")
        name = "/" + str(name).lstrip("/") if str(name).startswith("///") else name
    elif ":" in backing.partition("/")[0]:
        return None  # a protocol: nbd://…, rbd:…
    return os.path.realpath(os.path.join(os.path.dirname(overlay), name)) if isinstance(name, str) else None


def _filename(text: str) -> object:
    """Return the file name in the options of a block device, nested or dotted."""
    try:
        options = json.loads(text)
    except ValueError:
        return None
    for _ in range(8):
        if not isinstance(options, dict):
            return None
        for key in ("filename", "file.filename"):
            if key in options:
                return options[key]
        options = options.get("file")
    return None

"""Images that exist already: fetched by URL or copied from a file, and looked at before they are used."""

from __future__ import annotations

import http.client
import os
import re
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from corral.errors import Refused, Unavailable
from corral.image.disk import CHUNK, pour
from corral.image.programs import image_info
from corral.progress import Progress
from corral.qcow2 import header_of

SILENCE = 30.0  # seconds that a server may say nothing
TELL_EVERY = 5.0  # seconds between two messages


def download(url: str, target: Path, seconds: float, tell: Progress) -> str:
    """Fetch a URL into a new file and return its SHA-256.

    seconds
        How long it may take in all.

    Raises ``Unavailable`` when it cannot be fetched whole.
    """
    silence, where = min(SILENCE, seconds), address(url)
    try:
        with urllib.request.urlopen(url, timeout=silence) as answer:
            expected = int(answer.headers.get("Content-Length") or 0)
            digest, size = pour(_chunks(answer, expected, seconds, tell), target)
    except urllib.error.HTTPError as error:
        said = f"the server says {error.code} {error.reason}"
        raise Unavailable(f"{where} cannot be fetched: {said}.") from None
    except urllib.error.URLError as error:
        raise Unavailable(f"{where} cannot be fetched: {_reason(error.reason)}.") from None
    except TimeoutError:
        raise Unavailable(f"{where} cannot be fetched: no data for {silence:g} s.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(f"{where} cannot be fetched: {_reason(error)}.") from None
    if expected and size != expected:
        raise Unavailable(f"{where} cannot be fetched: it broke off after {size} of {expected} bytes.")
    return digest


def address(url: str) -> str:
    """Return what may be shown of a URL: its query can be as good as a password (presigned URLs)."""
    return re.split("[?#]", url, maxsplit=1)[0]


def _reason(error: object) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__


def _chunks(source: BufferedIOBase, total: int, seconds: float, tell: Progress) -> Iterator[bytes]:
    start = told = time.monotonic()
    done = 0
    while chunk := source.read1(CHUNK):  # what is there; read() would wait for all of it
        yield chunk
        done += len(chunk)
        now = time.monotonic()
        if now - start > seconds:
            raise Unavailable(
                f"The image was not there within {seconds:g} s ({done} of {total or '?'} bytes)."
            )
        if now - told > TELL_EVERY:
            told = now
            tell("fetch the image (kB)", done >> 10, total >> 10)


def copy(path: str, target: Path, tell: Progress) -> str:
    """Copy a file into a new one and return its SHA-256.

    Raises ``Refused`` when there is no such file, ``Unavailable`` when it cannot be copied.
    """
    try:
        with open(path, "rb") as file:
            digest, _ = pour(_chunks(file, os.fstat(file.fileno()).st_size, float("inf"), tell), target)
    except FileNotFoundError:
        raise Refused(f"{path} does not exist.") from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be copied: {_reason(error)}.") from None
    return digest


def look(path: str) -> str | None:
    """Return what a file looks like, to see when it changed; ``None`` when there is no such file.

    Raises ``Refused`` when it is no regular file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {_reason(error)}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{path} is not a regular file.")
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(status.st_mtime))
    return f"{path}, {status.st_size} bytes of {when}.{status.st_mtime_ns % 10**9:09d}Z"


def examine(file: Path, declared: str) -> dict[str, Any]:
    """Return format and size of an image that came from outside.

    declared
        The format it must have.

    Raises ``Refused`` for another format, and for an image that needs, or would open, other files.
    """
    try:
        header = header_of(str(file))
    except ValueError as broken:
        raise Refused(f"the image {broken}.") from None
    if header is not None:
        needs = [
            *([f"a backing file ({header.backing})"] if header.backing is not None else []),
            *(["an external data file"] if header.external else []),
            *(["a key to decrypt it"] if header.encrypted else []),
        ]
        if needs:
            raise Refused(f"the image needs {' and '.join(needs)}; a base must stand alone.")
    info = image_info(str(file))
    if info["format"] != declared:
        raise Refused(f"the image is {info['format']}, but {declared} is declared as its format.")
    return info

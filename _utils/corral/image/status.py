"""What oz-install says, as values.

Its exit status alone means little: without ``-d3`` every failure is 0 (oz-install, its last lines), so
success is what four independent signs agree on.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

LONGEST = 600  # characters of an error that are shown
WAITING = re.compile(r"Waiting for \S+ to (?P<what>finish \w+), (?P<left>\d+)/(?P<total>\d+)$")
FETCHING = re.compile(r"(?P<done>\d+)kB of (?P<total>\d+)kB$")
AN_OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?")  # says nothing, and differs each time
EXCEPTION = re.compile(r"(?:[\w]+\.)*(?P<kind>\w+)(?:: (?P<text>.*))?$", re.DOTALL)


@dataclass(frozen=True)
class Finished:
    """An oz-install that has ended.

    code
        Its exit status; negative is a signal.
    stdout, stderr
        What it said.
    xml_path, xml
        The file that ``-x`` named and its text, empty when there is none.
    disk_bytes
        The size of the disk that the XML names; ``None`` when there is none.
    """

    code: int
    stdout: str
    stderr: str
    xml_path: str
    xml: str
    disk_bytes: int | None


Hide = Callable[[str], str]


def failure(finished: Finished, hide: Hide = str) -> str:
    """Return why the build failed, or an empty text when all signs say that it did not.

    hide
        Puts stars in place of secrets; before a text is cut, since half a secret is not found any more.
    """
    error_line = any(line.startswith("ERROR:") for line in finished.stdout.splitlines())
    if finished.code or error_line:
        return said(finished, hide)
    if f"Libvirt XML was written to {finished.xml_path}" not in finished.stdout:
        return f"it ended without writing its result: {said(finished, hide)}"
    disk = named_disk(finished.xml)
    if disk is None:
        return f"its result {finished.xml_path} is not libvirt XML that names a disk"
    if not finished.disk_bytes:
        return f"the disk {disk} that it names is missing or empty"
    return ""


def named_disk(xml: str) -> str | None:
    """Return the path of the first disk in libvirt's XML of a guest."""
    try:
        source = ET.fromstring(xml).find("./devices/disk[@device='disk']/source")
    except ET.ParseError:
        return None
    return None if source is None else source.get("file")


def said(finished: Finished, hide: Hide = str) -> str:
    """Return the error in oz's own words: the last exception, the ``ERROR:`` text or the last line."""
    if finished.code < 0:
        return f"it was ended by signal {-finished.code}"
    text = _last_exception(finished.stderr) or _error_text(finished.stdout)
    if not text:
        lines = [line for line in (finished.stderr + "\n" + finished.stdout).splitlines() if line.strip()]
        text = lines[-1] if lines else ""
    return _sentence(hide(text) or f"exit status {finished.code}")


def _last_exception(stderr: str) -> str:
    """Return the exception that ends the last traceback, with the lines that belong to it."""
    _, found, after = stderr.rpartition("Traceback (most recent call last):\n")
    if not found:
        return ""
    lines = after.splitlines()
    while lines and lines[0].startswith(" "):
        lines.pop(0)
    match = EXCEPTION.match("\n".join(lines))
    if match is None:
        return "\n".join(lines)
    kind, text = match["kind"], (match["text"] or "").strip()
    return text if kind == "OzException" and text else f"{kind}: {text}"


def _error_text(stdout: str) -> str:
    _, found, after = stdout.rpartition("ERROR:")
    return after.partition("(use -d3")[0].strip() if found else ""


def _sentence(text: str) -> str:
    flat = " ".join(AN_OBJECT.sub("", text).split())
    flat = flat.rstrip(".")
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 1] + "…"


def progress(line: str) -> tuple[str, int, int] | None:
    """Return what a line of ``-d3`` tells of the progress: what is done, how much, of how much.

    The wait for the installer is in seconds, of the most that it may take.
    """
    waiting = WAITING.search(line)
    if waiting:
        total = int(waiting["total"])
        return waiting["what"], total - int(waiting["left"]), total
    fetching = FETCHING.search(line)
    if fetching:
        return "fetch the medium (kB)", int(fetching["done"]), int(fetching["total"])
    return None


def sum_of(listing: str, name: str, kind: str) -> str | None:
    """Return the checksum of a file in a list of checksums; ``None`` when it is not there.

    listing
        Lines as of ``sha256sum`` (``<sum>  <name>``) or BSD (``SHA256 (<name>) = <sum>``); a list of
        nothing but one sum is about any file.
    kind
        ``md5sum``, ``sha1sum`` or ``sha256sum``.
    """
    digits = {"md5sum": 32, "sha1sum": 40, "sha256sum": 64}[kind]
    number = f"(?P<sum>[0-9a-fA-F]{{{digits}}})"
    bsd = re.compile(rf"{kind[:-3]} ?\({re.escape(name)}\) ?= ?{number}", re.IGNORECASE)
    plain = re.compile(rf"{number} [ *](?:\./)?{re.escape(name)}")
    for line in listing.splitlines():
        match = plain.fullmatch(line.strip()) or bsd.fullmatch(line.strip())
        if match:
            return match["sum"].lower()
    alone = re.fullmatch(number, listing.strip())
    return alone["sum"].lower() if alone else None

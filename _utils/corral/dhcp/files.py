"""Files written whole or not at all, and the reservations of each owner, which are such files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from corral.dhcp import paths
from corral.dhcp.model import Reservation
from corral.dhcp.process import Process
from corral.dhcp.render import hosts, parse_hosts
from corral.dhcp.status import settled
from corral.errors import Unavailable

LOCK_SECONDS = 10.0


@contextlib.contextmanager
def saying(sentence: str) -> Iterator[None]:
    """Turn an error of the system into ``Unavailable``, with a sentence that names what failed."""
    try:
        yield
    except OSError as failed:
        where = f" ({failed.filename})" if failed.filename and str(failed.filename) not in sentence else ""
        raise Unavailable(f"{sentence}: {failed.strerror}{where}.") from failed


def read(path: Path) -> str | None:
    """Return a file's text; ``None`` if there is no such file."""
    with saying(f"{path} cannot be read"):
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None


def write(path: Path, text: str) -> None:
    """Put a file in place by a rename, on disk before it is there.

    It is readable by all whatever the umask: dnsmasq reads reservations again without being root.
    """
    draft = path.with_name(f".{path.name}.new")  # dnsmasq skips files whose name begins with a dot
    folder(path.parent)
    with saying(f"{path} cannot be written"):
        try:
            with draft.open("w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()  # half of a text helps nobody, least of all on a full disk
            raise
        _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with saying(f"{path} cannot be removed"):
        if os.path.lexists(path):  # on a read-only file system even nothing cannot be removed
            path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder and what is in it, if it is there; systemd may be at the same."""
    with saying(f"{path} cannot be removed"):
        while path.is_dir():
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)


def folder(path: Path) -> None:
    """Make a folder and those above it, open to be looked into by dnsmasq."""
    with saying(f"{path} cannot be made"):
        for one in (*reversed(path.parents), path):
            if not one.is_dir():
                one.mkdir(exist_ok=True)
                one.chmod(0o755)


def inside(path: Path) -> list[Path]:
    """Return what is in a folder; nothing, if it is not there."""
    with saying(f"{path} cannot be read"):
        return list(path.iterdir()) if path.is_dir() else []


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(subnet: str) -> Iterator[None]:
    """Keep other writers off a subnet; raise ``Unavailable`` when one does not end in time."""
    folder(paths.RUN)
    with saying(f"dhcp.{subnet}"), (paths.RUN / f"{subnet}.lock").open("w") as lock:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    text = f"dhcp.{subnet}: another process has been writing it for {LOCK_SECONDS:.0f} s."
                    raise Unavailable(text) from None
                time.sleep(0.02)  # flock(2) knows no timeout
        yield


def owners(subnet: str) -> list[str]:
    """Return whose reservations there are."""
    places = (paths.hosts(subnet), paths.unread(subnet))
    found = {file.name for place in places for file in inside(place)}
    return sorted(name for name in found if not name.startswith("."))


def reservations(subnet: str, owner: str, serving: Process | None) -> tuple[Reservation, ...]:
    """Return what is reserved for an owner, with what dnsmasq has not read yet marked as such.

    serving
        The running dnsmasq of the subnet.
    """
    on_disk = written(subnet, owner)
    known = _known(subnet, owner, serving)
    return on_disk if known is None else settled(on_disk, parse_hosts(known)[0])


def written(subnet: str, owner: str) -> tuple[Reservation, ...]:
    """Return what an owner's file reserves."""
    return parse_hosts(read(paths.hosts(subnet) / owner) or "")[0]


def strays(subnet: str, owner: str) -> tuple[str, ...]:
    """Return the lines of an owner's file that are no reservation."""
    return parse_hosts(read(paths.hosts(subnet) / owner) or "")[1]


def reserve(subnet: str, owner: str, mine: Iterable[Reservation], serving: Process | None) -> bool:
    """Write an owner's reservations and return whether dnsmasq is now to read them again, then :func:`seen`.

    What the running dnsmasq has read is put aside first: a kill between here and there shows.
    """
    file = paths.hosts(subnet) / owner
    mine = tuple(mine)
    old, new = read(file) or "", hosts(mine) if mine else ""
    if old == new and _known(subnet, owner, serving) is None:
        return False
    if serving and _known(subnet, owner, serving) is None:
        write(paths.unread(subnet) / owner, f"{serving.mark}\n{old}")
    if mine:
        write(file, new)
    else:
        remove(file)
    return True


def seen(subnet: str) -> None:
    """Note that dnsmasq has been told to read all reservations."""
    for file in inside(paths.unread(subnet)):
        remove(file)


def _known(subnet: str, owner: str, serving: Process | None) -> str | None:
    """Return the text that the running dnsmasq has read, if that was put aside and it still runs."""
    mark, _, text = (read(paths.unread(subnet) / owner) or "").partition("\n")
    return text if serving and mark == serving.mark else None

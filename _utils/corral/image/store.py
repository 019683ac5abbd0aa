"""The store of bases: immutable files named by their content, with their provenance beside them.

``<name>.json`` tells which base is the current one of an image and which ones it superseded. It is written
last when a base comes and removed last when an image goes, so a killed run leaves nothing that is taken
for a base.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from corral.errors import Refused, Unavailable
from corral.image.disk import digest, fsync, let_read, write_private
from corral.image.lock import taken
from corral.image.model import SEARCH, STORE, Base
from corral.image.overlays import Found, find
from corral.image.places import Places

LOG = logging.getLogger(__name__)

MAKING = ".making"
NOTE = "note.json"
SHOWN = 5  # users that a sentence names
PATIENCE = 10.0  # seconds to wait for a base that is being removed
PAUSE = 0.1


@dataclass(frozen=True)
class Record:
    """What the provenance of an image tells."""

    current: Base | None = None
    superseded: tuple[Base, ...] = ()

    @property
    def bases(self) -> tuple[Base, ...]:
        return (*((self.current,) if self.current else ()), *self.superseded)


class Scratch:
    """A folder of root's for the making of one base, on the file system of the store; gone when left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept = False  # whether a later run must see it

    @property
    def image(self) -> str:
        """The name of the image that the base is made for."""
        return self.path.name.rpartition(".")[0]

    @property
    def note(self) -> dict[str, Any]:
        """What a later run must know to clean up after this one."""
        try:
            return dict(json.loads((self.path / NOTE).read_text()))
        except (OSError, ValueError):
            return {}

    def remember(self, **facts: str) -> None:
        """Add to the note, safely on disk before what it is about happens."""
        write_private(self.path / NOTE, json.dumps({**self.note, **facts}))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Store:
    """The bases in one folder.

    directory
        Where they are. Default: ``/var/lib/libvirt/images/corral``.
    search
        Folders in which overlays may be. Default: ``/var/lib/libvirt/images``.
    """

    def __init__(self, directory: str = STORE, search: Sequence[str] = SEARCH) -> None:
        self.directory = Path(directory)
        self.search = tuple(search)

    # --- looking ---

    def names(self) -> list[str]:
        """Return the names of the images that are there."""
        try:
            return sorted(path.stem for path in self.directory.iterdir() if path.suffix == ".json")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Unavailable(f"{self.directory} could not be read: {error.strerror}.") from None

    def record(self, name: str) -> Record:
        """Return the provenance of an image; an empty one when there is no such image."""
        path = self._provenance(name)
        try:
            data = json.loads(path.read_text())
            return Record(
                self._base(data["current"]), tuple(self._base(entry) for entry in data["superseded"])
            )
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise Unavailable(f"{path} could not be read: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError):
            raise Unavailable(f"{path} is not a provenance that this version can read.") from None

    def find(self, name: str) -> Base | None:
        """Return the current base of an image; ``None`` when there is no such image.

        Raises ``Refused`` when the base is missing or no longer what was stored.
        """
        base = self.record(name).current
        if base is None:
            return None
        seen = _seen(base)
        if seen is None:
            raise Refused(f"images.{name}: its base {base.path} is missing.")
        if seen != (base.size, base.modified):
            raise Refused(f"images.{name}: its base {base.path} was changed; image.present checks and tells.")
        return base

    @contextlib.contextmanager
    def hold(self, name: str, *folders: str) -> Iterator[Base]:
        """Yield the current base, which nobody can remove as long as the block runs.

        folders
            Where the block makes overlays on it. They are searched ever after, whatever ``search`` says.

        Raises ``Refused`` when there is none.
        """
        base = self.find(name)
        if base is None:
            raise Refused(f"images.{name}: there is no such image in {self.directory}.")
        with _flock(base, fcntl.LOCK_SH, PATIENCE):
            for folder in folders:
                self._places(name).add(folder)
            yield base

    def users(self, base: Base) -> tuple[str, ...]:
        """Return the overlays and guests that use a base."""
        return self.uses(base.name).of(base.path)

    def uses(self, name: str) -> Found:
        """Return who uses which file, in the store and where overlays of an image may be."""
        places = self._places(name)
        found = find((*self.search, *places.folders(), str(self.directory)), bases=str(self.directory))
        return replace(found, unknown=(*found.unknown, *places.away()))

    def condition(self, base: Base) -> Literal["intact", "touched", "missing"]:
        """Compare a base with its provenance; its content only when its times differ.

        Raises ``Refused`` when the content is another.
        """
        seen = _seen(base)
        if seen is None:
            return "missing"
        if seen == (base.size, base.modified):
            return "intact"
        if seen[0] == base.size and digest(base.path) == base.sha256:
            return "touched"
        raise Refused(
            f"images.{base.name}: its base {base.path} was altered: its content is not that of its name. "
            "Overlays on it may be damaged; move it away to have it made again."
        )

    def unfinished(self, name: str) -> tuple[str, ...]:
        """Return scratch folders and half-written files of an image; remains, when nothing is being made."""
        folders = [scratch.path for scratch in self.scratches() if scratch.image == name]
        return tuple(sorted(str(path) for path in (*folders, *self.directory.glob(f".{name}.json.*"))))

    def scratches(self) -> tuple[Scratch, ...]:
        """Return every scratch folder."""
        making = self.directory / MAKING
        return tuple(Scratch(path) for path in making.iterdir()) if making.is_dir() else ()

    # --- writing; whoever calls holds the lock of the host ---

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Scratch]:
        """Yield a scratch folder for an image."""
        making = self.directory / MAKING
        for folder in (self.directory, making):
            if not folder.is_dir():
                folder.mkdir(parents=True)
                folder.chmod(0o711)
        scratch = Scratch(Path(tempfile.mkdtemp(prefix=f"{name}.", dir=making)))
        try:
            yield scratch
        finally:
            if not scratch.kept:
                self.discard(scratch)
            self.tidy(name)

    def adopt(self, scratch: Scratch, file: Path, base: Base, reader: tuple[int, int] = (0, 0)) -> Base:
        """Make a finished file the current base of its image.

        base
            All that is known but ``path``, ``size`` and ``modified``.
        reader
            The numbers of the user and the group that may read it, besides root. Default: nobody.
        """
        final = self.directory / f"{base.name}-{base.sha256[:12]}.{base.format}"
        os.chown(file, os.geteuid(), os.getegid())
        let_read(file, *reader)
        fsync(file)
        status = file.stat()
        base = replace(base, path=str(final), size=status.st_size, modified=status.st_mtime_ns)
        old = self.record(base.name)
        scratch.remember(final=str(final))
        file.rename(final)
        fsync(self.directory)
        superseded = tuple(b for b in old.bases if b.path != base.path and _seen(b) is not None)
        self._save(base.name, Record(base, superseded))
        return base

    def confirm(self, name: str, file: str, origin: str) -> None:
        """Note that a file with other looks still has the content of the current base."""
        record = self.record(name)
        assert record.current is not None
        self._save(name, replace(record, current=replace(record.current, file=file, origin=origin)))

    def restore_times(self, base: Base) -> None:
        """Give a base whose content is right the time of modification of its provenance."""
        os.utime(base.path, ns=(base.modified, base.modified))

    def drop(self, name: str, paths: Sequence[str]) -> None:
        """Remove superseded bases."""
        record = self.record(name)
        doomed = [base for base in record.superseded if base.path in paths]
        self._unlink(doomed)
        self._save(name, Record(record.current, tuple(b for b in record.superseded if b not in doomed)))

    def remove(self, name: str) -> None:
        """Remove an image: its bases, then its provenance."""
        self._unlink(self.record(name).bases)
        self._places(name).forget()
        self._provenance(name).unlink(missing_ok=True)
        fsync(self.directory)

    def discard(self, scratch: Scratch) -> None:
        """Remove a scratch folder, and a base that came from it without provenance.

        Both stay when it cannot be told whether the base has one.
        """
        final = scratch.note.get("final")
        if final and Path(final).parent == self.directory:
            try:
                if final not in {base.path for base in self.record(scratch.image).bases}:
                    Path(final).unlink(missing_ok=True)
            except (Unavailable, OSError) as why:
                LOG.warning("%s is left to a later run: %s", scratch.path, why)
                return
        scratch.remove()

    def tidy(self, name: str) -> None:
        """Remove provenance that a killed run did not finish to write, and folders in which nothing is."""
        for half_written in self.directory.glob(f".{name}.json.*"):
            half_written.unlink(missing_ok=True)
        for folder in (self.directory / MAKING, self.directory):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _unlink(self, bases: Sequence[Base]) -> None:
        with contextlib.ExitStack() as held:
            for base in bases:
                if _seen(base) is not None:
                    held.enter_context(_flock(base, fcntl.LOCK_EX))
            if bases:
                self._refuse_used(bases)
            for base in bases:
                Path(base.path).unlink(missing_ok=True)

    def _refuse_used(self, bases: Sequence[Base]) -> None:
        found = self.uses(bases[0].name)
        for base in bases:
            users = found.of(base.path)
            if users:
                raise Refused(f"images.{base.name}: {base.path} is used by {listed(users)}.")
        if found.unknown:
            raise Refused(f"images.{bases[0].name}: {listed(found.unknown)}.")

    def _places(self, name: str) -> Places:
        return Places(self.directory / f"{name}.places")

    def _provenance(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def _base(self, entry: dict[str, Any]) -> Base:
        return Base(path=str(self.directory / entry["file_name"]), **_without(entry, "file_name"))

    def _save(self, name: str, record: Record) -> None:
        def entry(base: Base) -> dict[str, Any]:
            data = dataclasses.asdict(base)
            return {"file_name": Path(base.path).name, **_without(data, "path")}

        assert record.current is not None
        data = {"current": entry(record.current), "superseded": [entry(b) for b in record.superseded]}
        write_private(self._provenance(name), json.dumps(data, indent=2) + "\n")


def _without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k != key}


def _seen(base: Base) -> tuple[int, int] | None:
    """Return size and time of modification of a base; ``None`` when it is not there."""
    try:
        status = os.stat(base.path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{base.path} could not be read: {error.strerror}.") from None
    return status.st_size, status.st_mtime_ns


def listed(users: Sequence[str]) -> str:
    """Return the first few of many users and how many more there are."""
    more = f" and {len(users) - SHOWN} more" if len(users) > SHOWN else ""
    return ", ".join(users[:SHOWN]) + more


@contextlib.contextmanager
def _flock(base: Base, how: int, patience: float = 0) -> Iterator[None]:
    """Hold a lock on a base; QEMU's own locks (fcntl) are of another kind."""
    try:
        descriptor = os.open(base.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refused(f"images.{base.name}: its base {base.path} is missing.") from None
    try:
        _take(descriptor, how, base, time.monotonic() + patience)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, how: int, base: Base, deadline: float) -> None:
    while not taken(descriptor, how):
        if time.monotonic() >= deadline:
            used, removed = f"guests are being made from {base.path}", f"{base.path} is being removed"
            raise Refused(f"images.{base.name}: {used if how == fcntl.LOCK_EX else removed} just now.")
        time.sleep(PAUSE)  # flock has no time limit of its own
    if os.fstat(descriptor).st_nlink == 0:
        raise Refused(f"images.{base.name}: its base {base.path} was removed just now.")

"""Where overlays of an image were made, noted before the first is made there.

A pool may have a folder of its own, which nobody would search, and disks that its scale-in keeps belong to
no guest. Each folder has a note of its own, so that two pools never write to the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from corral.errors import Unavailable
from corral.image.disk import write_private


@dataclass(frozen=True)
class Place:
    """A folder with overlays.

    mount
        The mount point that it was on: when nothing is mounted there, its files are not gone, only away.
    """

    folder: str
    mount: str


class Places:
    """The notes of one image, in a folder of their own."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def add(self, folder: str) -> None:
        """Note a folder."""
        note = self.notes / hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        if note.exists():
            return
        try:
            self.notes.mkdir(mode=0o700, exist_ok=True)
            write_private(note, json.dumps(asdict(Place(folder, _mount_of(folder)))))
        except OSError as error:
            raise Unavailable(f"{note} could not be written: {error.strerror}.") from None

    def folders(self) -> tuple[str, ...]:
        """Return the folders."""
        return tuple(place.folder for _, place in self._all())

    def away(self) -> tuple[str, ...]:
        """Return a sentence, without its full stop, for each folder whose file system is not mounted."""
        return tuple(
            f"overlays were made in {place.folder}, and nothing is mounted at {place.mount} now: what is "
            f"there is not known (when it is gone for good, remove {note})"
            for note, place in self._all()
            if not os.path.ismount(place.mount)
        )

    def forget(self) -> None:
        """Remove all notes."""
        with contextlib.suppress(FileNotFoundError):
            for note in self.notes.iterdir():
                note.unlink(missing_ok=True)
            self.notes.rmdir()

    def _all(self) -> Iterator[tuple[Path, Place]]:
        try:
            for note in sorted(self.notes.iterdir()):
                if not note.name.startswith("."):  # what a killed run did not finish to write
                    yield note, Place(**json.loads(note.read_text()))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError) as error:
            raise Unavailable(f"{self.notes} could not be read: {error}.") from None


def _mount_of(folder: str) -> str:
    path = os.path.realpath(folder)
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path

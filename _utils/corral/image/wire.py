"""What carries out the plan of an image: the store, and what its source takes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corral.converge import Todo, Wire, converge
from corral.errors import Conflict, Error, Refused, Unavailable
from corral.image import build, cleanup, fetch, virsh
from corral.image.disk import digest
from corral.image.lock import busy, making
from corral.image.make import make
from corral.image.model import SYSTEM, Base, FileImage, Held, Image, NoImage, OzImage, Spare
from corral.image.plan import due, plan
from corral.image.programs import program
from corral.image.seal import agrees, seal
from corral.image.store import Record, Store, listed
from corral.progress import Progress, silent

LOG = logging.getLogger(__name__)

BRIDGES = Path("/sys/class/net")


class ImageWire(Wire[Held, Image | NoImage]):
    """One image of a store.

    desired
        What is declared.
    tell
        Is told the progress of a build or a download.
    """

    def __init__(self, desired: Image | NoImage, tell: Progress = silent) -> None:
        self.desired = desired
        self.tell = tell
        self.store = Store(desired.directory, desired.search)
        self.seen = Record()
        self.oz = ""  # its version, asked when a build is due

    # --- looking ---

    def read(self) -> Held:
        with self._named():
            held = self._held()
            if isinstance(self.desired, Image) and due(held, self.desired):
                program("qemu-img")
                if isinstance(self.desired, OzImage):
                    self.oz = build.check(self.desired)
                    virsh.ready(self.desired.build.uri)
            return held

    def bare(self) -> Held:
        """Return what the store has: to look at it takes no program."""
        with self._named():
            return self._held()

    def lacks(self, todo: Todo, current: Held, desired: Image | NoImage) -> tuple[str, ...]:
        name = desired.name
        if isinstance(desired, NoImage):
            users = (f"it is used by {listed(current.users)}",) if current.users else ()
            return tuple(f"images.{name}: {reason}." for reason in (*users, *current.unknown))
        if not due(current, desired):
            return ()
        if isinstance(desired, OzImage) and desired.build.bridge:
            return _bridge_lacks(name, desired.build.bridge)
        if isinstance(desired, FileImage) and not os.path.exists(desired.path):
            return (f"images.{name}.path: {desired.path} does not exist.",)
        return ()

    def _held(self) -> Held:
        name, store = self.desired.name, self.store
        self.seen = record = store.record(name)
        unfinished = () if busy() else store.unfinished(name)
        if isinstance(self.desired, NoImage):
            return self._going(record, unfinished)
        base, offer = record.current, self._offer()
        held = Held(
            base,
            condition=store.condition(base) if base else "intact",
            offer=offer,
            same_content=self._same_content(base, offer),
            same_secrets=base is None or agrees(base.secrets, self.desired.secrets()),
            unfinished=unfinished,
        )
        if not all(os.path.exists(base.path) for base in record.bases) or base is None:
            self._refuse_lost(self.desired, held)
        return self._with_spares(held, self.desired, record)

    def _going(self, record: Record, unfinished: tuple[str, ...]) -> Held:
        if not record.bases:
            return Held(record.current, unfinished=unfinished)
        found = self.store.uses(self.desired.name)
        users = {user for base in record.bases for user in found.of(base.path)}
        return Held(record.current, unfinished=unfinished, users=tuple(sorted(users)), unknown=found.unknown)

    def _offer(self) -> str | None:
        if isinstance(self.desired, FileImage) and self.desired.sha256 is None:
            return fetch.look(self.desired.path)
        return None

    def _same_content(self, base: Base | None, offer: str | None) -> bool:
        """Whether a file that looks new is what the base was copied from; read only where it may be so."""
        if base is None or base.file is None or offer in (None, base.file):
            return False
        assert isinstance(self.desired, FileImage)
        path = self.desired.path
        same_kind = base.format == self.desired.format and base.size == os.path.getsize(path)
        return same_kind and digest(path) == base.sha256

    def _with_spares(self, held: Held, desired: Image, record: Record) -> Held:
        """Add the bases that may go: superseded ones, and the current one when a new one is due."""
        old = (record.current,) if record.current and due(held, desired) else ()
        bases = [base for base in (*record.superseded, *old) if os.path.exists(base.path)]
        if desired.superseded == "keep" or not bases:
            return held
        found = self.store.uses(desired.name)
        spares = (Spare(base.path, bool(found.of(base.path) or found.unknown)) for base in bases)
        return dataclasses.replace(held, spares=tuple(spares))

    def _refuse_lost(self, desired: Image, held: Held) -> None:
        """Raise ``Refused`` when overlays use a base that is gone and that would not come back the same."""
        pattern = re.compile(rf"{re.escape(desired.name)}-([0-9a-f]{{12}})\.(qcow2|raw)")
        for path, users in self.store.uses(desired.name).used.items():
            match = pattern.fullmatch(os.path.basename(path))
            here = os.path.dirname(path) == os.path.realpath(desired.directory)
            if match and here and not os.path.exists(path) and not _restorable(desired, held, match[1]):
                raise Refused(
                    f"images.{desired.name}: its base {path} is gone while {listed(users)} "
                    f"{'uses' if len(users) == 1 else 'use'} it, and one made anew would have other content; "
                    "put the file back, or remove what uses it."
                )

    # --- writing ---

    def apply(self, todo: Todo, current: Held, desired: Image | NoImage) -> None:
        name = desired.name
        with self._named(), making(f"images.{name}"):
            if self.store.record(name) != self.seen:
                raise Conflict(f"images.{name} was changed by another run.")
            self._sweep()
            paths = [change.path for change in todo]
            if isinstance(desired, NoImage):
                if (name,) in paths:
                    self.store.remove(name)
                self.store.tidy(name)
                return
            if due(current, desired):
                self._make(current, desired)
            elif current.base is not None:
                self._mend(current, desired)
            doomed = [path[2] for path in paths if path[1:2] == ("superseded",)]
            if doomed:
                self.store.drop(name, doomed)

    def _mend(self, current: Held, desired: Image) -> None:
        assert current.base is not None
        if current.condition == "touched":
            self.store.restore_times(current.base)
        if isinstance(desired, FileImage) and current.offer is not None and current.same_content:
            self.store.confirm(desired.name, current.offer, desired.path)

    def _sweep(self) -> None:
        """Clean up after runs that were killed; with the lock in hand, no scratch folder is alive.

        Of other images only what takes memory and processors is ended: their plans list what they left.
        """
        for scratch in self.store.scratches():
            own = scratch.image == self.desired.name
            try:
                cleanup.clean(scratch)
            except Error as why:
                if own:
                    raise
                LOG.warning("what belongs to %s is left to a later run: %s", scratch.path, why)
            if own:
                self.store.discard(scratch)
        self.store.tidy(self.desired.name)

    def _make(self, current: Held, desired: Image) -> None:
        with self.store.scratch(desired.name) as scratch:
            file, facts = make(desired, scratch, self.tell, self.oz)
            if current.condition == "missing" and current.base is not None:
                self._refuse_other_content(current.base, facts["sha256"])
            base = Base(
                name=desired.name,
                path="",
                format=desired.format,
                size=0,
                modified=0,
                source=desired.source,
                built=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                secrets=seal(desired.secrets()),
                **facts,
            )
            self.store.adopt(scratch, file, base, _reader(desired))

    def _refuse_other_content(self, lost: Base, sha256: str) -> None:
        users = self.store.users(lost)
        if users and sha256 != lost.sha256:
            raise Refused(
                f"images.{lost.name}: what its source gives now is not the content of {lost.path}, "
                f"which is gone while {listed(users)} {'uses' if len(users) == 1 else 'use'} it."
            )

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Let every error begin with the path of the image."""
        start = f"images.{self.desired.name}"
        try:
            yield
        except Error as error:
            text = str(error)
            if text.startswith(start):
                raise
            raise type(error)(f"{start}{'' if text.startswith('.') else ': '}{text}") from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise Unavailable(f"{start}: {where}{error.strerror or error}.") from error


def _reader(image: Image) -> tuple[int, int]:
    """Return user and group of QEMU; root's where libvirt is not there to tell, as it gives the rights itself
    when it starts a guest, unless it was told not to (``dynamic_ownership`` in its ``qemu.conf``)."""
    uri = image.build.uri if isinstance(image, OzImage) else SYSTEM
    try:
        virsh.ready(uri)
        return virsh.qemu_user(uri)
    except Error as why:
        LOG.warning("QEMU's user is not known: %s", why)
        return 0, 0


def _restorable(desired: Image, held: Held, start: str) -> bool:
    """Whether a lost base, known by the start of its sum, would come back the same."""
    sha256 = desired.identity().get("sha256")
    if sha256:
        return bool(sha256.startswith(start))
    same_base = held.base is not None and held.base.sha256.startswith(start)
    return same_base and held.offer is not None  # checked again when the content is known


def _bridge_lacks(name: str, bridge: str) -> tuple[str, ...]:
    at = f"images.{name}.build.bridge"
    if not (BRIDGES / bridge).exists():
        return (f"{at}: {bridge} does not exist.",)
    if not (BRIDGES / bridge / "bridge").exists():
        return (f"{at}: {bridge} is not a Linux bridge; oz cannot attach its guest to anything else.",)
    return ()


def ensure(desired: Image, tell: Progress = silent) -> Base:
    """Have an image as declared, from the cache or made anew, and return its base.

    Raises ``Refused`` when a run of the state would fail, in the same words.
    """
    ret = converge(
        desired.name, {}, declare=lambda: desired, wire=lambda image: ImageWire(image, tell), plan=plan
    )
    if not ret["result"]:
        raise Refused(ret["comment"])
    base = Store(desired.directory, desired.search).find(desired.name)
    if base is None:
        raise Refused(f"images.{desired.name}: it was removed just after it was made.")
    return base


def listing(store: Store) -> dict[str, str]:
    """Return the path of the current base of every image, or why it is not known."""
    listed: dict[str, str] = {}
    for name in store.names():
        try:
            base = store.record(name).current
        except Unavailable as damaged:
            listed[name] = str(damaged)
        else:
            listed.update({name: base.path} if base else {})  # none: it was removed just now
    return listed


def shown(store: Store, name: str) -> dict[str, Any]:
    """Return what is known of an image, in the words of its declaration; empty when there is none."""
    record = store.record(name)
    if record.current is None:
        return {}
    return {**_facts(record.current), "superseded": [_facts(base) for base in record.superseded]}


def _facts(base: Base) -> dict[str, Any]:
    facts = dataclasses.asdict(base)
    return {k: v for k, v in facts.items() if v is not None and k not in Base.private}

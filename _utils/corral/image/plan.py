"""The pure planner of images.

Order: first the remains of killed runs go, then the new base comes, last go bases that nobody uses.
"""

from __future__ import annotations

from typing import Any

from corral.change import Change, differences
from corral.image.model import Base, Held, Image, NoImage
from corral.image.tdl import HIDDEN

LOSS = "data loss"


def plan(held: Held, desired: Image | NoImage) -> tuple[Change, ...]:
    """Return what leads from what the store holds to what is declared."""
    swept = tuple(Change((desired.name, "unfinished", path), path, None) for path in held.unfinished)
    if isinstance(desired, NoImage):
        return (*swept, *_gone(held, desired))
    return (*swept, *due(held, desired), *_mended(held, desired), *_dropped(held, desired))


def due(held: Held, desired: Image) -> tuple[Change, ...]:
    """Return the changes that take a new base; none of them is due when the cache holds."""
    wanted = desired.identity()
    if held.offer is not None and not held.same_content:
        wanted["file"] = held.offer
    if held.base is None:
        return (Change((desired.name,), None, {"source": desired.source, **wanted}),)
    todo = differences((desired.name,), _identity(held.base), wanted)
    if not held.same_secrets:
        todo += (Change((desired.name, "secrets"), HIDDEN, HIDDEN),)
    if held.condition == "missing":
        todo += (Change((desired.name, "base"), "missing", "intact"),)
    return todo


def _identity(base: Base) -> dict[str, Any]:
    return {"format": base.format, "sha256": base.sha256, "tdl": base.tdl, "file": base.file}


def _mended(held: Held, desired: Image) -> tuple[Change, ...]:
    """Return what only the provenance, or the times of the base, must be told."""
    todo: tuple[Change, ...] = ()
    if held.base is not None and held.same_content:
        todo += differences((desired.name,), {"file": held.base.file}, {"file": held.offer})
    if held.base is not None and held.condition == "touched":
        todo += (Change((desired.name, "base"), "touched", "intact"),)
    return todo


def _dropped(held: Held, desired: Image) -> tuple[Change, ...]:
    if desired.superseded == "keep":
        return ()
    return tuple(
        Change((desired.name, "superseded", spare.path), spare.path, None, LOSS)
        for spare in held.spares
        if not spare.used
    )


def _gone(held: Held, desired: NoImage) -> tuple[Change, ...]:
    if held.base is None:
        return ()
    old = {"source": held.base.source, **{k: v for k, v in _identity(held.base).items() if v is not None}}
    return (Change((desired.name,), old, None, LOSS),)

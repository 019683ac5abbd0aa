"""A planned step as a value: what differs, from what, to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One difference between what is and what is declared.

    path
        Where it is, from the name down: ``("ovsbr0", "ports", "p1", "tag")``.
    old, new
        Plain values in the vocabulary of the declaration; ``None`` means "not there".
    takes
        What it takes beyond the change itself, for example ``restart`` or ``data loss``;
        empty when it takes nothing.
    """

    path: Path
    old: Any
    new: Any
    takes: str = ""

    @property
    def dotted(self) -> str:
        return ".".join(self.path)

    @property
    def creates(self) -> bool:
        return self.old is None and self.new is not None

    @property
    def removes(self) -> bool:
        return self.old is not None and self.new is None


def changes(todo: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """Return the ``changes`` of a state's return: ``{"ovsbr0.ports.p1.tag": {"old": …, "new": …}}``.

    What a plan changes in two steps is shown as one change, from what it is to what it will be.
    """
    shown: dict[str, dict[str, Any]] = {}
    for change in todo:
        before = shown.get(change.dotted, {"old": change.old})
        shown[change.dotted] = {"old": before["old"], "new": change.new}
        if change.takes:
            shown[change.dotted]["takes"] = change.takes
    return shown


def differences(path: Path, current: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[Change, ...]:
    """Compare the declared keys of one object with what it is now.

    A key that is not in ``desired`` is not looked at; ``None`` declares that the key must be
    absent. The comparison is by value, so both sides must be in their normal form.
    """
    return tuple(
        Change((*path, key), current.get(key), new) for key, new in desired.items() if current.get(key) != new
    )

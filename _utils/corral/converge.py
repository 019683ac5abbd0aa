"""The one loop: read, plan, apply, read again and plan again.

It is the only code that knows of ``test``, ``result``, ``changes`` and ``comment``. A preview and
a run are the same plan; a run is a success when planning again finds nothing left to do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from corral.change import Change, changes
from corral.errors import Conflict, Error, NotInstalled
from corral.guard import Undo, Way, pending, way

Current = TypeVar("Current")
Desired = TypeVar("Desired")
Todo = tuple[Change, ...]
Plan = Callable[[Current, Desired], Todo]

ATTEMPTS = 5  # reads and writes in a row that another writer may spoil before we say so


class Wire(ABC, Generic[Current, Desired]):
    """What talks to a daemon; one is opened for a run of the loop and closed after it."""

    guarded = False  # whether its plans can be carried out under a guard, and can be in the way of one

    @abstractmethod
    def read(self) -> Current:
        """Look at the daemon once; raise ``Unavailable`` rather than guess that a thing is absent."""

    @abstractmethod
    def apply(self, todo: Todo, current: Current, desired: Desired) -> None:
        """Carry out a plan made from ``current`` and return when the daemon says it is done.

        Raises ``Conflict`` when ``current`` is no longer what the daemon has and nothing has been written
        yet: it is then read and planned again, and what this attempt did would not be told. Later on that is
        ``Refused``.
        """

    @abstractmethod
    def bare(self) -> Current:
        """Return what a host without the product looks like, for a preview before its installation."""

    def look(self) -> Current:
        """Look at what is configured, after a failure: without waiting for it to take effect."""
        return self.read()

    def lacks(self, todo: Todo, current: Current, desired: Desired) -> tuple[str, ...]:
        """Return a sentence for each thing outside this product that the plan needs and that is missing."""
        return ()

    def undo(self, todo: Todo, current: Current, desired: Desired) -> Undo:
        """Return what leads back from a plan; raise ``Refused`` where nothing would."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the daemon."""

    def __enter__(self) -> Wire[Current, Desired]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def converge(
    name: str,
    opts: Mapping[str, Any],
    *,
    declare: Callable[[], Desired],
    wire: Callable[[Desired], Wire[Current, Desired]],
    plan: Plan[Current, Desired],
    guard: Any = None,
) -> dict[str, Any]:
    """Bring the host to the declaration, or say what that would change, as a state's return.

    name
        The state's name, returned as given.
    opts
        The minion's ``__opts__``; ``test`` is read here and nowhere else.
    declare
        Builds the declared model; raises ``Invalid`` before anything is opened.
    wire
        Opens the daemon for a declared model.
    plan
        The pure planner of the product.
    guard
        What is declared as the guard of the change (``corral.guard.model``); none by default.
    """
    try:
        desired = declare()
        how = way(name, guard, opts)
        with wire(desired) as daemon:
            if opts.get("test"):
                return _preview(name, daemon, plan, desired, how)
            pending(daemon.guarded, how.guards)
            answer = _run(name, daemon, plan, desired, how)
        how.end("" if answer["result"] else answer["comment"])
        return answer
    except Error as error:
        return _ret(name, False, (), str(error))


def _preview(
    name: str, daemon: Wire[Current, Desired], plan: Plan[Current, Desired], desired: Desired, how: Way
) -> dict[str, Any]:
    try:
        current, missing = daemon.read(), ""
    except NotInstalled as absent:
        current, missing = daemon.bare(), f"Previewed against an empty host: {absent}"
    todo = plan(current, desired)
    if not todo:
        return _ret(name, True, (), f"{name} is as declared. {missing}".rstrip())
    # What an empty host lacks is the product, and that has been said.
    lacking = () if missing else _lacking(daemon, todo, current, desired, how)
    notes = [missing] if missing else [f"A run now would be refused: {lack}" for lack in lacking]
    return _ret(name, None, todo, " ".join([f"{_count(todo)} would be made{how.note}.", *notes]))


def _lacking(
    daemon: Wire[Current, Desired], todo: Todo, current: Current, desired: Desired, how: Way
) -> tuple[str, ...]:
    return daemon.lacks(todo, current, desired) or how.lacks(daemon, todo, current, desired)


def _run(
    name: str, daemon: Wire[Current, Desired], plan: Plan[Current, Desired], desired: Desired, how: Way
) -> dict[str, Any]:
    for attempt in range(1, ATTEMPTS + 1):
        current = daemon.read()
        todo = plan(current, desired)
        if not todo:
            return _ret(name, True, (), f"{name} is as declared.")
        lacking = _lacking(daemon, todo, current, desired, how)
        if lacking:
            return _ret(name, False, (), " ".join(lacking))
        try:
            how.apply(daemon, todo, current, desired)
        except Conflict:
            if attempt == ATTEMPTS:
                raise
        except Error as error:
            return _after_failure(name, daemon, plan, desired, todo, error)
        else:
            break
    return _verified(name, daemon, plan, desired, todo)


def _verified(
    name: str, daemon: Wire[Current, Desired], plan: Plan[Current, Desired], desired: Desired, todo: Todo
) -> dict[str, Any]:
    try:
        left = plan(daemon.read(), desired)
    except Error as error:
        return _ret(name, False, todo, f"{_count(todo)} made, but they could not be verified: {error}")
    if not left:
        return _ret(name, True, todo, f"{_count(todo)} made.")
    still = "; ".join(f"{c.dotted} is {c.old!r}, declared {c.new!r}" for c in left)
    return _ret(name, False, _done(todo, left), f"Not as declared after the run: {still}.")


def _after_failure(
    name: str,
    daemon: Wire[Current, Desired],
    plan: Plan[Current, Desired],
    desired: Desired,
    todo: Todo,
    error: Error,
) -> dict[str, Any]:
    """Tell what an apply that broke off did: look once more, and show the steps that are no longer due."""
    try:
        left = plan(daemon.look(), desired)
    except Error as unread:
        text = f"{error} What was done before that could not be read: {unread}"
        return _ret(name, False, (), text)
    return _ret(name, False, _done(todo, left), str(error))


def _done(todo: Todo, left: Todo) -> Todo:
    due = {change.path for change in left}
    around = {change.path for change in left if not change.removes}
    return tuple(change for change in todo if change.path not in due and not _inside(change.path, around))


def _inside(path: tuple[str, ...], around: set[tuple[str, ...]]) -> bool:
    """Whether a step belongs to a larger one: what is not made yet has no parts that could be done.

    What is still to be removed may well have lost parts.
    """
    return any(path[:length] in around for length in range(1, len(path)))


def _count(todo: Todo) -> str:
    return "1 change" if len(todo) == 1 else f"{len(todo)} changes"


def _ret(name: str, result: bool | None, todo: Todo, comment: str) -> dict[str, Any]:
    return {"name": name, "result": result, "changes": changes(todo), "comment": comment}

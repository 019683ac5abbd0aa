"""The one loop, held to its promises on a store in memory that can fail in every step."""

from __future__ import annotations

from typing import Any

import pytest

from corral.change import Change, differences
from corral.converge import ATTEMPTS, Wire, converge
from corral.errors import Conflict, Invalid, NotInstalled, Refused, Unavailable


class Store(Wire[dict[str, Any], dict[str, Any]]):
    """A daemon of key and value; ``breaks`` maps a key to the error that setting it raises."""

    def __init__(self, values: dict[str, Any] | None, **faults: Any) -> None:
        self.values = values
        self.breaks: dict[str, Exception] = faults.get("breaks", {})
        self.stuck: set[str] = faults.get("stuck", set())
        self.missing: tuple[str, ...] = faults.get("missing", ())
        self.conflicts: int = faults.get("conflicts", 0)
        self.dies_after: int | None = faults.get("dies_after")
        self.reads = self.writes = 0
        self.closed = False

    def read(self) -> dict[str, Any]:
        self.reads += 1
        if self.values is None:
            raise NotInstalled("the store is not installed.")
        if self.dies_after is not None and self.reads > self.dies_after:
            raise Unavailable("the store is gone.")
        return dict(self.values)

    def bare(self) -> dict[str, Any]:
        return {}

    def lacks(self, todo: Any, current: Any, desired: Any) -> tuple[str, ...]:
        return self.missing

    def apply(self, todo: tuple[Change, ...], current: Any, desired: Any) -> None:
        assert self.values is not None
        if self.conflicts:
            self.conflicts -= 1
            self.values["other"] = self.conflicts
            raise Conflict("somebody else wrote.")
        self.writes += 1
        for change in todo:
            key = change.path[-1]
            if key in self.breaks:
                raise self.breaks[key]
            if key not in self.stuck:
                self.values[key] = change.new

    def close(self) -> None:
        self.closed = True


def plan(current: dict[str, Any], desired: dict[str, Any]) -> tuple[Change, ...]:
    return differences(("s",), current, desired)


def run(store: Store, desired: dict[str, Any], test: bool = False) -> dict[str, Any]:
    return converge("s", {"test": test}, declare=lambda: desired, wire=lambda _: store, plan=plan)


def test_preview_shows_the_run_and_writes_nothing() -> None:
    store = Store({"a": 1})
    preview = run(store, {"a": 2, "b": 3}, test=True)
    assert (preview["result"], store.writes, store.values) == (None, 0, {"a": 1})
    done = run(store, {"a": 2, "b": 3})
    assert done["result"] is True
    assert (
        done["changes"] == preview["changes"] == {"s.a": {"old": 1, "new": 2}, "s.b": {"old": None, "new": 3}}
    )
    assert store.closed


@pytest.mark.parametrize("test", [True, False])
def test_nothing_to_do_is_true_without_a_write(test: bool) -> None:
    store = Store({"a": 1, "unmentioned": 9})
    answer = run(store, {"a": 1}, test)
    assert answer == {"name": "s", "result": True, "changes": {}, "comment": "s is as declared."}
    assert store.writes == 0


@pytest.mark.parametrize("test", [True, False])
def test_a_wrong_declaration_opens_nothing(test: bool) -> None:
    def declare() -> dict[str, Any]:
        raise Invalid("s.a: 5000 is not a VLAN id (1–4094)")

    def wire(_: Any) -> Store:
        raise AssertionError("opened")

    answer = converge("s", {"test": test}, declare=declare, wire=wire, plan=plan)
    assert (answer["result"], answer["comment"]) == (False, "s.a: 5000 is not a VLAN id (1–4094)")


def test_before_the_installation_a_preview_shows_everything_and_a_run_fails() -> None:
    preview = run(Store(None), {"a": 1}, test=True)
    assert (preview["result"], preview["changes"]) == (None, {"s.a": {"old": None, "new": 1}})
    assert "empty host: the store is not installed." in preview["comment"]
    answer = run(Store(None), {"a": 1})
    assert (answer["result"], answer["changes"]) == (False, {})
    assert answer["comment"] == "the store is not installed."


def test_what_is_lacking_refuses_the_run_and_is_noted_by_the_preview() -> None:
    store = Store({}, missing=("s.a: no such NIC.",))
    assert run(store, {"a": 1})["comment"] == "s.a: no such NIC."
    assert store.writes == 0
    preview = run(store, {"a": 1}, test=True)
    assert preview["result"] is None
    assert preview["comment"] == "1 change would be made. A run now would be refused: s.a: no such NIC."


def test_what_did_not_take_is_named_and_not_shown_as_done() -> None:
    answer = run(Store({"a": 1}, stuck={"b"}), {"a": 2, "b": 3})
    assert (answer["result"], answer["changes"]) == (False, {"s.a": {"old": 1, "new": 2}})
    assert answer["comment"] == "Not as declared after the run: s.b is None, declared 3."


def test_an_apply_that_breaks_off_shows_what_it_did() -> None:
    answer = run(Store({}, breaks={"b": Refused("the store said no.")}), {"a": 1, "b": 2, "c": 3})
    assert (answer["result"], answer["comment"]) == (False, "the store said no.")
    assert answer["changes"] == {"s.a": {"old": None, "new": 1}}


def test_a_failed_look_after_a_failed_apply_is_said() -> None:
    answer = run(Store({}, breaks={"a": Refused("no.")}, dies_after=1), {"a": 1})
    assert answer["result"] is False
    assert answer["comment"] == "no. What was done before that could not be read: the store is gone."


def test_a_run_that_cannot_be_verified_shows_what_it_made() -> None:
    answer = run(Store({}, dies_after=1), {"a": 1})
    assert (answer["result"], answer["changes"]) == (False, {"s.a": {"old": None, "new": 1}})
    assert answer["comment"] == "1 change made, but they could not be verified: the store is gone."


def test_a_failed_run_does_not_wait_for_what_is_configured_to_take_effect() -> None:
    class Waiting(Store):
        def read(self) -> dict[str, Any]:
            if self.writes:
                raise Unavailable("it has not taken effect.")
            return super().read()

        def look(self) -> dict[str, Any]:
            return dict(self.values or {})

        def apply(self, todo: Any, current: Any, desired: Any) -> None:
            super().apply(todo, current, desired)
            raise Unavailable("it has not taken effect.")

    answer = run(Waiting({}), {"a": 1})
    assert (answer["result"], answer["comment"]) == (False, "it has not taken effect.")
    assert answer["changes"] == {"s.a": {"old": None, "new": 1}}


def test_before_the_installation_a_preview_of_nothing_says_so() -> None:
    answer = run(Store(None), {"a": None}, test=True)
    assert (answer["result"], answer["changes"]) == (True, {})
    said = "s is as declared. Previewed against an empty host: the store is not installed."
    assert answer["comment"] == said


def test_conflicts_are_planned_again_with_a_bound() -> None:
    assert run(Store({}, conflicts=ATTEMPTS - 1), {"a": 1})["result"] is True
    answer = run(Store({}, conflicts=ATTEMPTS), {"a": 1})
    assert (answer["result"], answer["comment"]) == (False, "somebody else wrote.")


def test_a_part_that_is_still_due_does_not_hide_the_whole_that_was_made() -> None:
    class Slow(Store):
        def apply(self, todo: Any, current: Any, desired: Any) -> None:
            assert self.values is not None
            self.values["g"] = {"ready": False}

    def staged(current: dict[str, Any], desired: dict[str, Any]) -> tuple[Change, ...]:
        if "g" not in current:
            return (Change(("s", "g"), None, {"ready": True}),)
        return () if current["g"]["ready"] else (Change(("s", "g", "ready"), False, True),)

    answer = converge("s", {}, declare=dict, wire=lambda _: Slow({}), plan=staged)
    assert answer["result"] is False
    assert list(answer["changes"]) == ["s.g"]
    assert "s.g.ready is False, declared True" in answer["comment"]


def test_a_whole_that_is_still_to_go_does_not_hide_the_parts_that_went() -> None:
    def removal(current: dict[str, Any], desired: dict[str, Any]) -> tuple[Change, ...]:
        parts = tuple(Change(("s", "g", key), value, None, "data loss") for key, value in current.items())
        return (*parts, Change(("s", "g"), {}, None))

    class Emptied(Store):
        def apply(self, todo: Any, current: Any, desired: Any) -> None:
            assert self.values is not None
            self.values.pop("disk")
            raise Refused("no.")

    answer = converge("s", {}, declare=dict, wire=lambda _: Emptied({"disk": 1}), plan=removal)
    assert (answer["result"], answer["comment"]) == (False, "no.")
    assert list(answer["changes"]) == ["s.g.disk"]

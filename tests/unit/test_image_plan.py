"""Properties of the planner of images; its cases are data (``cases/image/plan``)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from corral.change import Change
from corral.image.model import Base, Held, Image, NoImage, Spare, declare
from corral.image.plan import plan
from tests.support.images import BASE

TDL = {"os": "Fedora", "version": 23, "arch": "x86_64", "install": {"url": "http://install.example/"}}
sums = st.sampled_from(["a" * 64, "b" * 64])
formats = st.sampled_from(["qcow2", "raw"])
superseded = st.sampled_from(["keep", "delete"])

images = st.one_of(
    st.builds(
        lambda version, kind, old: declare(
            "web", {"source": "oz", "tdl": {**TDL, "version": version}, "format": kind, "superseded": old}
        ),
        st.integers(20, 22),
        formats,
        superseded,
    ),
    st.builds(
        lambda sha256, kind, old: declare(
            "web", {"source": "url", "url": "http://h/a", "sha256": sha256, "format": kind, "superseded": old}
        ),
        sums,
        formats,
        superseded,
    ),
    st.builds(lambda kind: declare("web", {"source": "file", "path": "/a", "format": kind}), formats),
)


def made(desired: Image, offer: str | None) -> Base:
    """The base that a run makes of a declaration."""
    known = {"sha256": "c" * 64, **desired.identity(), "file": offer}
    return Base(**{**BASE, "source": desired.source, **known})


def carry_out(held: Held, desired: Image | NoImage, todo: tuple[Change, ...]) -> Held:
    """What a store holds after a plan, by the changes alone."""
    for change in todo:
        part = change.path[1:2]
        if not part:
            base = None if change.removes or isinstance(desired, NoImage) else made(desired, held.offer)
            held = replace(held, base=base, condition="intact")
        elif part == ("unfinished",):
            held = replace(held, unfinished=tuple(p for p in held.unfinished if p != change.path[2]))
        elif part == ("superseded",):
            held = replace(held, spares=tuple(s for s in held.spares if s.path != change.path[2]))
        elif part == ("secrets",):
            held = replace(held, same_secrets=True)
        elif part == ("base",):
            held = replace(held, condition="intact")
        else:
            assert held.base is not None
            held = replace(held, base=replace(held.base, **{part[0]: change.new}))
    return held


@st.composite
def stores(draw: st.DrawFn) -> dict[str, Any]:
    before = draw(st.none() | images)
    names = st.sampled_from(["/srv/web-b.qcow2", "/srv/web-c.qcow2", "/srv/web-d.qcow2"])
    return {
        "base": None if before is None else made(before, draw(st.sampled_from([None, "/a, 1 byte"]))),
        "condition": "intact" if before is None else draw(st.sampled_from(["intact", "touched", "missing"])),
        "same_secrets": before is None or draw(st.booleans()),
        "spares": tuple(Spare(path, draw(st.booleans())) for path in draw(st.lists(names, unique=True))),
        "unfinished": tuple(draw(st.lists(st.sampled_from(["/x", "/y"]), unique=True))),
    }


@given(stores(), images, st.sampled_from([None, "/a, 1 byte", "/a, 2 bytes"]), st.booleans())
def test_a_plan_carried_out_leaves_nothing_to_plan(
    store: dict[str, Any], desired: Image, offer: Any, same: bool
) -> None:
    held = Held(**store, offer=offer if desired.source == "file" else None)
    copied = held.base is not None and held.base.file is not None and held.offer is not None
    held = replace(held, same_content=same and copied)
    assert plan(carry_out(held, desired, plan(held, desired)), desired) == ()


@given(stores())
def test_absent_is_reached_and_stays(store: dict[str, Any]) -> None:
    gone = NoImage(name="web")
    held = carry_out(Held(**store), gone, plan(Held(**store), gone))
    assert held.base is None
    assert plan(held, gone) == ()


@given(stores(), images)
@example(
    {"base": None, "spares": (Spare("/srv/web-b.qcow2", used=False),), "unfinished": ("/x",)},
    declare("web", {"source": "url", "url": "http://h/a", "sha256": "a" * 64, "superseded": "delete"}),
)
def test_what_loses_data_comes_last(store: dict[str, Any], desired: Image) -> None:
    takes = [bool(change.takes) for change in plan(Held(**store), desired)]
    assert takes == sorted(takes)


@given(stores(), images)
def test_remains_go_first(store: dict[str, Any], desired: Image) -> None:
    swept = [change.path[1:2] == ("unfinished",) for change in plan(Held(**store), desired)]
    assert swept == sorted(swept, reverse=True)

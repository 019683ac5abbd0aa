"""Links as text for what brings them up at boot: ``cases/link/render/<case>.yaml``, the texts beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corral.link.keeper import HEAD, Files, Keeper
from corral.link.model import Device, Held, Host
from corral.link.plan import plan
from corral.link.render import files, without
from corral.link.route import BY_KERNEL, OURS, HeldRoute
from tests.support import subnets

CASES = Path(__file__).parent / "cases" / "link" / "render"
MANAGERS = ("networkd", "ifupdown", "networkmanager", "ifcfg")
DECLARED: dict[str, Any] = {
    "name": "br0",
    "addresses": ["10.7.0.1/24", "fd07::1/64"],
    "gateway": "10.7.0.254",
    "routes": [{"to": "10.8.0.0/16", "via": "10.7.0.253", "metric": 5}],
}
declarations = st.fixed_dictionaries(
    {"name": st.just("br0")},
    optional={
        "addresses": st.lists(st.sampled_from(["10.7.0.1/24", "10.8.0.1/16", "fd07::1/64"]), unique=True),
        "mtu": st.sampled_from([1400, 9000]),
        "gateway": st.sampled_from(["10.7.0.254", "fd07::fe", None]),
        "routes": st.lists(
            st.sampled_from([{"to": "10.9.0.0/16"}, {"to": "fd09::/64", "via": "fe80::1", "metric": 7}]),
            unique_by=str,
        ),
    },
)


@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda file: file.stem)
def test_golden_texts(file: Path) -> None:
    case = yaml.safe_load(file.read_text())
    link = subnets.link(case["desired"])
    rendered = {path: text for one in case["keepers"] for path, text in files(link, Keeper(**one)).items()}
    golden = {f"{file.stem}{path.replace('/', '~')}": text for path, text in rendered.items()}
    there = {one.name: one.read_text() for one in CASES.glob(f"{file.stem}~*")}
    assert there == golden


@given(declarations, st.sampled_from(MANAGERS))
def test_what_is_kept_as_declared_is_left_alone(data: dict[str, Any], manager: str) -> None:
    link = subnets.link({**data, "persist": manager})
    keeper = Keeper(manager)
    there = Files(keeper, files(link, keeper))
    assert all(text.startswith(HEAD) for text in there.texts.values())
    assert [change for change in plan(Host({}, there), link) if "persist" in change.path] == []
    assert there.declared["addresses"] == list(link.addresses)
    gone = subnets.link({"name": "br0", "persist": None})
    assert {change.path[2] for change in plan(Host({}, Files(None, there.texts)), gone)} == set(there.texts)


@pytest.mark.parametrize("manager", MANAGERS)
def test_what_our_files_declare_is_ours(manager: str) -> None:
    """Whoever brings it up at boot sets no mark, or one of its own."""
    keeper = Keeper(manager)
    there = Files(keeper, files(subnets.link(DECLARED), keeper))
    brought_up = Device(
        addresses=tuple(Held(one, ours=False) for one in (*DECLARED["addresses"], "10.9.0.1/24")),
        routes=(
            HeldRoute("10.7.0.0/24", maker=BY_KERNEL),
            HeldRoute("0.0.0.0/0", "10.7.0.254", maker=4),
            HeldRoute("10.8.0.0/16", "10.7.0.253", 5, maker=4),
            HeldRoute("10.8.0.0/16", "10.7.0.9", 6, maker=4),
        ),
        up=True,
    )
    host = Host({None: {"br0": brought_up}}, there)
    marked = host.device(subnets.link(DECLARED))
    assert [held.ours for held in marked.addresses] == [True, True, False]
    assert [route.maker for route in marked.routes] == [BY_KERNEL, OURS, OURS, 4]
    less = subnets.link({"name": "br0", "addresses": [], "gateway": None, "routes": []})
    assert {change.path[1:] for change in plan(host, less)} == {
        ("gateway",),
        ("routes", "10.8.0.0/16 metric 5"),
        ("addresses", "10.7.0.1/24"),
        ("addresses", "fd07::1/64"),
    }


def test_a_head_that_somebody_has_been_at() -> None:
    assert Files(texts={"x": f"{HEAD}\n# It declares: {{\n"}).declared == {"addresses": [], "routes": []}


def test_nobody_who_could_keep_it_is_something_to_do() -> None:
    """What is missing is told where there is something to do: it must not pass for done."""
    link = subnets.link({"name": "br0", "persist": "auto"})
    (change,) = plan(Host({None: {"br0": Device()}}, Files(troubles=("nobody",))), link)
    assert (change.path, change.new) == (("br0", "persist"), "auto")


def test_a_stanza_of_somebody_else_is_taken_out() -> None:
    before, after = ((CASES.parent / "interfaces" / name).read_text() for name in ("before", "after"))
    assert without(before, ["eth0"]) == after
    assert without(after, ["eth0"]) == after
    assert without(before, []) == before

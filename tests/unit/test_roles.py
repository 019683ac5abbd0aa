"""The roles of ``salt/``, rendered by Salt itself: what each makes of its section of the pillar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.support.salt_here import REPO, caller

EXAMPLES = [yaml.safe_load((REPO / f"pillar/{name}.sls").read_text())["corral"] for name in ("s0", "s3")]
CORRAL = EXAMPLES[0] | {"overlay": {"host": "hv1"} | EXAMPLES[1]["overlay"]}
ROLES = {  # role: its section of the pillar, and the states it makes of the example
    "hypervisor": ("hypervisor", ["pkg.installed", "pip.installed", "service.running"]),
    "switch": ("switch", ["ovs.switch_managed"]),
    "links": ("links", ["link.managed"]),
    "overlay": ("overlay", ["ovs.overlay_managed", "link.managed", "dhcp.subnet_managed"]),
    "firewall": ("firewall", ["sysctl.present", "cmd.run"]),
    "dhcp": ("dhcp", ["dhcp.subnet_managed"]),
    "images": ("images", ["image.present"]),
    "guests": ("pools", ["guest_pool.running"]),
}
WHOLE = ("hypervisor", "firewall")  # they make their states from nothing, too
UNKNOWN = "hypervisor.packages: is required, since the packages of the family Suse are not known"
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def minion(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return caller(tmp_path_factory.mktemp("salt"))


@pytest.fixture
def render(minion: Any, monkeypatch: pytest.MonkeyPatch) -> Render:
    """Return the states of a role: ``render("dhcp", {"dhcp": …}, family="RedHat")``."""

    def low(role: str, corral: Any, family: str = "Debian") -> list[dict[str, Any]]:
        monkeypatch.setitem(minion.opts["grains"], "os_family", family)
        states = minion.cmd("state.show_low_sls", role, pillar={"corral": corral})
        assert all(isinstance(state, dict) for state in states), states
        return list(states)

    return low


def functions(states: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(f"{state['state']}.{state['fun']}" for state in states))


def test_there_is_a_test_for_every_role() -> None:
    assert {path.parent.name for path in REPO.glob("salt/*/init.sls")} == ROLES.keys()


@pytest.mark.parametrize("family", ["Debian", "RedHat", "Suse"])
@pytest.mark.parametrize("role", ROLES)
def test_the_example_renders_on_every_family(render: Render, role: str, family: str) -> None:
    unknown = role == "hypervisor" and family == "Suse"
    wanted = ["test.fail_without_changes"] if unknown else ROLES[role][1]
    assert functions(render(role, CORRAL, family)) == wanted


@pytest.mark.parametrize("corral", [None, {}, "null", "empty"], ids=["no-pillar", "missing", "null", "empty"])
@pytest.mark.parametrize("role", ROLES)
def test_a_section_without_content_declares_nothing(render: Render, role: str, corral: Any) -> None:
    section, states = ROLES[role]
    if isinstance(corral, str):
        corral = {section: None if corral == "null" else {}}
    assert functions(render(role, corral)) == (states if role in WHOLE else [])


@pytest.mark.parametrize(
    ("role", "wanted"),
    [
        ("links", []),  # no state can take a link away
        ("dhcp", ["dhcp.subnet_absent"]),
        ("images", ["image.absent"]),
        ("guests", ["guest_pool.absent"]),
    ],
)
def test_null_is_absent_where_there_is_such_a_state(render: Render, role: str, wanted: list[str]) -> None:
    assert functions(render(role, {ROLES[role][0]: {"eth5": None}})) == wanted


@pytest.mark.parametrize("role", ["links", "dhcp", "images", "guests"])
def test_every_key_of_an_entry_reaches_its_state(render: Render, role: str) -> None:
    entries = CORRAL[ROLES[role][0]]
    states = render(role, CORRAL)
    assert {state["name"]: {key: state.get(key) for key in entries[state["name"]]} for state in states} == (
        entries
    )


def test_every_key_of_the_switch_reaches_its_state(render: Render) -> None:
    switch = {"bridges": {"br0": {"ports": {"p0": {"tag": 5}}}}, "ports": {"p1": None}, "timeout": 20}
    (state,) = render("switch", {"switch": switch})
    assert {key: state.get(key) for key in switch} == switch


def test_a_wrong_key_of_the_switch_fails_with_its_path(minion: Any) -> None:
    answer = minion.cmd("state.sls", "switch", pillar={"corral": {"switch": {"bridge": {"br0": {}}}}})
    (state,) = answer.values()
    assert (state["result"], state["comment"]) == (False, "bridge: unknown key")


@pytest.mark.parametrize("test", [False, True])
def test_the_packages_of_an_unknown_family_are_asked_for(
    minion: Any, monkeypatch: pytest.MonkeyPatch, test: bool
) -> None:
    monkeypatch.setitem(minion.opts["grains"], "os_family", "Suse")
    (state,) = minion.cmd("state.sls", "hypervisor", test=test, pillar={"corral": {}}).values()
    assert (state["result"], state["name"]) == (False, UNKNOWN)
    assert test or state["comment"] == UNKNOWN


@pytest.mark.parametrize("family", ["RedHat", "Suse"])
def test_the_pillar_names_packages_and_services(render: Render, family: str) -> None:
    declared = {"packages": ["openvswitch3"], "build": [], "services": ["openvswitch"]}
    states = render("hypervisor", {"hypervisor": declared}, family)
    assert [state.get("pkgs", state["name"]) for state in states if state["state"] != "pip"] == [
        ["openvswitch3"],
        "openvswitch",
    ]


@pytest.mark.parametrize(("family", "headers"), [("Debian", "python3-dev"), ("RedHat", "python3-devel")])
def test_the_libraries_can_be_had_in_any_python_of_salt(render: Render, family: str, headers: str) -> None:
    """Salt 3006 and 3007 bring no pydantic, and one that is not onedir brings no headers of Python."""
    packages, libraries, *_ = render("hypervisor", {}, family)
    assert headers in packages["pkgs"]
    assert {"pydantic>=2", "libvirt-python", "pyroute2.minimal", "asyncssh"} == set(libraries["pkgs"])

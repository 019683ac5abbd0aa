"""The pillar examples: every part is a valid declaration, and in the demo's variant too."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jinja2 import Template

from corral.dhcp.model import Subnet
from corral.image import model as image
from corral.link.model import Link
from corral.ovs.model import Switch
from corral.pool import model as pool
from tests.support.salt_here import REPO

GRAINS = {"corral_lab": {"guests": 3, "install_url": "http://192.0.2.1/fedora/23/os/"}}


def rendered(name: str) -> dict[str, Any]:
    text = Template((REPO / "pillar" / name).read_text()).render(grains=GRAINS)
    return dict(yaml.safe_load(text)["corral"])


def merged(below: Any, above: Any) -> Any:
    """Merge as Salt does by default: mappings key by key, all else replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        keys = dict.fromkeys([*below, *above])
        return {key: merged(below.get(key, above.get(key)), above.get(key, below.get(key))) for key in keys}
    return above


@pytest.fixture(params=["s0.sls", "lab.sls"])
def pillar(request: pytest.FixtureRequest) -> dict[str, Any]:
    s0 = rendered("s0.sls")
    return s0 if request.param == "s0.sls" else merged(s0, rendered("lab.sls"))


def test_every_part_is_a_valid_declaration(pillar: dict[str, Any]) -> None:
    Switch.declare(pillar["switch"])
    for name, link in pillar["links"].items():
        Link.declare({"name": name, **link}, f"links.{name}")
    for name, subnet in pillar["dhcp"].items():
        Subnet.declare({"name": name, **subnet}, f"dhcp.{name}")
    for name, one in pillar["images"].items():
        image.declare(name, one)
    for name, one in pillar["pools"].items():
        declared = pool.declare("hypervisor", name, one)
        assert declared.pool.image in pillar["images"]


def test_every_role_has_a_folder(pillar: dict[str, Any]) -> None:
    for role in pillar["roles"]:
        assert (REPO / "salt" / role / "init.sls").is_file()
        assert f"'corral:roles:{role}'" in (REPO / "salt/top.sls").read_text()

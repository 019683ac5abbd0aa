"""The pillar examples, and those of README and docs: every part is a valid declaration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from jinja2 import Template

from corral.dhcp.model import Subnet
from corral.guard import way
from corral.guest.model import Wanted
from corral.image import model as image
from corral.link.model import Link
from corral.overlay.model import Overlay
from corral.ovs import compat
from corral.ovs.model import Switch
from corral.pool import model as pool
from corral.uplink.model import Uplink
from tests.support.pages import snippets
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


def declare(corral: dict[str, Any]) -> None:
    """Declare every part, as the roles do; what is null is not declared, but absent."""
    Switch.declare(guarded(corral.get("switch", {})))
    if "overlay" in corral:
        Overlay.declare({"host": next(iter(corral["overlay"]["peers"])), **corral["overlay"]})
    for name, link in there(corral, "links"):
        Link.declare({"name": name, **guarded(link)}, f"links.{name}")
    for name, subnet in there(corral, "dhcp"):
        Subnet.declare({"name": name, **subnet}, f"dhcp.{name}")
    for name, one in there(corral, "images"):
        image.declare(name, one)
    for name, one in there(corral, "pools"):
        pool.declare("hypervisor", name, one)


def guarded(declared: dict[str, Any]) -> dict[str, Any]:
    """Return a declaration without its guard, which is declared on its own."""
    way("a state", declared.get("guard"), {})
    return {key: value for key, value in declared.items() if key != "guard"}


def there(corral: dict[str, Any], section: str) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in corral.get(section, {}).items() if one is not None]


@pytest.fixture(params=["s0.sls", "lab.sls", "README"])
def pillar(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A whole example: it has all that its pools need."""
    if request.param == "README":
        (data,) = (data for data in snippets(REPO / "README.rst") if "corral" in data)
        return dict(data["corral"])
    s0 = rendered("s0.sls")
    return s0 if request.param == "s0.sls" else merged(s0, rendered("lab.sls"))


def test_every_part_is_a_valid_declaration(pillar: dict[str, Any]) -> None:
    declare(pillar)


def test_an_example_is_whole(pillar: dict[str, Any]) -> None:
    sections = {"pools" if role == "guests" else role for role in pillar["roles"]}
    assert sections - {"hypervisor"} <= pillar.keys()
    for one in pillar["pools"].values():
        assert one["image"] in pillar["images"]
        assert {network["subnet"] for network in one["networks"]} <= pillar["dhcp"].keys()


def test_every_role_has_a_folder(pillar: dict[str, Any]) -> None:
    for role in pillar["roles"]:
        assert (REPO / "salt" / role / "init.sls").is_file()
        assert f"'corral:roles:{role}'" in (REPO / "salt/top.sls").read_text()


def _old_port(name: str, fields: dict[str, Any]) -> object:
    fields.pop("require")
    given = dict.fromkeys(("tunnel_type", "id", "remote", "dst_port")) | {"internal": False, **fields}
    return compat.port(name, **given)


STATES: dict[str, Callable[[str, Any], object]] = {
    "guest.running": lambda name, fields: Wanted.running(name, fields, owner="hypervisor"),
    "ovs.uplink_managed": Uplink.declare,
    "openvswitch_bridge.present": lambda name, fields: compat.bridge(name, **fields),
    "openvswitch_port.present": _old_port,
    "ovs.port_present": lambda name, fields: Switch.declare(
        {"bridges": {fields.pop("bridge"): {"ports": {name: fields}}}}
    ),
}


@pytest.mark.parametrize("page", sorted(path.name for path in (REPO / "docs").glob("*.rst")))
def test_the_example_of_a_page_is_a_valid_declaration(page: str) -> None:
    """Pillar is declared as the roles do; a state as Salt does."""
    for data in snippets(REPO / "docs" / page):
        declare(data.pop("corral", {}))
        for function in data.pop("mine_functions", {}):  # of the minion's configuration
            assert f"def {function.partition('.')[2]}(" in (REPO / "_modules/ovs.py").read_text()
        for name, body in data.items():
            ((function, arguments),) = body.items()
            fields = {key: value for argument in arguments for key, value in argument.items()}
            assert function in STATES, f"{name}: say here how {function} is declared"
            STATES[function](name, fields)


def test_there_is_a_page_for_each_product_and_for_the_roles() -> None:
    pages = {path.stem for path in (REPO / "docs").glob("*.rst")}
    products = {path.parent.name for path in REPO.glob("_utils/corral/*/model.py")}
    assert pages == products | {"semantics", "roles", "ovs_status", "topology", "compat"}
    assert all(snippets(REPO / "docs" / f"{page}.rst") for page in products)

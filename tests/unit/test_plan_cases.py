"""The planners against cases that are data: ``cases/<product>/plan/<case>.yaml``.

A case holds ``current`` and ``desired``, and either the ``changes`` that the plan must show or the
``error`` it must raise; other keys are the product's own. A product takes part by a row in ``PRODUCTS``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from corral.change import changes
from corral.converge import Todo
from corral.errors import Error

CASES = Path(__file__).parent / "cases"


def _ovs(case: dict[str, Any]) -> Todo:
    from corral.ovs.model import Switch
    from corral.ovs.plan import plan
    from tests.support import switches

    how = {key: case[key] for key in ("exact", "within") if key in case}
    current = switches.host(case["current"], case.get("owners", {}))
    return plan(current, Switch.declare(case["desired"]), **how)


def _guest(case: dict[str, Any]) -> Todo:
    from corral.guest.plan import plan
    from tests.support import guests

    return plan(guests.host(case["current"]), guests.wanted(case["desired"]))


def _pool(case: dict[str, Any]) -> Todo:
    from corral.pool.plan import plan
    from tests.support import pools

    return plan(pools.current(case["current"] or {}), pools.desired(case["desired"]))


def _image(case: dict[str, Any]) -> Todo:
    from corral.image.plan import plan
    from tests.support import images

    return plan(images.held(case["current"]), images.wanted(case["desired"]))


def _dhcp(case: dict[str, Any]) -> Todo:
    from corral.dhcp.plan import plan
    from tests.support import subnets

    return plan(subnets.current("vmworld", case["current"]), subnets.desired("vmworld", case["desired"]))


def _link(case: dict[str, Any]) -> Todo:
    from corral.link.plan import plan
    from tests.support import subnets

    current = subnets.host(case["current"], case.get("namespaces", {}))
    return plan(current, subnets.link(case["desired"]))


def _overlay(case: dict[str, Any]) -> Todo:
    from corral.overlay.model import Overlay
    from corral.overlay.plan import Current, plan
    from tests.support import switches

    current = switches.host(case["current"], case.get("owners", {}))
    return plan(Current(current), Overlay.declare(case["desired"]))


PRODUCTS: dict[str, Callable[[dict[str, Any]], Todo]] = {
    "ovs": _ovs,
    "overlay": _overlay,
    "dhcp": _dhcp,
    "link": _link,
    "guest": _guest,
    "pool": _pool,
    "image": _image,
}


def _files() -> list[Any]:
    return [
        pytest.param(product, file, id=f"{product}-{file.stem}")
        for product in PRODUCTS
        for file in sorted((CASES / product / "plan").glob("*.yaml"))
    ]


@pytest.mark.parametrize(("product", "file"), _files())
def test_plan(product: str, file: Path) -> None:
    case = yaml.safe_load(file.read_text(encoding="utf-8"))
    if "error" in case:
        with pytest.raises(Error) as raised:
            PRODUCTS[product](case)
        assert str(raised.value) == case["error"]
    else:
        assert changes(PRODUCTS[product](case)) == case["changes"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_product_has_cases(product: str) -> None:
    assert list((CASES / product / "plan").glob("*.yaml"))

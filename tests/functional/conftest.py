"""Fixtures of the functional tests, which run inside a throw-away hypervisor (``bin/test`` enters one)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import ovs, salt_here
from tests.support.guest_rig import (  # noqa: F401  (fixtures)
    altered,
    guest_bridges,
    guest_disk,
    guest_fields,
    guest_images,
)
from tests.support.image_files import image, images, place  # noqa: F401  (fixtures)
from tests.support.ovs_parts import parts  # noqa: F401  (fixtures)
from tests.support.pool_rig import (  # noqa: F401  (fixtures)
    pool_bridge,
    pool_host,
    pool_image,
    pool_subnet,
    pools,
)


def pytest_configure() -> None:
    if "CORRAL_LAB_HOST" not in os.environ:
        raise pytest.UsageError("Functional tests change the host they run on: start them by bin/test.")


@pytest.fixture(scope="session")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Salt on this host: ``salt.cmd("ovs.show")``."""
    return salt_here.caller(tmp_path_factory.mktemp("salt"))


@pytest.fixture
def state(salt: Any) -> Callable[..., dict[str, Any]]:
    """Run one state: ``state("ovs.bridge_present", "br1", test=True, …)`` → its return."""

    def run(function: str, name: str, test: bool = False, **arguments: Any) -> dict[str, Any]:
        answer = salt.cmd("state.single", function, name, test=test, **arguments)
        assert isinstance(answer, dict), answer
        (only,) = answer.values()
        return dict(only)

    return run


@pytest.fixture
def four_ways(state: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Take a state through the four ways that every state must pass.

    function, name, arguments
        The state.
    look
        Returns all that the state could move, read past Corral; compared by ``==``.
    disturb
        Alters one value behind our back.
    drift
        The exact ``changes`` that the state must then show.

    Returns the ``changes`` of the first run.
    """

    def check(
        function: str,
        name: str,
        *,
        look: Callable[[], Any],
        disturb: Callable[[], object],
        drift: dict[str, Any],
        **arguments: Any,
    ) -> dict[str, Any]:
        before = look()
        preview = state(function, name, test=True, **arguments)
        assert preview["result"] is None, preview
        assert preview["changes"], preview
        assert look() == before, "test=True moved something"

        run = state(function, name, **arguments)
        assert run["result"] is True, run
        assert run["changes"] == preview["changes"]

        settled = look()
        again = state(function, name, **arguments)
        assert (again["result"], again["changes"]) == (True, {}), again
        assert look() == settled, "a second run wrote something"

        disturb()
        seen = state(function, name, test=True, **arguments)
        assert (seen["result"], seen["changes"]) == (None, drift), seen
        mended = state(function, name, **arguments)
        assert (mended["result"], mended["changes"]) == (True, drift), mended
        return dict(run["changes"])

    return check


@pytest.fixture
def repo() -> Path:
    return salt_here.REPO


@pytest.fixture
def switch() -> Iterator[ModuleType]:
    """Open vSwitch past Corral (``tests.support.ovs``), without our bridges before and after the test."""
    ovs.clean()
    yield ovs
    ovs.clean()

"""Managers and controllers over TLS: real peers, with certificates of ovs-pki(8)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.functional.test_ovs_bond import awaited
from tests.support.tls_peers import Keys, controller, manager

A = "brt-ovs-a"
MANAGER, CONTROLLER = 6640, 6653
AT_MANAGER, AT_CONTROLLER = f"ssl:127.0.0.1:{MANAGER}", f"ssl:127.0.0.1:{CONTROLLER}"
SOON = {"max_backoff": 1000}  # milliseconds between attempts to connect


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def declare(state: Any, switch: ModuleType) -> Iterator[Any]:
    """Declare the switch, and see that a second run has nothing to do."""

    def run(**declared: Any) -> None:
        answer = state("ovs.switch_managed", "switch", **declared)
        assert answer["result"] is True, answer
        assert state("ovs.switch_managed", "switch", **declared)["changes"] == {}

    yield run
    switch.vsctl("del-manager", "--", "del-ssl")


def the_manager(salt: Any) -> dict[str, Any]:
    (one,) = salt.cmd("ovs.controllers")["managers"]
    return dict(one)


def the_controller(salt: Any) -> dict[str, Any]:
    (one,) = salt.cmd("ovs.controllers")["controllers"][A]
    return dict(one)


def certificate(file: Path) -> bytes:
    text = file.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN") :])


def test_a_manager(declare: Any, keys: Keys, salt: Any) -> None:
    """S1.8: it is connected and follows the switch; once it has gone, that is told."""
    bridges = {A: {"datapath_type": "netdev"}}
    with manager(keys, "manager", MANAGER) as peer:
        declare(ssl=keys.ssl(), managers={AT_MANAGER: SOON}, bridges=bridges)
        found = awaited(lambda: the_manager(salt), lambda one: one["connected"])
        assert (found["target"], found["state"], found["healthy"]) == (AT_MANAGER, "ACTIVE", True)
        peer.heard(A)
        assert salt.cmd("ovs.controllers")["healthy"] is True
    gone = awaited(lambda: the_manager(salt), lambda one: not one["connected"])
    assert (gone["healthy"], gone["reason"].startswith(f"{AT_MANAGER} is not connected (")) == (False, True)
    assert salt.cmd("ovs.controllers")["reason"] == f"manager: {the_manager(salt)['reason']}"


def test_a_manager_with_a_wrong_certificate(declare: Any, keys: Keys, salt: Any) -> None:
    with manager(keys, "stranger", MANAGER) as peer:
        declare(ssl=keys.ssl(), managers={AT_MANAGER: SOON})
        peer.heard("alert unknown ca")  # it is the switch that refuses
        found = the_manager(salt)
        assert (found["connected"], found["healthy"]) == (False, False)
        assert found["reason"].startswith(f"{AT_MANAGER} is not connected (")


def test_a_controller(declare: Any, keys: Keys, salt: Any, switch: ModuleType) -> None:
    """S1.8: a controller over TLS makes the bridge a learning switch; once it has gone, that is told."""
    bridge = {"datapath_type": "netdev", "fail_mode": "secure", "controllers": {AT_CONTROLLER: SOON}}
    with controller(keys, "manager", CONTROLLER):
        declare(ssl=keys.ssl(), bridges={A: bridge})
        found = awaited(lambda: the_controller(salt), lambda one: one["connected"])
        assert (found["target"], found["state"], found["healthy"]) == (AT_CONTROLLER, "ACTIVE", True)
        awaited(
            lambda: {"flows": switch.run("ovs-ofctl", "dump-flows", A)}, lambda s: "CONTROLLER" in s["flows"]
        )
    gone = awaited(lambda: the_controller(salt), lambda one: not one["connected"])
    assert gone["reason"].startswith(f"{AT_CONTROLLER} is not connected (")


def test_a_controller_with_a_wrong_certificate(declare: Any, keys: Keys, salt: Any) -> None:
    bridge = {"datapath_type": "netdev", "controllers": {AT_CONTROLLER: SOON}}
    with controller(keys, "stranger", CONTROLLER) as peer:
        declare(ssl=keys.ssl(), bridges={A: bridge})
        peer.heard("alert unknown ca")
        found = awaited(lambda: the_controller(salt), lambda one: one["last_error"] is not None)
        assert (found["connected"], found["healthy"]) == (False, False)
        assert "Protocol error" in found["reason"]


@pytest.fixture
def others(tmp_path: Path) -> Keys:
    """Authorities of whom this ovs-vswitchd has never heard: it trusts for good whom it trusted once."""
    folder = tmp_path / "others"
    folder.mkdir()
    return Keys(folder)


def test_the_authority_is_learned_from_the_first_controller(
    declare: Any, others: Keys, salt: Any, tmp_path: Path
) -> None:
    """bootstrap_ca_cert: trusted is who comes first, whose authority is written down, and nobody else."""
    learned = tmp_path / "learned.pem"
    bridge = {"datapath_type": "netdev", "controllers": {AT_CONTROLLER: SOON}}
    with controller(others, "manager", CONTROLLER):
        declare(ssl={**others.ssl(learned), "bootstrap_ca_cert": True}, bridges={A: bridge})
        awaited(lambda: the_controller(salt), lambda one: one["connected"])
    assert certificate(learned) == certificate(others.authority("controller"))
    with controller(others, "stranger", CONTROLLER) as peer:
        peer.heard("alert unknown ca")
        awaited(lambda: the_controller(salt), lambda one: not one["connected"])


def test_without_bootstrap_nobody_is_trusted(declare: Any, others: Keys, salt: Any, tmp_path: Path) -> None:
    learned = tmp_path / "learned.pem"
    bridge = {"datapath_type": "netdev", "controllers": {AT_CONTROLLER: SOON}}
    with controller(others, "manager", CONTROLLER):
        declare(ssl=others.ssl(learned), bridges={A: bridge})
        found = awaited(lambda: the_controller(salt), lambda one: one["last_error"] is not None)
    assert (found["connected"], found["healthy"], learned.exists()) == (False, False, False)

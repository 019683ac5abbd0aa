"""A real Salt master and minion in a throw-away hypervisor (``bin/test`` enters one)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.salt_here import REPO

PILLAR = {
    "corral": {
        "roles": ["switch", "links", "dhcp"],
        "switch": {
            "bridges": {
                "brt-master": {
                    "datapath_type": "netdev",
                    "ports": {"mgmt0": {"type": "internal", "tag": 123}},
                    "bonds": {
                        "bond0": {
                            "members": ["eth1", "eth2"],
                            "mode": "balance-tcp",
                            "lacp": "active",
                            "lacp_time": "fast",
                        }
                    },
                }
            }
        },
        "links": {"brt-master": {"addresses": ["172.31.120.1/24"], "up": True}},
        "dhcp": {
            "integration": {
                "interface": "brt-master",
                "network": "172.31.120.0/24",
                "range": "172.31.120.100-172.31.120.120",
                "router": "172.31.120.1",
                "domain": "vmworld",
            }
        },
    }
}


def pytest_configure() -> None:
    if "CORRAL_LAB_HOST" not in os.environ:
        raise pytest.UsageError("Integration tests change the host they run on: start them by bin/test.")


@pytest.fixture(scope="session")
def salt_factories_config() -> dict[str, Any]:
    return {"code_dir": str(REPO), "inject_sitecustomize": False, "start_timeout": 120}


@pytest.fixture(scope="module")
def pillar_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pillar")
    (folder / "top.sls").write_text(yaml.safe_dump({"base": {"*": ["host"]}}))
    (folder / "host.sls").write_text(yaml.safe_dump(PILLAR))
    return folder


@pytest.fixture(scope="module")
def file_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``salt/``, as the README has a master serve it; made anew where the checkout holds no links.

    A checkout that knows no links has small files in their place, with the targets in them.
    """
    if (REPO / "salt/_modules").is_dir():
        return REPO / "salt"
    folder = tmp_path_factory.mktemp("salt")
    for path in (REPO / "salt").iterdir():
        target = path if path.is_dir() or path.suffix else path.parent / path.read_text()
        (folder / path.name).symlink_to(target.resolve())
    return folder


@pytest.fixture(scope="module")
def master(salt_factories: Any, pillar_tree: Path, file_root: Path) -> Iterator[Any]:
    factory = salt_factories.salt_master_daemon(
        "corral-master",
        overrides={
            "open_mode": True,
            "file_roots": {"base": [str(file_root)]},
            "pillar_roots": {"base": [str(pillar_tree)]},
        },
    )
    with factory.started(start_timeout=120):
        yield factory


@pytest.fixture(scope="module")
def minion(master: Any) -> Iterator[Any]:
    factory = master.salt_minion_daemon("corral-minion", overrides={"enable_fqdns_grains": False})
    with factory.started(start_timeout=120):
        yield factory


@pytest.fixture(scope="module")
def salt(master: Any, minion: Any) -> Any:
    """The ``salt`` command, aimed at the minion: ``salt("state.highstate")`` → its answer."""
    client = master.salt_cli(timeout=180)

    def call(function: str, *arguments: Any, **options: Any) -> Any:
        answer = client.run(function, *arguments, minion_tgt=minion.id, **options)
        assert answer.data is not None, answer
        return answer.data

    return call


@pytest.fixture
def salt_call(tmp_path: Path) -> Callable[..., Any]:
    """A masterless minion: ``salt_call("ovs.show", python=…, file_roots=…)`` → its answer.

    python
        A folder for Python's path, as if pip had installed it.
    within
        Words before the command, such as ``unshare``.
    options
        Options of the minion.
    """

    def call(*words: str, python: Path | None = None, within: tuple[str, ...] = (), **options: Any) -> Any:
        settings = {
            "id": "delivered",
            "file_client": "local",
            "root_dir": str(tmp_path),
            "pillar_roots": {"base": [str(tmp_path / "pillar")]},
            "enable_fqdns_grains": False,
            **options,
        }
        (tmp_path / "minion").write_text(yaml.safe_dump(settings))
        salt_call = str(Path(sys.executable).with_name("salt-call"))
        argv = [*within, salt_call, "--local", f"-c{tmp_path}", "--out=json", "--log-level=quiet", *words]
        done = subprocess.run(
            argv, capture_output=True, text=True, cwd=tmp_path, check=False,
            env={**os.environ, "PYTHONPATH": str(python or ""), "HOME": str(tmp_path)},
        )  # fmt: skip
        try:
            return json.loads(done.stdout)["local"]
        except (ValueError, KeyError):
            return f"{done.stdout}{done.stderr}"

    return call

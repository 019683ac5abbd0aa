"""The ways of delivery beside a master's file server: pip, and gitfs as the README configures it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.pages import snippets
from tests.support.salt_here import REPO

SERVED = ("salt", "_modules", "_states", "_utils")
PACKAGED = ("_modules", "_states", "_utils", "setup.py", "pyproject.toml", "README.rst")
LITTER = shutil.ignore_patterns("__pycache__")
BRIDGE = "brt-pip"
Call = Callable[..., Any]


def copy(names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, folder / name, symlinks=True, ignore=LITTER)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(REPO / name, folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package installed into a folder of its own, from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("pip")
    source, target = folder / "source", folder / "site"
    copy(PACKAGED, source)
    argv = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", f"--target={target}"]
    subprocess.run([sys.executable, *argv, str(source)], check=True)
    return target


def declare(folder: Path, bridge: Any) -> None:
    """Write the pillar of a host with one bridge."""
    corral = {"roles": ["switch"], "switch": {"bridges": {BRIDGE: bridge}}}
    folder.mkdir(exist_ok=True)
    (folder / "top.sls").write_text(yaml.safe_dump({"base": {"*": ["host"]}}))
    (folder / "host.sls").write_text(yaml.safe_dump({"corral": corral}))


def only(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, dict), answer
    (state,) = answer.values()
    return dict(state)


@pytest.fixture
def without_links(tmp_path: Path) -> dict[str, Any]:
    """The file roots of a master whose minions have the package by pip: ``salt/`` without its links."""
    shutil.copytree(REPO / "salt", tmp_path / "salt", symlinks=True, ignore=shutil.ignore_patterns("_*"))
    return {"base": [str(tmp_path / "salt")]}


def test_pip_brings_the_modules_and_a_master_the_roles(
    installed: Path, without_links: dict[str, Any], salt_call: Call, tmp_path: Path
) -> None:
    def call(*words: str) -> Any:
        return salt_call(*words, python=installed, file_roots=without_links)

    bridge = {"datapath_type": "netdev"}
    words = ("state.single", "ovs.switch_managed", "x", f"bridges={{{BRIDGE}: {{datapath_type: netdev}}}}")
    preview = only(call(*words, "test=True"))
    assert (preview["result"], preview["changes"][BRIDGE]["new"]) == (None, bridge)

    declare(tmp_path / "pillar", bridge)
    run = only(call("state.highstate"))
    assert (run["result"], run["changes"]) == (True, preview["changes"])
    assert only(call("state.highstate"))["changes"] == {}
    assert BRIDGE in call("ovs.show")["bridges"]
    declare(tmp_path / "pillar", None)
    assert only(call("state.highstate"))["result"] is True


def test_both_deliveries_at_once_are_refused(installed: Path, file_root: Path, salt_call: Call) -> None:
    roots = {"base": [str(file_root)]}
    assert "modules.ovs" in salt_call("saltutil.sync_all", file_roots=roots)["modules"]
    refused = salt_call("ovs.show", python=installed, file_roots=roots)
    assert "corral is on this minion twice" in str(refused), refused


def test_gitfs_as_in_the_readme(salt_call: Call, tmp_path: Path) -> None:
    upstream = tmp_path / "corral.git"
    copy(SERVED, upstream)
    commit = ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--message=x"]
    for words in (["init", "--quiet", "--initial-branch=main"], ["add", "--all"], commit):
        subprocess.run(["git", *words], cwd=upstream, check=True)

    (options,) = (data for data in snippets(REPO / "README.rst") if "gitfs_remotes" in data)
    options["gitfs_remotes"] = [
        {upstream.as_uri(): settings} for remote in options["gitfs_remotes"] for settings in remote.values()
    ]
    synced = salt_call("saltutil.sync_all", **options)
    assert "modules.ovs" in synced["modules"], synced
    assert "states.ovs" in synced["states"]
    assert "utils.corral.converge" in synced["utils"]
    declare(tmp_path / "pillar", {"datapath_type": "netdev"})
    preview = only(salt_call("state.highstate", "test=True", **options))
    assert (preview["result"], list(preview["changes"])) == (None, [BRIDGE])

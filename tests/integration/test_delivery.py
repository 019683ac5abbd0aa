"""Delivery by pip: a built package brings its own loader folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.salt_here import REPO


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package installed into a folder of its own, from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("pip")
    source, target = folder / "source", folder / "site"
    archive = subprocess.run(["git", "-C", str(REPO), "ls-files", "-z"], capture_output=True, check=True)
    for name in archive.stdout.decode().split("\0"):
        if name.split("/")[0] in {
            "_utils",
            "_modules",
            "_states",
            "setup.py",
            "pyproject.toml",
            "README.rst",
        }:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPO / name).read_bytes())
    argv = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", f"--target={target}"]
    subprocess.run([sys.executable, *argv, str(source)], check=True)
    return target


def test_the_loader_finds_an_installed_package(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "minion").write_text("file_client: local\nid: h\nenable_fqdns_grains: False\n")
    salt_call = Path(sys.executable).with_name("salt-call")
    argv = [salt_call, "--local", f"-c{tmp_path}", "--out=json", "--log-level=quiet", "ovs.show"]
    done = subprocess.run(
        argv, capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "bridges" in json.loads(done.stdout)["local"], done

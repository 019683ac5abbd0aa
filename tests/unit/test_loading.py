"""Every loader file loads in Salt's real loader, and what a minion sends about it can be sent."""

from __future__ import annotations

import ast
import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import salt.loader

from tests.support import salt_here


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    opts = salt_here.caller(tmp_path_factory.mktemp("salt")).opts
    modules = salt.loader.minion_mods(opts)
    states = salt.loader.states(opts, modules, salt.loader.utils(opts), None)
    return {"_modules": modules, "_states": states}


def virtual(path: Path) -> str:
    """Return the name under which a loader file is loaded."""
    stated = re.search(r'^__virtualname__ = "(.+)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    return stated[1] if stated else path.stem


def public(path: Path) -> list[str]:
    return [
        f"{virtual(path)}.{node.name.rstrip('_')}"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize("kind", ["_modules", "_states"])
def test_functions_are_found_under_their_names(loaders: dict[str, Any], kind: str) -> None:
    wanted = {f for path in (salt_here.REPO / kind).glob("*.py") for f in public(path)}
    assert wanted
    for function in wanted:
        assert function in loaders[kind], loaders[kind].missing_fun_string(function)


def test_what_a_minion_sends_about_functions_can_be_pickled(loaders: dict[str, Any]) -> None:
    stems = [path.stem for path in (salt_here.REPO / "_modules").glob("*.py")]
    specs = loaders["_modules"]["sys.argspec"](stems[0] + ".*") if stems else {}
    assert specs
    assert pickle.loads(pickle.dumps(specs)) == specs


# Runs in a Python of its own, where pydantic cannot be imported.
LOADED = """
import json, runpy, sys
sys.modules["pydantic"] = None
print(json.dumps({file: runpy.run_path(file)["__virtual__"]() for file in sys.argv[1:]}))
"""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "No module named 'corral' (run saltutil.sync_all)"),
        (str(salt_here.REPO / "_utils"), "import of pydantic halted; None in sys.modules"),
    ],
    ids=["corral", "pydantic"],
)
def test_a_minion_without_what_they_need_is_told_what_it_is(path: str, why: str) -> None:
    files = [str(path) for kind in ("_modules", "_states") for path in (salt_here.REPO / kind).glob("*.py")]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *files],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        file: [False, f"{virtual(Path(file))} cannot be used: {why}"] for file in files
    }

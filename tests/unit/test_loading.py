"""Every loader file loads in Salt's real loader, and what a minion sends about it can be sent."""

from __future__ import annotations

import ast
import pickle
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


def public(path: Path) -> list[str]:
    return [
        f"{path.stem}.{node.name.rstrip('_')}"
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize("kind", ["_modules", "_states"])
def test_functions_are_found_under_their_file_names(loaders: dict[str, Any], kind: str) -> None:
    wanted = {f for path in (salt_here.REPO / kind).glob("*.py") for f in public(path)}
    assert wanted
    for function in wanted:
        assert function in loaders[kind], loaders[kind].missing_fun_string(function)


def test_what_a_minion_sends_about_functions_can_be_pickled(loaders: dict[str, Any]) -> None:
    stems = [path.stem for path in (salt_here.REPO / "_modules").glob("*.py")]
    specs = loaders["_modules"]["sys.argspec"](stems[0] + ".*") if stems else {}
    assert specs
    assert pickle.loads(pickle.dumps(specs)) == specs

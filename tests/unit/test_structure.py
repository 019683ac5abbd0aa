"""The rules of the tree that can be read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
UTILS = REPO / "_utils" / "corral"
PRODUCTS = {"ovs", "overlay", "topology", "diagnose", "guest", "pool", "image", "dhcp", "link", "uplink"}
GUARD = UTILS / "guard"  # no product, and all of it but the model talks to the kernel
# Who imports others. Topology shows how things hang together that are the others': switches, guests, leases;
# diagnose walks from a guest to its DHCP server, through all of them.
COMPOSES = {
    "pool": {"guest", "image", "dhcp"},
    "overlay": {"ovs"},
    "uplink": {"ovs", "link"},
    "topology": {"ovs", "guest", "dhcp"},
    "diagnose": {"ovs", "dhcp", "topology"},
}
OUTSIDE = {"libvirt", "pyroute2", "subprocess", "socket", "asyncssh"}  # what leaves the process
PURE = {
    *("model.py", "plan.py", "render.py", "status.py", "identity.py"),
    *("tunnels.py", "forwarding.py", "controllers.py", "trace.py", "chain.py", "frames.py", "facts.py"),
    *("attach.py", "target.py"),
    *("structure.py", "view.py", "layout.py", "sheet.py", "svg.py", "html.py", "mermaid.py"),
    *("fleet.py", "graph.py", "walk.py", "path.py", "ends.py"),
}
SOURCES = sorted(UTILS.rglob("*.py"))
MODULES = sorted((REPO / "_modules").glob("*.py"))
STATES = sorted((REPO / "_states").glob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name(path: Path) -> str:
    return str(path.relative_to(REPO))


def product_of(path: Path) -> str | None:
    first = path.relative_to(UTILS).parts[0]
    return first if first in PRODUCTS else None


def public_functions(path: Path) -> list[ast.FunctionDef]:
    body = ast.parse(path.read_text()).body
    return [node for node in body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_the_error_translator_imports_salt(path: Path) -> None:
    if path != UTILS / "errors.py":
        assert "salt" not in {i.split(".")[0] for i in imports(path)}


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_products_stand_alone(path: Path) -> None:
    own = product_of(path)
    seen = {i.split(".")[1] for i in imports(path) if i.startswith("corral.")} & PRODUCTS
    allowed = {own} | COMPOSES.get(own or "", set())
    assert seen <= allowed, f"{name(path)} imports {seen - allowed}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_pure_files_do_not_leave_the_process(path: Path) -> None:
    if path.name in PURE or (product_of(path) is None and GUARD not in path.parents):
        assert not {i.split(".")[0] for i in imports(path)} & OUTSIDE
        assert not [i for i in imports(path) if i.endswith(".wire")]


@pytest.mark.parametrize("path", [*MODULES, *STATES], ids=name)
def test_loader_functions_are_thin(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            statements = [s for s in ast.walk(node) if isinstance(s, ast.stmt)]
            assert len(statements) - 2 <= 12, f"{node.name} has {len(statements) - 2} statements"


@pytest.mark.parametrize("path", [*MODULES, *STATES], ids=name)
def test_loader_files_do_not_know_of_test_mode(path: Path) -> None:
    text = path.read_text()
    for word in ('__opts__["test"]', "__opts__['test']", 'get("test")', "pillar.get"):
        assert word not in text


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_public_function_has_an_example(path: Path) -> None:
    for node in public_functions(path):
        assert "CLI Example" in (ast.get_docstring(node) or ""), node.name


@pytest.mark.parametrize("path", STATES, ids=name)
def test_every_state_is_documented_with_a_declaration(path: Path) -> None:
    assert ".. code-block:: yaml" in (ast.get_docstring(ast.parse(path.read_text())) or "")
    for node in public_functions(path):
        assert ast.get_docstring(node), node.name


def lines(path: Path) -> int:
    """Return how many lines a file has but for the docstrings, which are the reference of a loader file."""
    text = path.read_text()
    found = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
            first = node.body[0]
            found -= (first.end_lineno or first.lineno) - first.lineno + 1
    return found


def test_no_file_is_too_long_to_find_anything_in() -> None:
    ours = [p for p in REPO.rglob("*.py") if not {".venv", ".lab"} & set(p.parts)]
    assert not {name(p): n for p in ours if (n := lines(p)) > 450}

"""The YAML in the pages that people read, so that what they copy is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.core import publish_doctree

SETTINGS = {"syntax_highlight": "none", "halt_level": 2}  # a warning of docutils is an error here


def snippets(page: Path) -> list[Any]:
    """Return the YAML blocks of a page as data."""
    tree = publish_doctree(page.read_text(), str(page), settings_overrides=SETTINGS)
    blocks = [block for block in tree.findall(nodes.literal_block) if "yaml" in block["classes"]]
    return [yaml.safe_load(block.astext()) for block in blocks]

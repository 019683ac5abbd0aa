"""Small steps on an XML tree: reach a place, read it, write it, take it away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from pydantic import TypeAdapter

from corral.kinds import Size, size_bytes

_SIZE = TypeAdapter(Size)


def read_tree(xml: str) -> Element:
    """Return the tree of a document with every name as it is written.

    ElementTree's own parser resolves prefixes, and then writes other tools' elements with others.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(xml, True)
    return builder.close()


def reach(element: Element, path: str) -> Element:
    """Return the first element at a path; the missing steps of the path are made."""
    if path == ".":
        return element
    for step in path.split("/"):
        found = element.find(step)
        element = ElementTree.SubElement(element, step) if found is None else found
    return element


def drop(parent: Element, *tags: str) -> None:
    """Take away all children with one of these tags."""
    for child in [child for child in parent if child.tag in tags]:
        parent.remove(child)


def prune(element: Element, path: str) -> None:
    """Take away the element at a path, and each parent on the path that is left empty."""
    step, _, rest = path.partition("/")
    child = element.find(step)
    if child is None:
        return
    if rest:
        prune(child, rest)
    if not rest or (len(child) == 0 and not child.attrib):
        element.remove(child)


def whole(value: str) -> int | str:
    """Return a number of libvirt's output; text that is none stays text and so differs from any."""
    return int(value) if value.isdigit() else value


def load_kib(value: str) -> str:
    """Return a size from kibibytes, libvirt's own unit in what it prints."""
    return _SIZE.validate_python(int(value) << 10)


def dump_kib(value: str) -> str:
    """Return a size in kibibytes."""
    return str(size_bytes(value) >> 10)


@dataclass(frozen=True)
class Place:
    """Where a value stands: an attribute of the element at a path, or its text."""

    path: str
    name: str | None
    load: Callable[[str], Any]

    def get(self, element: Element) -> Any:
        found = element.find(self.path)
        if found is None:
            return None
        raw = found.text if self.name is None else found.get(self.name)
        return None if raw is None else self.load(raw)

    def put(self, element: Element, value: Any) -> None:
        found = reach(element, self.path)
        if self.name is None:
            found.text = str(value)
        else:
            found.set(self.name, str(value))


def text(path: str, load: Callable[[str], Any] = str) -> Place:
    """Return the place of an element's text."""
    return Place(path, None, load)


def attribute(path: str, name: str, load: Callable[[str], Any] = str) -> Place:
    """Return the place of an element's attribute."""
    return Place(path, name, load)

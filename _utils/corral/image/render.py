"""The TDL as XML: from the declaration, and back."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from typing import Any

from corral.errors import Invalid
from corral.image.tdl import HIDDEN, NOT_IN_XML, SUMS, Command, Content, Install, Tdl

PLAIN_OS = ("version", "arch", "kernelparam")


def render(name: str, tdl: Tdl, secrets: Mapping[str, str]) -> str:
    """Return the TDL as oz reads it.

    name
        The name of the template, which is the name of the installer guest.
    secrets
        ``rootpw`` and ``key`` as they shall stand in the text.
    """
    root = ET.Element("template", version="1.0")
    _text(root, "name", name)
    system = ET.SubElement(root, "os")
    _text(system, "name", tdl.os)
    for tag in PLAIN_OS:
        _text(system, tag, getattr(tdl, tag))
    _install(system, tdl.install)
    for tag, secret in sorted(secrets.items()):
        _text(system, tag, secret)
    _text(root, "description", tdl.description)
    for package in tdl.packages:
        entry = ET.SubElement(_group(root, "packages"), "package", name=package.name)
        for tag in ("repository", "file", "arguments"):
            _text(entry, tag, getattr(package, tag))
    for label, repository in tdl.repositories.items():
        entry = ET.SubElement(_group(root, "repositories"), "repository", name=label)
        _text(entry, "url", repository.url)
        for tag in ("signed", "persisted", "sslverify"):
            flag = getattr(repository, tag)
            _text(entry, tag, None if flag is None else "yes" if flag else "no")
    for path, content in tdl.files.items():
        _content(ET.SubElement(_group(root, "files"), "file", name=path), content)
    _commands(root, "precommands", tdl.precommands)
    _commands(root, "commands", tdl.commands)
    if tdl.disk is not None:
        _text(ET.SubElement(root, "disk"), "size", str(tdl.disk))  # a bare number is GiB in every version
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def shown(name: str, tdl: Tdl) -> str:
    """Return the TDL with stars in place of its secrets."""
    return render(name, tdl, dict.fromkeys(tdl.secrets(), HIDDEN))


def _text(parent: ET.Element, tag: str, text: str | None) -> None:
    if text is not None:
        ET.SubElement(parent, tag).text = text


def _group(root: ET.Element, tag: str) -> ET.Element:
    found = root.find(tag)
    return ET.SubElement(root, tag) if found is None else found


def _install(system: ET.Element, install: Install) -> None:
    element = ET.SubElement(system, "install", type="url" if install.url else "iso")
    for tag in ("url", "iso", *SUMS):
        _text(element, tag, getattr(install, tag))
    for extra in install.extras:
        tag, source = ("file", extra.file) if extra.file else ("directory", extra.directory)
        attributes = {"source": source or "", "destination": extra.destination}
        ET.SubElement(_group(element, "extras"), tag, attributes)


def _content(element: ET.Element, content: Content) -> None:
    """Write text as it is where XML and oz, which strips it, leave it so; else as base64."""
    if content.url is not None:
        element.set("type", "url")
        element.text = content.url
    elif content.base64 is not None:
        element.set("type", "base64")
        element.text = content.base64
    elif content.raw != (content.raw or "").strip() or NOT_IN_XML.search(content.raw):
        element.set("type", "base64")
        element.text = base64.b64encode((content.raw or "").encode()).decode()
    else:
        element.set("type", "raw")
        element.text = content.raw


def _commands(root: ET.Element, tag: str, commands: Iterable[Command]) -> None:
    for position, command in enumerate(commands, start=1):
        element = ET.SubElement(_group(root, tag), "command", name=command.name, position=str(position))
        _content(element, command)


def parse(text: str) -> tuple[str, Tdl]:
    """Return the name and the declaration of a TDL.

    text
        XML that fits oz's schema; what a declaration has no word for (``icicle``) is an error.

    Raises ``Invalid``.
    """
    try:
        root = ET.fromstring(text)
    except ET.ParseError as wrong:
        raise Invalid(f"template: is not XML: {wrong}") from None
    data: dict[str, Any] = {}
    name = ""
    for child in root:
        if child.tag == "name":
            name = child.text or ""
        else:
            data.update(READERS.get(child.tag, _unknown)(child))
    return name, Tdl.declare(data, at="template")


def _unknown(element: ET.Element) -> dict[str, Any]:
    return {element.tag: element.text}


def _read_os(element: ET.Element) -> dict[str, Any]:
    data: dict[str, Any] = _tags(element, skip="install")
    data["os"] = data.pop("name", None)
    install = element.find("install")
    if install is not None:
        data["install"] = {"type": install.get("type"), **_tags(install, skip="extras")}
        extras = install.findall("extras/*")
        if extras:
            data["install"]["extras"] = [
                {e.tag: e.get("source"), "destination": e.get("destination")} for e in extras
            ]
    return data


def _tags(element: ET.Element, skip: str = "") -> dict[str, Any]:
    return {child.tag: child.text for child in element if child.tag != skip}


def _read_packages(element: ET.Element) -> dict[str, Any]:
    return {"packages": [{"name": p.get("name"), **_tags(p)} for p in element]}


def _read_repositories(element: ET.Element) -> dict[str, Any]:
    return {
        "repositories": {
            r.get("name"): {t: v if t == "url" else _flag(v) for t, v in _tags(r).items()} for r in element
        }
    }


def _flag(text: str | None) -> bool | str | None:
    return {"yes": True, "true": True, "no": False, "false": False}.get((text or "").lower(), text)


def _read_content(element: ET.Element) -> dict[str, Any]:
    return {element.get("type", "raw"): (element.text or "").strip()}


def _read_files(element: ET.Element) -> dict[str, Any]:
    return {"files": {f.get("name"): _read_content(f) for f in element}}


def _read_commands(element: ET.Element) -> dict[str, Any]:
    ordered = sorted(element, key=lambda command: int(command.get("position") or 0))
    return {element.tag: [{"name": c.get("name"), **_read_content(c)} for c in ordered]}


READERS = {
    "os": _read_os,
    "description": lambda element: {"description": element.text or ""},
    "packages": _read_packages,
    "repositories": _read_repositories,
    "files": _read_files,
    "precommands": _read_commands,
    "commands": _read_commands,
    "disk": lambda element: {"disk": element.findtext("size")},
}

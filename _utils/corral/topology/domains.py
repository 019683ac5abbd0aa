"""The network cards of libvirt's guests, from their definitions as they run; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree


@dataclass(frozen=True)
class Domain:
    """A guest as libvirt has it.

    nics
        ``{"mac", "device"}`` in the order of the definition; ``device`` is the host's end, None while the
        guest does not run, or where the card has no such end.
    """

    name: str
    uuid: str
    state: str
    nics: tuple[dict[str, Any], ...]


def domain(name: str, state: str, xml: str) -> Domain:
    """Return a guest of its live definition (https://libvirt.org/formatdomain.html#network-interfaces)."""
    root = ElementTree.fromstring(xml)
    nics = tuple(
        {"mac": _attribute(nic, "mac", "address").lower(), "device": _attribute(nic, "target", "dev") or None}
        for nic in root.iterfind("devices/interface")
    )
    return Domain(name, (root.findtext("uuid") or "").lower(), state, nics)


def _attribute(nic: ElementTree.Element, child: str, name: str) -> str:
    found = nic.find(child)
    return found.get(name, "") if found is not None else ""

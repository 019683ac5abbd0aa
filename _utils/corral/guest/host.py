"""What one look at libvirt shows: every guest of the host, in the vocabulary of the declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STOPPED = "stopped"
RUNNING = "running"


@dataclass(frozen=True)
class Found:
    """One guest as libvirt has it.

    name
        Its name, which may be one that we would not take in a declaration.
    state, reason
        ``running``, ``paused``, ``stopped``, ``crashed`` (and kept for a look), ``shutting_down`` or
        ``suspended``; and why, in libvirt's words.
    fields
        The inactive definition as fields of ``Guest`` in normal form; what it has not is not a key.
        Not a ``Guest``, because other people's guests need not obey our rules.
    persistent
        Whether libvirt keeps the definition when the guest stops.
    macs, files
        The addresses of all its NICs and the files of all its drives, also those that ``fields`` leaves out.
    missing
        Those of ``files`` that are not there.
    xml
        The inactive definition itself, without its secrets.
    """

    name: str
    state: str
    fields: Mapping[str, Any]
    reason: str = ""
    persistent: bool = True
    macs: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    xml: str = field(default="", repr=False)

    @property
    def active(self) -> bool:
        return self.state != STOPPED

    @property
    def uuid(self) -> str:
        return str(self.fields["uuid"])

    @property
    def mark(self) -> Mapping[str, Any] | None:
        """Whose it is, if it is Corral's: ``{"id": …, "pool": …, "index": …}``."""
        return self.fields.get("corral")


@dataclass(frozen=True)
class Host:
    """Every guest of a host by name, as of one moment."""

    guests: Mapping[str, Found] = field(default_factory=dict)

    def uuids(self) -> dict[str, str]:
        """Return the name of the guest that has a UUID."""
        return {found.uuid: found.name for found in self.guests.values()}

    def macs(self) -> dict[str, str]:
        """Return the name of the guest that has a MAC address."""
        return {mac: found.name for found in self.guests.values() for mac in found.macs}

    def files(self) -> dict[str, frozenset[str]]:
        """Return the names of the guests that use a file."""
        users: dict[str, frozenset[str]] = {}
        for found in self.guests.values():
            for file in found.files:
                users[file] = users.get(file, frozenset()) | {found.name}
        return users

"""Guests from plain data, for tests without a daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.guest.host import Found, Host
from corral.guest.model import Wanted

OWNER = "hv1"
APART = ("state", "persistent", "missing")  # what is known of a guest beside its fields


def host(data: Mapping[str, Mapping[str, Any]]) -> Host:
    """Return a host with the guests of ``{name: {"state": …, field: …}}``."""
    return Host({name: _found(name, now) for name, now in data.items()})


def _found(name: str, now: Mapping[str, Any]) -> Found:
    fields = {"name": name, **{key: value for key, value in now.items() if key not in APART}}
    return Found(
        name,
        now["state"],
        fields,
        persistent=now.get("persistent", True),
        macs=frozenset(nic["mac"] for nic in fields.get("nics", ())),
        files=frozenset(disk["path"] for disk in fields.get("disks", ())),
        missing=frozenset(now.get("missing", ())),
    )


def wanted(data: Mapping[str, Any]) -> Wanted:
    """Return what a state asks for, from ``{"state": …, "name": …, argument: …}``."""
    arguments = {key: value for key, value in data.items() if key not in ("state", "name")}
    if data["state"] == "absent":
        return Wanted.absent(data["name"], arguments)
    build = Wanted.running if data["state"] == "running" else Wanted.stopped
    return build(data["name"], arguments, owner=OWNER)

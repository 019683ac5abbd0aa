"""What a store holds, from the short form of the cases."""

from __future__ import annotations

from typing import Any

from corral.image.model import Base, Held, Image, NoImage, Spare, declare

BASE: dict[str, Any] = {
    "name": "web",
    "path": "/srv/web-aaaaaaaaaaaa.qcow2",
    "format": "qcow2",
    "sha256": "a" * 64,
    "size": 1,
    "virtual_size": 2,
    "modified": 3,
    "source": "oz",
    "origin": "http://install.example/",
    "built": "2026-01-01T00:00:00Z",
}


def held(data: dict[str, Any]) -> Held:
    """Return what a store holds; ``base`` names what differs from the base above."""
    base = data.get("base")
    rest = {key: value for key, value in data.items() if key not in ("base", "spares")}
    lists = {key: tuple(rest.pop(key)) for key in ("unfinished", "users") if key in rest}
    spares = tuple(Spare(**spare) for spare in data.get("spares", ()))
    return Held(None if base is None else Base(**{**BASE, **base}), spares=spares, **lists, **rest)


def wanted(data: dict[str, Any] | None) -> Image | NoImage:
    """Return a declaration of the image ``web``; ``None`` declares it absent."""
    return NoImage(name="web") if data is None else declare("web", data)

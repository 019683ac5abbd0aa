"""Controllers and managers as they are, and the verdict on each of them; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Peer = dict[str, Any]
SECONDS = ("sec_since_connect", "sec_since_disconnect")
PASSIVE = ("ptcp:", "pssl:", "punix:")  # Open vSwitch listens there, and needs nobody to come


def peer(row: Mapping[str, Any]) -> Peer:
    """Return a row of Controller or Manager with its verdict (ovs-vswitchd.conf.db(5), Controller Status).

    The row has plain values: maps as dicts, and None for what is not set.
    """
    status = row["status"]
    found: Peer = {
        "target": row["target"],
        "connected": row["is_connected"],
        "role": row.get("role"),
        "state": status.get("state"),
        "last_error": status.get("last_error"),
        **{key: int(status[key]) if key in status else None for key in SECONDS},
    }
    return {**found, **verdict(found)}


def verdict(found: Peer) -> dict[str, Any]:
    """Return whether a peer is ``healthy``, and the ``reason``."""
    reason = ""
    if not found["connected"] and not found["target"].startswith(PASSIVE):
        state = found["state"] or "not tried yet"
        reason = f"{found['target']} is not connected ({state}"
        reason += f": {found['last_error']})" if found["last_error"] else ")"
    return {"healthy": not reason, "reason": reason}


def summary(controllers: Mapping[str, list[Peer]], managers: list[Peer]) -> dict[str, Any]:
    """Return all of them, and whether they are healthy as a whole."""
    reasons = [
        f"{bridge}: {one['reason']}" for bridge, ones in controllers.items() for one in ones if one["reason"]
    ]
    reasons += [f"manager: {one['reason']}" for one in managers if one["reason"]]
    return {
        "controllers": dict(controllers),
        "managers": managers,
        "healthy": not reasons,
        "reason": "; ".join(reasons),
    }

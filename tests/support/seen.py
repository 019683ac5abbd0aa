"""Looks at a host as they come, of short words: rows of ovsdb-server and devices of netlink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.topology.domains import Domain
from corral.topology.seen import Namespace, Seen

Row = dict[str, Any]
NONE: list[Any] = ["set", []]


def mapped(settings: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in settings.items()]]


def interface(name: str, kind: str = "", **about: Any) -> Row:
    own: Row = {"name": name, "_uuid": ["uuid", f"i-{name}"], "type": kind, "ofport": 1}
    own |= dict.fromkeys(("error", "link_state", "admin_state", "mtu", "mac_in_use", "cfm_fault"), NONE)
    maps = {key: mapped(about.pop(key, {})) for key in ("options", "external_ids", "bfd_status", "status")}
    return {**own, **maps, **about}


def port(name: str, *members: Row, **about: Any) -> tuple[Row, list[Row]]:
    references = ["set", [row["_uuid"] for row in members]]
    own: Row = {"name": name, "_uuid": ["uuid", f"p-{name}"], "interfaces": references, "fake_bridge": False}
    return {**own, **dict.fromkeys(("tag", "trunks", "vlan_mode"), NONE), **about}, list(members)


def plain(name: str, kind: str = "", tag: int | None = None, **about: Any) -> tuple[Row, list[Row]]:
    """Return a port of one interface of its name."""
    vlan = {} if tag is None else {"tag": tag}
    return port(name, interface(name, kind, **about), **vlan)


def device(name: str, index: int, kind: str = "nic", **about: Any) -> Row:
    own: Row = {"name": name, "index": index, "kind": kind, "mac": f"02:00:00:00:00:{index:02x}", "mtu": 1500}
    own |= {
        "up": True,
        "carrier": True,
        "master": None,
        "link": None,
        "link_namespace": None,
        "addresses": [],
    }
    return own | about


def seen(
    bridges: Mapping[str, list[tuple[Row, list[Row]]]],
    devices: Mapping[str, list[Row]] | None = None,
    domains: list[Domain] | None = None,
    ids: Mapping[str, dict[int, str]] | None = None,
    **about: Any,
) -> Seen:
    """Return a look at a host.

    bridges
        The ports by bridge; each bridge has its own port besides.
    devices
        By namespace; ``""`` is the host's own.
    ids
        How namespaces know each other.
    """
    rows: dict[str, list[Row]] = {"Bridge": [], "Port": [], "Interface": [], "Mirror": []}
    for name, ports in bridges.items():
        own = [plain(name, "internal"), *ports]
        references = ["set", [row["_uuid"] for row, _ in own]]
        about_bridge = {"mirrors": NONE, "datapath_type": "", "fail_mode": NONE}
        rows["Bridge"].append(
            {"name": name, "_uuid": ["uuid", f"b-{name}"], "ports": references, **about_bridge}
        )
        rows["Port"] += [row for row, _ in own]
        rows["Interface"] += [row for _, members in own for row in members]
    places = [
        Namespace(
            name, held, ids=(ids or {}).get(name, {}), forwarding=about.get("learned", []) if not name else []
        )
        for name, held in (devices or {"": []}).items()
    ]
    about.pop("learned", None)
    return Seen(rows, places, domains=domains or [], **about)

"""The guests that hang on a host's switches: libvirt's, and those that only a port knows of; pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from corral.ovs.rows import mapping
from corral.topology.domains import Domain
from corral.topology.seen import Seen

Node = dict[str, Any]
# external_ids by which whoever attaches a guest says whose the port is (Open vSwitch's integration.rst).
MACHINE, PORT, MAC = ("vm-id", "vm-uuid"), "iface-id", "attached-mac"


def hosted(seen: Seen) -> list[Node]:
    """Return the guests that run, by name, each with its network cards."""
    found = {one.uuid: _node(one, seen.addresses) for one in seen.domains if one.state != "stopped"}
    known = {nic["device"] for guest in found.values() for nic in guest["nics"]}
    for row in sorted(seen.rows["Interface"], key=lambda row: str(row["name"])):
        ids = mapping(row["external_ids"])
        owner = next((ids[key] for key in (*MACHINE, PORT) if ids.get(key)), None)
        if owner is None or row["name"] in known:
            continue
        guest = found.setdefault(
            owner.lower(), {"kind": "guest", "name": owner, "state": "unknown", "uuid": owner, "nics": []}
        )
        guest["nics"].append(_nic(ids.get(MAC, "").lower(), row["name"], seen.addresses))
    return sorted(found.values(), key=lambda guest: str(guest["name"]))


def _node(one: Domain, addresses: Mapping[str, list[str]]) -> Node:
    shown: Node = {"kind": "guest", "name": one.name, "uuid": one.uuid, "state": "up"}
    if one.state != "running":
        shown |= {"state": "down", "reason": f"it is {one.state}"}
    shown["nics"] = [_nic(nic["mac"], nic["device"], addresses) for nic in one.nics]
    return shown


def _nic(mac: str, device: str | None, addresses: Mapping[str, list[str]]) -> Node:
    known = [one for one in addresses.get(mac, []) if not ip_address(one).is_link_local]
    return {"mac": mac, "device": device, **({"addresses": known} if known else {})}

"""The rows of OVSDB (RFC 7047) and the switch they describe, in the words of the declaration; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from corral.ovs.host import DEFAULTS, Bridges, Host, Row, Rows, Spec
from corral.ovs.model import MARK, SECRETS

# Columns that hold one value or a set, by the declaration's key.
BRIDGE = {
    "datapath_type": "datapath_type",
    "fail_mode": "fail_mode",
    "stp": "stp_enable",
    "rstp": "rstp_enable",
    "mcast_snooping": "mcast_snooping_enable",
}
PORT = {"tag": "tag", "trunks": "trunks", "vlan_mode": "vlan_mode"}
BOND = {"mode": "bond_mode", "lacp": "lacp", "up_delay": "bond_updelay", "down_delay": "bond_downdelay"}
INTERFACE = {"type": "type", "mtu": "mtu_request"}
# Columns that hold a map and have the declaration's name.
SETTINGS = ("external_ids", "other_config")
OPTIONS = ("options",)
HIDDEN = "(hidden)"  # what is read in place of a secret

COLUMNS = {
    "Open_vSwitch": ["next_cfg", "cur_cfg"],
    "Bridge": ["_uuid", "name", "ports", *BRIDGE.values(), *SETTINGS],
    "Port": ["_uuid", "name", "interfaces", *PORT.values(), *BOND.values(), *SETTINGS],
    "Interface": ["_uuid", "name", *INTERFACE.values(), *OPTIONS, "ofport", "error"],
}


def atoms(value: Any) -> list[Any]:
    """Return the members of a set as OVSDB writes it: a set of one is the bare atom (RFC 7047, 5.1)."""
    if isinstance(value, list) and value[:1] == ["set"]:
        return list(value[1])
    return [value]


def uuids(value: Any) -> list[str]:
    return [atom[1] for atom in atoms(value)]


def mapping(value: Any) -> dict[str, str]:
    return dict(value[1])


def host(
    bridges: Iterable[Row], ports: Iterable[Row], interfaces: Iterable[Row], devices: Iterable[str] = ()
) -> Host:
    """Return the switch that these rows describe, on a host with these network interfaces."""
    rows = Rows(*({row["name"]: row for row in table} for table in (bridges, ports, interfaces)))
    port_by_uuid = {row["_uuid"][1]: row for row in rows.ports.values()}
    interface_by_uuid = {row["_uuid"][1]: row for row in rows.interfaces.values()}
    switch: Bridges = {}
    for name in sorted(rows.bridges):
        row = rows.bridges[name]
        own = sorted((port_by_uuid[uuid] for uuid in uuids(row["ports"])), key=lambda port: port["name"])
        switch[name] = _bridge(row, own, interface_by_uuid)
    owners = {
        row["name"]: mark
        for row in (*rows.ports.values(), *rows.bridges.values())
        if (mark := mapping(row["external_ids"]).get(MARK)) is not None
    }
    return Host(switch, owners, rows, frozenset(devices))


def _bridge(row: Row, ports: Iterable[Row], interfaces: Mapping[str, Row]) -> Spec:
    spec = {**values("bridges", row, BRIDGE), **maps(row, SETTINGS), "ports": {}, "bonds": {}}
    for port in ports:
        attached = [interfaces[uuid] for uuid in uuids(port["interfaces"])]
        if len(attached) == 1 and attached[0]["name"] == port["name"]:
            spec["ports"][port["name"]] = _port(port, attached[0])
        else:
            spec["bonds"][port["name"]] = _bond(port, attached)
    local = spec["ports"].get(row["name"], {})
    if "error" in local:
        spec["error"] = local.pop("error")
    return spec


def _port(port: Row, interface: Row) -> Spec:
    spec = {
        **values("ports", interface, INTERFACE),
        **maps(interface, OPTIONS),
        **values("ports", port, PORT),
        **maps(port, SETTINGS),
    }
    wrong = fault(interface)
    return {**spec, "error": wrong} if wrong else spec


def _bond(port: Row, members: list[Row]) -> Spec:
    spec = {
        "members": sorted(row["name"] for row in members),
        **values("bonds", port, {**BOND, **PORT}),
        **maps(port, SETTINGS),
    }
    config = spec.get("other_config", {})
    spec["lacp_time"] = "fast" if config.pop("lacp-time", "slow") == "fast" else "slow"
    if not config:
        spec.pop("other_config", None)
    faults = [f"{row['name']}: {wrong}" for row in members if (wrong := fault(row))]
    return {**spec, "error": "; ".join(sorted(faults))} if faults else spec


def fault(interface: Row) -> str | None:
    """Return why ovs-vswitchd has not added an interface, once it has applied the configuration.

    Such an interface has no OpenFlow port number, or -1, and mostly an error text; what is on a bridge
    that could not be made has none. An error text beside a number is another matter: a patch port
    has one for as long as its peer is not there, and it comes and goes some time after the configuration.
    """
    if atoms(interface["ofport"]) not in ([], [-1]):
        return None
    return str(next(iter(atoms(interface["error"])), "ovs-vswitchd has not added it, its log says why"))


def values(kind: str, row: Row, columns: Mapping[str, str]) -> Spec:
    spec: Spec = {}
    for key, column in columns.items():
        value = row[column]
        if key == "trunks":
            value = sorted(atoms(value))
        elif isinstance(value, list):  # a set of at most one, and there is none
            value = None
        if value in (None, "", []):
            value = DEFAULTS[kind].get(key)
        if value is not None:
            spec[key] = value
    return spec


def maps(row: Row, columns: Iterable[str]) -> Spec:
    spec = {}
    for column in columns:
        settings = mapping(row[column])
        if column == "external_ids":
            settings.pop(MARK, None)
        if column == "options":
            settings |= dict.fromkeys(settings.keys() & SECRETS, HIDDEN)
        if settings:
            spec[column] = dict(sorted(settings.items()))
    return spec

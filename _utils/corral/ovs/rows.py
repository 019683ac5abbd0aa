"""The rows of OVSDB (RFC 7047) and the switch they describe, in the words of the declaration; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from corral.change import Path
from corral.ovs.host import DEFAULTS, QUIET, Bridges, Host, Row, Rows, Spec
from corral.ovs.own import MARK, SECRETS, is_own
from corral.ovs.parts import HANGS, PARTS, ROOT, Part

# Columns that hold one value or a set, by the declaration's key.
BRIDGE = {
    "datapath_type": "datapath_type",
    "fail_mode": "fail_mode",
    "stp": "stp_enable",
    "rstp": "rstp_enable",
    "mcast_snooping": "mcast_snooping_enable",
    "protocols": "protocols",
    "flood_vlans": "flood_vlans",
}
PORT = {
    "tag": "tag",
    "trunks": "trunks",
    "vlan_mode": "vlan_mode",
    "cvlans": "cvlans",
    "protected": "protected",
    "fake_bridge": "fake_bridge",
}
BOND = {"mode": "bond_mode", "lacp": "lacp", "up_delay": "bond_updelay", "down_delay": "bond_downdelay"}
INTERFACE = {
    "type": "type",
    "mac": "mac",
    "mtu": "mtu_request",
    "ofport_request": "ofport_request",
    "ingress_policing_rate": "ingress_policing_rate",
    "ingress_policing_burst": "ingress_policing_burst",
}
LISTS = frozenset({"trunks", "cvlans", "flood_vlans", "protocols"})  # keys whose value is a set of any number
# Columns that hold a map and have the declaration's name.
SETTINGS = ("external_ids", "other_config")
OPTIONS = ("options", "bfd", "lldp")
HIDDEN = "(hidden)"  # what is read in place of a secret
CFM = "cfm_"  # what the columns and the keys of other_config that are declared as cfm begin with


def _columns(part: Part) -> list[str]:
    own = [] if part.key in ("", "number") else [part.key]
    return ["_uuid", *own, *part.columns.values(), *part.maps]


def _refer(kind: str) -> list[str]:
    return [PARTS[key].column for key in HANGS[kind]]


NONE, NO_KEYS = ["set", []], ["map", []]
COLUMNS = {
    ROOT: ["_uuid", "next_cfg", "cur_cfg", "iface_types", *SETTINGS, *_refer(ROOT)],
    "Bridge": ["_uuid", "name", "ports", *BRIDGE.values(), *SETTINGS, *_refer("bridges")],
    "Port": ["_uuid", "name", "interfaces", "tag", "external_ids"],
    "Interface": ["_uuid", "name", "type", "options", "ofport"],
    **{part.table: _columns(part) for part in PARTS.values()},
}
COLUMNS["QoS"].append("queues")
# What few of many rows have, and what the others have: only the few are asked for it.
RARE: Mapping[str, Mapping[str, Any]] = {
    "Port": {
        **dict.fromkeys(("trunks", "vlan_mode", "cvlans", "bond_mode", "lacp", *_refer("ports")), NONE),
        **dict.fromkeys(("protected", "fake_bridge"), False),
        **dict.fromkeys(("bond_updelay", "bond_downdelay"), 0),
        "other_config": NO_KEYS,
    },
    "Interface": {
        **dict.fromkeys(("mac", "mtu_request", "ofport_request", "cfm_mpid", "error"), NONE),
        **dict.fromkeys(("ingress_policing_rate", "ingress_policing_burst"), 0),
        **dict.fromkeys(("bfd", "lldp", "other_config"), NO_KEYS),
    },
}
Request = tuple[str, list[str], list[Any]]  # table, columns, condition
Tables = Mapping[str, Sequence[Row]]


def atoms(value: Any) -> list[Any]:
    """Return the members of a set as OVSDB writes it: a set of one is the bare atom (RFC 7047, 5.1)."""
    if isinstance(value, list) and value[:1] == ["set"]:
        return list(value[1])
    return [value]


def uuids(value: Any) -> list[str]:
    return [atom[1] for atom in atoms(value)]


def mapping(value: Any) -> dict[str, str]:
    return dict(value[1])


def requests() -> list[Request]:
    """Return what to ask the database for, in one transaction, to know the switch."""
    common: list[Request] = [(table, columns, []) for table, columns in COLUMNS.items()]
    return common + [
        (table, ["_uuid", column], [[column, "!=", usual]])
        for table, columns in RARE.items()
        for column, usual in columns.items()
    ]


def tables(answers: Sequence[Sequence[Row]]) -> dict[str, list[Row]]:
    """Return the rows by table from the answers to ``requests``, in their order."""
    found: dict[str, list[Any]] = {
        table: [{**RARE.get(table, {}), **row} for row in rows]
        for table, rows in zip(COLUMNS, answers, strict=False)
    }
    by_uuid = {table: {row["_uuid"][1]: row for row in found[table]} for table in RARE}
    for (table, _, _), rows in zip(requests()[len(COLUMNS) :], answers[len(COLUMNS) :], strict=True):
        for row in rows:
            by_uuid[table][row["_uuid"][1]] |= row
    return found


def host(tables: Tables, devices: Iterable[str] = ()) -> Host:
    """Return the switch that the rows of these tables describe, on a host with these network interfaces."""
    (root,) = tables.get(ROOT) or ({},)
    hanging = _Hanging(tables)
    ports = {row["_uuid"][1]: row for row in tables["Port"]}
    interfaces = {row["_uuid"][1]: row for row in tables["Interface"]}
    rows = Rows(
        {row["name"]: row for row in tables["Bridge"]},
        {row["name"]: row for row in tables["Port"]},
        {row["name"]: row for row in tables["Interface"]},
        root,
    )
    switch: Bridges = {}
    for name in sorted(rows.bridges):
        row = rows.bridges[name]
        own = sorted((ports[uuid] for uuid in uuids(row["ports"])), key=lambda port: port["name"])
        switch[name] = _bridge(row, own, interfaces, hanging)
    owners = {
        row["name"]: mark
        for row in (*rows.ports.values(), *rows.bridges.values())
        if (mark := mapping(row["external_ids"]).get(MARK)) is not None
    }
    whole = {**maps(root, SETTINGS), **hanging.of(ROOT, (ROOT,), root)} if root else {}
    return Host(
        switch,
        owners,
        replace(rows, parts=hanging.rows, shared=hanging.shared),
        frozenset(devices),
        switch=whole,
        makers=hanging.makers,
        types=frozenset(atoms(root["iface_types"])) if root else frozenset(),
    )


class _Hanging:
    """What hangs on rows, as it is found: specifications, rows by their path, and who made them."""

    def __init__(self, tables: Tables) -> None:
        self.tables = {
            part.table: {row["_uuid"][1]: row for row in tables.get(part.table, ())}
            for part in PARTS.values()
        }
        self.ports = {row["_uuid"][1]: row["name"] for row in tables["Port"]}
        self.rows: dict[Path, Row] = {}
        self.makers: dict[Path, str] = {}
        self.seen: set[str] = set()
        self.shared: frozenset[str] = frozenset()

    def of(self, kind: str, path: Path, row: Row) -> Spec:
        """Return what hangs on a row, by key, each as its declaration would be."""
        found: Spec = {}
        for key in HANGS[kind]:
            part = PARTS[key]
            if row.get(part.column) in (None, ["set", []], ["map", []]):
                continue
            for name, uuid in self._referred(part, row[part.column]):
                own = (*path, key, name) if part.key else (*path, key)
                spec = self._spec(key, own, self.tables[part.table][uuid])
                if part.key:
                    found.setdefault(key, {})[name] = spec
                else:
                    found[key] = spec
        return found

    def _referred(self, part: Part, column: Any) -> Iterator[tuple[str, str]]:
        if part.key == "number":
            yield from sorted((str(number), atom[1]) for number, atom in column[1])
            return
        rows = self.tables[part.table]
        yield from sorted((rows[uuid].get(part.key, ""), uuid) for uuid in uuids(column) if uuid in rows)

    def _spec(self, key: str, path: Path, row: Row) -> Spec:
        part, uuid = PARTS[key], row["_uuid"][1]
        self.rows[path] = row
        if uuid in self.seen:
            self.shared |= {uuid}
        self.seen.add(uuid)
        mark = mapping(row["external_ids"]).get(MARK)
        if mark is not None:
            self.makers[path] = mark
        spec = {name: self._value(part, name, row[column]) for name, column in part.columns.items()}
        spec = {name: value for name, value in spec.items() if value not in (None, [])}
        spec |= maps(row, part.maps)
        return spec | (self.of(key, path, row) if key in HANGS else {})

    def _value(self, part: Part, key: str, value: Any) -> Any:
        """Return a column's value in normal form; nothing where it is the default."""
        found = atoms(value)
        if key in part.ports:
            found = [self.ports[uuid] for _, uuid in found if uuid in self.ports]
        if key in part.lists:
            return sorted(found)
        one = found[0] if found else None
        return None if one in ("", part.defaults.get(key)) else one


def _bridge(row: Row, ports: Iterable[Row], interfaces: Mapping[str, Row], hanging: _Hanging) -> Spec:
    name = row["name"]
    own = {**values("bridges", row, BRIDGE), **maps(row, SETTINGS), **hanging.of("bridges", (name,), row)}
    spec: Spec = {**own, "ports": {}, "bonds": {}}
    for port in ports:
        attached = [interfaces[uuid] for uuid in uuids(port["interfaces"])]
        kind = "ports" if len(attached) == 1 and attached[0]["name"] == port["name"] else "bonds"
        made = _port(port, attached[0]) if kind == "ports" else _bond(port, attached)
        spec[kind][port["name"]] = made | hanging.of(kind, (name, kind, port["name"]), port)
    local = spec["ports"].get(name, {})
    if "error" in local:
        spec["error"] = local.pop("error")
    return spec


def _port(port: Row, interface: Row) -> Spec:
    spec = {
        **interface_spec(interface),
        **values("ports", port, PORT),
        **maps(port, SETTINGS),
    }
    wrong = fault(interface)
    return {**spec, "error": wrong} if wrong else spec


def interface_spec(interface: Row) -> Spec:
    """Return the part of a port's specification that is its interface's."""
    spec = {**values("ports", interface, INTERFACE), **maps(interface, OPTIONS)}
    watched = {
        key[len(CFM) :]: value
        for key, value in mapping(interface["other_config"]).items()
        if key.startswith(CFM)
    }
    if interface["cfm_mpid"] != ["set", []]:
        watched["mpid"] = str(interface["cfm_mpid"])
    return {**spec, "cfm": watched} if watched else spec


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
        if key in LISTS:
            value = sorted(atoms(value))
        elif isinstance(value, list):  # a set of at most one, and there is none
            value = None
        if value in (None, "", []):
            value = DEFAULTS[kind].get(key)
        if value is not None and (key not in QUIET or value != QUIET[key]):
            spec[key] = value
    return spec


def maps(row: Row, columns: Iterable[str]) -> Spec:
    spec = {}
    for column in columns:
        settings = mapping(row[column])
        if column == "external_ids":
            settings = {key: value for key, value in settings.items() if not is_own(key)}
        if column == "options":
            settings |= dict.fromkeys(settings.keys() & SECRETS, HIDDEN)
        if settings:
            spec[column] = dict(sorted(settings.items()))
    return spec

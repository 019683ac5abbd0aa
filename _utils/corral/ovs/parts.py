"""What hangs on the switch, on a bridge or on a port in rows of its own, and the columns of these rows.

Controllers, managers, mirrors, exporters and QoS all follow one pattern: the parent's column refers to
rows of another table, one or several of them. Reading, planning and writing go by this table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ROOT = "Open_vSwitch"  # what the paths of the switch's own settings begin with: the table's name


@dataclass(frozen=True)
class Part:
    """One kind of such rows.

    table
        Where the rows are.
    column
        The parent's column that refers to them.
    columns
        Columns that hold a value or a set, by the declaration's key.
    maps
        Columns that hold a map and have the declaration's name.
    key
        The column that tells several rows apart; empty when there is at most one.
    defaults
        Values that mean the same as no value.
    lists
        Keys whose value is a set of any number.
    ports
        Keys whose value names ports, to which the column refers.
    needed
        Keys without which there is no such row.
    lasting
        The rows stay until they are deleted, also when nothing refers to them.
    """

    table: str
    column: str
    columns: Mapping[str, str]
    maps: tuple[str, ...] = ("external_ids",)
    key: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    lists: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    needed: tuple[str, ...] = ()
    lasting: bool = False


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_CONNECTION = _same("max_backoff", "inactivity_probe", "connection_mode")

PARTS: Mapping[str, Part] = {
    "managers": Part(
        "Manager", "manager_options", _CONNECTION, maps=("external_ids", "other_config"), key="target"
    ),
    "ssl": Part(
        "SSL",
        "ssl",
        _same("private_key", "certificate", "ca_cert", "bootstrap_ca_cert"),
        defaults={"bootstrap_ca_cert": False},
        needed=("private_key", "certificate", "ca_cert"),
    ),
    "controllers": Part(
        "Controller",
        "controller",
        _CONNECTION
        | _same(
            "local_ip",
            "local_netmask",
            "local_gateway",
            "enable_async_messages",
            "controller_rate_limit",
            "controller_burst_limit",
        ),
        maps=("external_ids", "other_config"),
        key="target",
    ),
    "mirrors": Part(
        "Mirror",
        "mirrors",
        _same(
            "select_all",
            "select_src_port",
            "select_dst_port",
            "select_vlan",
            "output_port",
            "output_vlan",
            "snaplen",
        ),
        key="name",
        defaults={"select_all": False},
        lists=frozenset({"select_src_port", "select_dst_port", "select_vlan"}),
        ports=frozenset({"select_src_port", "select_dst_port", "output_port"}),
    ),
    "netflow": Part(
        "NetFlow",
        "netflow",
        _same("targets", "engine_type", "engine_id", "add_id_to_interface", "active_timeout"),
        defaults={"add_id_to_interface": False, "active_timeout": 0},
        lists=frozenset({"targets"}),
        needed=("targets",),
    ),
    "sflow": Part(
        "sFlow",
        "sflow",
        _same("targets", "agent", "sampling", "polling", "header"),
        lists=frozenset({"targets"}),
        needed=("targets",),
    ),
    "ipfix": Part(
        "IPFIX",
        "ipfix",
        _same(
            "targets",
            "sampling",
            "obs_domain_id",
            "obs_point_id",
            "cache_active_timeout",
            "cache_max_flows",
        ),
        maps=("external_ids", "other_config"),
        lists=frozenset({"targets"}),
        needed=("targets",),
    ),
    "qos": Part(
        "QoS", "qos", _same("type"), maps=("external_ids", "other_config"), needed=("type",), lasting=True
    ),
    "queues": Part(
        "Queue", "queues", _same("dscp"), maps=("external_ids", "other_config"), key="number", lasting=True
    ),
}
HANGS: Mapping[str, tuple[str, ...]] = {
    ROOT: ("managers", "ssl"),
    "bridges": ("controllers", "mirrors", "netflow", "sflow", "ipfix"),
    "ports": ("qos",),
    "bonds": ("qos",),
    "qos": ("queues",),
}
MANY = frozenset(key for key, part in PARTS.items() if part.key)  # what is a mapping of several by name


def each(key: str, value: Any) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield what a key of a specification holds, with the steps from there: several by name, or itself."""
    if PARTS[key].key:
        yield from (((name,), spec) for name, spec in (value or {}).items())
    elif value:
        yield (), value

"""The arguments that Salt's own Open vSwitch states and functions had up to 3007, as declarations; pure.

Those spoke of bridges and ports as ovs-vsctl(8) does: a fake bridge is a bridge like any other, and a bond
is a port.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from corral.change import Change
from corral.converge import Todo
from corral.errors import Invalid, Refused
from corral.ovs.columns import Type
from corral.ovs.host import CHILDREN, Host
from corral.ovs.model import Switch
from corral.ovs.options import OPTIONS
from corral.ovs.own import SECRETS, TABLES
from corral.ovs.plan import plan
from corral.ovs.rows import HIDDEN

RESERVED = (0, 4095)  # VLANs that the old states took, and of which the model says that they are none
ARGUMENTS = {"remote": "remote_ip", "id": "key", "dst_port": "dst_port"}  # options by the old name


def provided(kind: str, name: str) -> str:
    """Return a sentence about what else has a loader file of this name: Salt itself, or an extension of it.

    kind
        ``modules`` or ``states``.
    """
    if find_spec(f"salt.{kind}.{name}"):
        return f"{name} is Salt's own here."
    for point in entry_points(group="salt.loader"):
        for file in (point.dist and point.dist.files) or ():
            if file.parts[-2:] in ((kind, f"{name}.py"), (f"_{kind}", f"{name}.py")):
                return (
                    f"{name} is that of the Salt extension {point.dist.name if point.dist else point.name}."
                )
    return ""


# What is declared


def bridge(name: str, parent: str | None = None, vlan: int | None = None) -> Switch:
    """Return the declaration of a bridge, or with ``parent`` and ``vlan`` of a fake bridge."""
    given = {"parent": parent, "vlan": vlan}
    settings = {key: value for key, value in given.items() if value is not None}
    return Switch.declare({"bridges": {name: settings}})


def no_bridge(name: str) -> Switch:
    return Switch.declare({"bridges": {name: None}})


def port(
    name: str,
    bridge: str,
    tunnel_type: str | None = None,
    id: Any = None,
    remote: Any = None,
    dst_port: Any = None,
    internal: Any = False,
) -> Switch:
    """Return the declaration of a port; an argument that its ``tunnel_type`` has no use for is ignored.

    Raises ``Invalid``, by the name of the argument.
    """
    settings: dict[str, Any] = {"type": "internal"} if internal else {}
    declared: dict[str, Any] = {"bridges": {bridge: {"ports": {name: settings}}}}
    if tunnel_type == "vlan":
        tag = _vlan(id)
        if tag in RESERVED:
            declared["db"] = {"Port": {name: {"tag": tag}}}
        else:
            settings["tag"] = tag
    elif tunnel_type in ("vxlan", "gre"):
        given = {"remote": remote, "id": id, "dst_port": dst_port or None}
        declared["bridges"][bridge]["ports"][name] = {
            "type": tunnel_type,
            "options": _options(tunnel_type, given),
        }
    elif tunnel_type:
        others = "ovs.tunnel_present has more"
        raise Invalid(f"tunnel_type: {tunnel_type!r} is not vlan, vxlan or gre ({others})")
    return Switch.declare(declared)


def _vlan(value: Any) -> int:
    good = not isinstance(value, bool) and re.fullmatch(r"\d{1,4}", str(value)) and int(value) <= 4095
    if not good:
        raise Invalid(f"id: {value!r} is not a VLAN id (0–4095)")
    return int(value)


def _options(kind: str, given: Mapping[str, Any]) -> dict[str, str]:
    options = {}
    for argument, option in ARGUMENTS.items():
        check, value = OPTIONS[kind].get(option), given[argument]
        if check is None or (value is None and argument == "dst_port"):
            continue
        if value is None:
            raise Invalid(f"{argument}: is required for tunnel_type {kind}")
        if sentence := check(str(value)):
            raise Invalid(f"{argument}: {sentence}")
        options[option] = str(value)
    return options


def no_port(name: str, bridge: str | None = None) -> Switch:
    gone = {"ports": {name: None}}
    return Switch.declare({"bridges": {bridge: gone}} if bridge else gone)


def record(table: str, name: str, data: Any) -> Switch:
    """Return the declaration of columns of a record; the table may be called as ovs-vsctl(8) takes it."""
    found = _called(table, TABLES)
    if found is None:
        raise Invalid(f"table: {table!r} is no table of the Open vSwitch database that can be set")
    if not isinstance(data, Mapping):
        raise Invalid("data: is no mapping of values by column")
    return Switch.declare({"db": {found: {str(name): data}}})


def columns(column: str, value: Any) -> dict[str, Any]:
    """Return what is declared by one column, or by one key of one (``other_config:hwaddr``)."""
    name, _, key = column.partition(":")
    return {name: {key: value} if key else value}


def _called(name: Any, names: Iterable[str]) -> str | None:
    """Return the one of some names that is meant: case and dashes do not matter, and its start will do."""
    plain = {one.lower().replace("-", "_"): one for one in names}
    meant = str(name).lower().replace("-", "_")
    starts = [one for one in plain if one.startswith(meant)]
    return plain.get(meant) or (plain[starts[0]] if len(starts) == 1 else None)


# What is there


def fakes(current: Host) -> dict[str, tuple[str, int]]:
    """Return the fake bridges by name, each with its parent and its VLAN."""
    return {
        name: (parent, spec["tag"])
        for parent, there in current.bridges.items()
        for name, spec in there["ports"].items()
        if spec.get("fake_bridge") and "tag" in spec
    }


def bridges(current: Host) -> dict[str, tuple[str, int]]:
    """Return all bridges by name, each with its parent and its VLAN: a real one with itself and 0."""
    return dict(sorted({**{name: (name, 0) for name in current.bridges}, **fakes(current)}.items()))


def homes(current: Host) -> dict[str, str]:
    """Return the bridge of each port and bond: a fake one where it has the VLAN of one."""
    names = {place: name for name, place in fakes(current).items()}
    return {
        name: names.get((bridge, spec.get("tag", 0)), bridge)
        for bridge, there in current.bridges.items()
        for kind in CHILDREN
        for name, spec in there[kind].items()
    }


def ports(current: Host, bridge: str) -> list[str]:
    """Return the ports and bonds of a bridge, real or fake, without its own port."""
    return sorted(name for name, home in homes(current).items() if home == bridge != name)


def is_on(current: Host, port: str, bridge: str | None) -> bool:
    """Whether there is a port or bond of this name on a bridge; without one, on any."""
    home = homes(current).get(port)
    return home is not None and bridge in (None, "", home)


def value(current: Host, column: str) -> Any:
    """Return a column of the one record that was looked at, as ovsdb-server sends it; ``None`` for none."""
    ((place, found),) = current.columns.items()
    name = _called(column, found.types)
    if name is None:
        raise Invalid(f"column: the table {place[0]} has no column {column}")
    return None if found.row is None else found.row[name]


# Plans


def bridge_plan(current: Host, desired: Switch, maker: str) -> Todo:
    """Plan one bridge; a fake one is not made a real one, nor the other way round."""
    ((name, spec),) = desired.bridges.items()
    there = fakes(current).get(name)
    if spec is not None and spec.parent is None and there is not None:
        raise Refused(
            f"{name} is a fake bridge of {there[0]} on VLAN {there[1]}: give its parent and vlan,"
            " or make it absent first."
        )
    return plan(current, desired, maker=maker)


def port_plan(current: Host, desired: Switch, maker: str) -> Todo:
    """Plan one port on its bridge, where the bridge may be a fake one and the port a bond."""
    declared = desired.declared()
    ((bridge, spec),) = declared["bridges"].items()
    ((name, settings),) = spec["ports"].items()
    bonds = {bond: about for there in current.bridges.values() for bond, about in there["bonds"].items()}
    if name in bonds and "type" in settings:
        raise Refused(f"{name} is a bond: make it absent first.")
    for other, about in bonds.items():
        if name != other and name in about["members"]:
            raise Refused(f"{name} is a member of the bond {other}: make that absent first.")
    place: dict[str, Any] = {}
    if bridge in (there := fakes(current)):
        parent, vlan = there[bridge]
        place = {"parent": parent, "vlan": vlan}
        if "db" in declared or settings.pop("tag", vlan) != vlan:
            raise Invalid(f"id: {bridge} is a fake bridge, and all its ports are on VLAN {vlan}")
    declared["bridges"] = {bridge: {**place, "bonds" if name in bonds else "ports": {name: settings}}}
    return plan(current, Switch.declare(declared), within=True, maker=maker)


def no_port_plan(current: Host, desired: Switch, maker: str) -> Todo:
    """Plan the end of one port; one on another bridge than was said stays."""
    declared = desired.declared()
    ((bridge, spec),) = (declared.get("bridges") or {"": declared}).items()
    (name,) = spec["ports"]
    if not is_on(current, name, bridge):
        return ()
    if name in bridges(current):
        raise Refused(f"{name} is a bridge, which only openvswitch_bridge.absent removes.")
    return plan(current, no_port(name), within=True, maker=maker)


def record_plan(current: Host, desired: Switch, maker: str, if_exists: bool = False) -> Todo:
    """Plan columns of one record, which may be called as ovs-vsctl(8) takes them.

    if_exists
        Plan nothing for a record that is not there.
    """
    ((table, records),) = desired.db.items()
    ((name, data),) = records.items()
    found = current.columns.get((table, name))
    if found is None:  # on a host without Open vSwitch
        return tuple(Change((table, name, column), None, value) for column, value in data.items())
    if if_exists and found.row is None:
        return ()
    columns = {}
    for given, value in data.items():
        column = _called(given, found.types)
        if column is None:
            raise Invalid(f"data.{given}: the table {table} has no such column")
        columns[column] = _single(found.types[column], value)
    return plan(current, Switch.declare({"db": {table: {name: columns}}}), within=True, maker=maker)


def _single(kind: Type, value: Any) -> Any:
    """Return the value of a column that holds one at most, where it is given as a set."""
    if kind.most == 1 and not kind.value and isinstance(value, list) and len(value) < 2:
        return value[0] if value else None
    return value


# Values


def shown(value: Any) -> Any:
    """Return a column's value from what ovsdb-server sends: a set as a list, a map as a dict."""
    if isinstance(value, list) and value[:1] == ["map"]:
        return {key: HIDDEN if key in SECRETS else one for key, one in value[1]}
    return list(value[1]) if isinstance(value, list) and value[:1] == ["set"] else value


def text(value: Any) -> str:
    """Return a column's value as ``ovs-vsctl get`` prints it (ovs-vsctl(8), Database Values)."""
    found = shown(value)
    if isinstance(found, dict):
        return f"{{{', '.join(f'{_atom(key)}={_atom(found[key])}' for key in sorted(found))}}}"
    if isinstance(value, list) and value[:1] == ["set"]:
        return f"[{', '.join(map(_atom, found))}]"
    return _atom(found)


_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def _atom(value: Any) -> str:
    if isinstance(value, list):
        return str(value[1])  # the UUID of another row
    bare = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value)
    if bare and value not in ("true", "false") and not re.fullmatch(_UUID, value):
        return value
    return json.dumps(value, ensure_ascii=False)

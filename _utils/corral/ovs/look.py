"""Looks at the running switch: tunnels, learned addresses, flows, controllers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from corral.errors import Refused
from corral.ovs import controllers as peers
from corral.ovs import forwarding, tunnels, underlay
from corral.ovs.ask import control, ofctl, rows
from corral.ovs.rows import atoms, mapping, uuids

Facts = dict[str, Any]
BRIDGE = ("_uuid", "name", "ports", "protocols", "controller", "fail_mode")
PORT = ("_uuid", "name", "interfaces")
INTERFACE = ("_uuid", "name", "type", "ofport")
TUNNEL = ("name", "type", "options", "ofport", "error", "link_state", "status", "mtu")
PEER = ("_uuid", "target", "is_connected", "status")
ECHO_SECONDS = 3.0


def plain(row: Mapping[str, Any]) -> Facts:
    """Return a row with maps as dicts, no value as None, and references as they are."""
    return {key: _plain(value) for key, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list) and value[0] == "map":
        return mapping(value)
    return None if value == ["set", []] else value


def bridges(timeout: float) -> dict[str, Facts]:
    """Return the bridges by name, each with its ``protocols``, and its ``ports`` by OpenFlow port number.

    A member of a bond counts under the bond's name.
    """
    found, ports, interfaces = rows(timeout, {"Bridge": BRIDGE, "Port": PORT, "Interface": INTERFACE})
    port_by_uuid = {row["_uuid"][1]: row for row in ports}
    number = {row["_uuid"][1]: row["ofport"] for row in interfaces if isinstance(row["ofport"], int)}
    return {
        row["name"]: {
            "protocols": atoms(row["protocols"]),
            "fail_mode": _plain(row["fail_mode"]),
            "ports": {
                number[interface]: port_by_uuid[port]["name"]
                for port in uuids(row["ports"])
                for interface in uuids(port_by_uuid[port]["interfaces"])
                if interface in number
            },
        }
        for row in found
    }


def _chosen(bridge: str | None, timeout: float) -> dict[str, Facts]:
    found = bridges(timeout)
    if bridge is None:
        return found
    if bridge not in found:
        raise Refused(f"There is no such bridge as {bridge} on this host.")
    return {bridge: found[bridge]}


def fdb(bridge: str | None, timeout: float) -> dict[str, list[Facts]]:
    """Return what bridges have learned, by bridge."""
    chosen = _chosen(bridge, timeout)
    answers = control(timeout, *(("fdb/show", name) for name in chosen))
    return {
        name: forwarding.fdb(text, about["ports"])
        for (name, about), text in zip(chosen.items(), answers, strict=True)
    }


def flows(bridge: str | None, timeout: float) -> dict[str, list[Facts]]:
    """Return the flows of bridges, by bridge."""
    return {
        name: forwarding.flows(ofctl(timeout, about["protocols"], "dump-flows", name), about["ports"])
        for name, about in _chosen(bridge, timeout).items()
    }


def controllers(timeout: float) -> Facts:
    """Return the controllers by bridge, the managers, and whether all of them are healthy."""
    found, ours, managers = rows(timeout, {"Bridge": BRIDGE, "Controller": (*PEER, "role"), "Manager": PEER})
    by_uuid = {row["_uuid"][1]: peers.peer(plain(row)) for row in ours}
    by_bridge = {row["name"]: [by_uuid[one] for one in uuids(row["controller"])] for row in found}
    return peers.summary(
        {name: sorted(ones, key=_target) for name, ones in sorted(by_bridge.items()) if ones},
        sorted((peers.peer(plain(row)) for row in managers), key=_target),
    )


def _target(peer: Facts) -> str:
    return str(peer["target"])


def own_tunnels(timeout: float) -> Facts:
    """Return what other hosts need to know of this one's tunnels, by port."""
    declared = declared_tunnels(timeout)
    return tunnels.for_mine(declared, underlay.routes(tunnels.remotes(declared), timeout))


def declared_tunnels(timeout: float) -> dict[str, Facts]:
    """Return the tunnels by port, as far as the database has them."""
    (interfaces,) = rows(timeout, {"Interface": TUNNEL})
    return tunnels.of_rows(plain(row) for row in interfaces)


def tunnel_status(wanted: Collection[str] | None, fleet: tunnels.Fleet, probe: bool, timeout: float) -> Facts:
    """Return tunnels by port, each with its verdict.

    wanted
        Which; None for all.
    fleet
        What ``own_tunnels`` said on other hosts, by minion.
    probe
        Whether to ask the far ends for an echo.
    """
    declared = declared_tunnels(timeout)
    for port in wanted or ():
        if port not in declared:
            raise Refused(f"There is no such tunnel as {port} on this host.")
    chosen = declared if wanted is None else {port: declared[port] for port in wanted}
    sessions, checks = control(timeout, ("bfd/show",), ("cfm/show",))
    routes = underlay.routes(tunnels.remotes(chosen), timeout)
    echoes = underlay.echoes(routes, min(timeout, ECHO_SECONDS)) if probe else {}
    near = underlay.neighbours(routes, timeout)  # of which the kernel knows more after an echo
    ends = tunnels.far_ends(fleet)
    mine, bfd, cfm = tunnels.for_mine(chosen, routes), tunnels.bfd(sessions), tunnels.cfm(checks)
    found = {}
    for name, tunnel in sorted(chosen.items()):
        remote = tunnel["remote_ip"] or ""
        found[name] = tunnel | {
            "local_ip": mine[name]["local_ip"],
            "mtu": tunnels.mtu(tunnel, routes),
            "bfd": bfd.get(name),
            "cfm": cfm.get(name),
            "peer": {"route": routes.get(remote), "neighbour": near.get(remote), "echo": echoes.get(remote)},
            "far": tunnels.far_end(mine[name], ends),
        }
        del found[name]["own_mtu"]
        found[name] |= tunnels.verdict(found[name])
    return found

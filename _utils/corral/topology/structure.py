"""A host's network as plain structure: nodes and edges, of one look; pure.

::

    {"host": "kvm1", "notes": [],
     "nodes": {"br0": {"kind": "bridge", "name": "br0", "state": "up", …}, "guest:web": {…}, …},
     "edges": [{"kind": "port", "from": "br0", "to": "vnet0", "vlan": 10}, …]}

The id of a device, a bridge and a tunnel is its name, which a host uses once; in another namespace it is
``NAME@NAMESPACE``, but for a port of Open vSwitch. Guests, bonds and mirrors have ids of their own
(``guest:web``, ``bond:bond0``, ``mirror:m0``), since their names may be used again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corral.ovs.rows import atoms, fault, mapping, uuids
from corral.topology import guests
from corral.topology.devices import Devices, node
from corral.topology.seen import TUNNELS, Seen

Node = dict[str, Any]
Edge = dict[str, Any]
Structure = dict[str, Any]
Row = Mapping[str, Any]


def structure(host: str, seen: Seen) -> Structure:
    """Return what was seen as nodes and edges.

    host
        The name of the host, for example its minion id.
    """
    return _Structure(host, seen).made


class _Structure:
    """Puts a structure together."""

    def __init__(self, host: str, seen: Seen) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.made: Structure = {"host": host, "notes": seen.notes, "nodes": self.nodes, "edges": self.edges}
        self.seen = seen
        self.ports = {row["_uuid"][1]: row for row in seen.rows["Port"]}
        self.interfaces = {row["_uuid"][1]: row for row in seen.rows["Interface"]}
        self.devices = Devices(seen.namespaces, [row["name"] for row in seen.rows["Interface"]])
        for row in sorted(seen.rows["Bridge"], key=lambda row: str(row["name"])):
            self._bridge(row)
        self._patches()
        hosted = guests.hosted(seen)
        self._devices({nic["device"] for guest in hosted for nic in guest["nics"] if nic["device"]})
        for guest in hosted:
            self._guest(guest)

    def edge(self, kind: str, start: str, end: str, **about: Any) -> None:
        self.edges.append({"kind": kind, "from": start, "to": end, **about})

    def _bridge(self, row: Row) -> None:
        name, local = row["name"], self.devices.named(row["name"])
        about = {"datapath_type": row["datapath_type"] or "system"}
        about |= _optional("fail_mode", row["fail_mode"])
        self.nodes[name] = {"kind": "bridge", "name": name, "state": "up", **about, **_local(local)}
        own = [self.ports[uuid] for uuid in uuids(row["ports"])]
        for port in sorted(own, key=lambda port: str(port["name"])):
            attached = [self.interfaces[uuid] for uuid in uuids(port["interfaces"])]
            if port["name"] != name:
                self._port(name, port, attached)
            elif wrong := fault(attached[0]):
                self.nodes[name] |= {"state": "down", "reason": wrong}
        for mirror in self.seen.rows["Mirror"]:
            if mirror["_uuid"][1] in uuids(row["mirrors"]):
                self._mirror(name, mirror)

    def _port(self, bridge: str, port: Row, attached: Sequence[Row]) -> None:
        name, vlans = port["name"], _vlans(port)
        if port["fake_bridge"] is True:
            local = _local(self.devices.named(name))
            self.nodes[name] = {"kind": "fake_bridge", "name": name, "state": "up", **local}
            self.edge("fake", bridge, name, **vlans)
        elif len(attached) == 1 and attached[0]["name"] == name:
            self.nodes[name] = self._interface(attached[0])
            self.edge("port", bridge, name, **vlans)
        else:
            bond = f"bond:{name}"
            self.nodes[bond] = {"kind": "bond", "name": name, **self._health(name)}
            self.edge("port", bridge, bond, **vlans)
            members = self.seen.bonds.get(name, {}).get("members", {})
            for row in sorted(attached, key=lambda row: str(row["name"])):
                known = members.get(row["name"], {})
                self.nodes[row["name"]] = self._interface(row)
                about = {key: known[key] for key in ("enabled", "active") if key in known}
                self.edge("member", bond, row["name"], **about)

    def _health(self, bond: str) -> Node:
        known = self.seen.bonds.get(bond)
        if known is None:
            return {"state": "unknown"}
        shown = {"state": "down" if known["state"] == "down" else "up", "healthy": known["healthy"]}
        shown |= {key: known[key] for key in ("mode", "lacp", "reason") if known[key]}
        return shown

    def _interface(self, row: Row) -> Node:
        kind, wrong, device = row["type"], fault(row), self.devices.named(row["name"])
        one: Node = {"kind": kind or "missing", "name": row["name"]}
        if kind in TUNNELS:
            one |= {"kind": "tunnel", "type": kind, **_tunnel(row)}
        elif kind == "patch":
            one |= {"peer": mapping(row["options"]).get("peer", ""), "state": "up"}
        elif device and kind in ("", "internal", "tap"):
            one |= node(device)
            one["kind"] = kind or one["kind"]
        else:
            one |= _link(row) | _optional("mac", row["mac_in_use"])
        one = _optional("mtu", row["mtu"]) | one
        return one | {"state": "down", "reason": wrong} if wrong else one

    def _mirror(self, bridge: str, row: Row) -> None:
        identity = f"mirror:{row['name']}"
        ports = {uuid: self._port_id(port) for uuid, port in self.ports.items()}
        about: Node = {"kind": "mirror", "name": row["name"], "state": "up"}
        about |= {"all": True} if row["select_all"] else {}
        for key in ("select_src_port", "select_dst_port"):
            if chosen := sorted(ports[uuid] for uuid in uuids(row[key]) if uuid in ports):
                about[key] = chosen
        if vlans := sorted(atoms(row["select_vlan"])):
            about["select_vlan"] = vlans
        about |= _optional("output_vlan", row["output_vlan"])
        self.nodes[identity] = about
        self.edge("mirror", bridge, identity)
        for uuid in uuids(row["output_port"]):
            if uuid in ports:
                self.edge("output", identity, ports[uuid])

    def _port_id(self, port: Row) -> str:
        name = str(port["name"])
        attached = [self.interfaces[uuid]["name"] for uuid in uuids(port["interfaces"])]
        return name if attached == [name] else f"bond:{name}"

    def _patches(self) -> None:
        for name, one in self.nodes.items():
            if one["kind"] != "patch":
                continue
            peer = self.nodes.get(one["peer"], {})
            if peer.get("kind") != "patch" or peer["peer"] != name:
                one |= {"state": "down", "reason": f"its peer {one['peer']} is not there"}
            elif name < one["peer"]:
                self.edge("patch", name, one["peer"])

    def _devices(self, targets: set[str]) -> None:
        shown = self.devices.shown(targets | set(self.nodes))
        for identity in sorted(shown - set(self.nodes)):
            device = self.devices.named(identity)
            assert device is not None, identity
            self.nodes[identity] = node(device)
        for kind, start, end, about in self.devices.edges():
            if start in shown and self.nodes[start]["kind"] != "bridge":
                self.edge(kind, start, end, **about)

    def _guest(self, guest: Node) -> None:
        identity = f"guest:{guest['name']}"
        self.nodes[identity] = guest
        for number, nic in enumerate(guest["nics"]):
            if nic["device"] in self.nodes:
                self.edge("nic", identity, nic["device"], mac=nic["mac"], number=number)


def _local(device: dict[str, Any] | None) -> Node:
    """Return what a bridge's node says of its local port: by it the host itself is on the bridge."""
    if device is None:
        return {}
    shown = node(device)
    return {"local_port": shown["state"]} | {
        key: shown[key] for key in ("mac", "mtu", "addresses") if key in shown
    }


def _vlans(port: Row) -> dict[str, Any]:
    found = _optional("vlan", port["tag"])
    if trunks := sorted(atoms(port["trunks"])):
        found["trunks"] = trunks
    return found | _optional("vlan_mode", port["vlan_mode"])


def _tunnel(row: Row) -> Node:
    options, bfd = mapping(row["options"]), mapping(row["bfd_status"])
    words = {"remote_ip": "remote", "local_ip": "local", "key": "key", "dst_port": "dst_port"}
    one = {ours: options[key] for key, ours in words.items() if key in options} | _link(row)
    if egress := mapping(row["status"]).get("tunnel_egress_iface"):
        one["egress"] = egress
    if bfd.get("state") and mapping(row["bfd_status"])["state"] != "up":
        one |= {"state": "down", "reason": f"BFD is {bfd['state']}"}
    elif atoms(row["cfm_fault"]) == [True]:
        one |= {"state": "down", "reason": "CFM reports a fault"}
    return one


def _optional(key: str, column: Any) -> dict[str, Any]:
    """Return a column that holds one value or none."""
    return dict.fromkeys([key], atoms(column)[0]) if atoms(column) else {}


def _link(row: Row) -> Node:
    states = [str(word) for key in ("admin_state", "link_state") for word in atoms(row[key])]
    return {"state": "down" if "down" in states else "up" if states else "unknown"}

"""What a declared overlay makes of one host's switch, in the words of ``ovs.switch_managed``; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.errors import Refused
from corral.overlay import names, vlans
from corral.overlay.flows import Way, flows
from corral.overlay.model import Overlay
from corral.ovs.host import Host

MANAGED = "ovs.overlay_managed"  # whose bridges, ports and flows are purged when no longer declared
# Keys of external_ids: the network that a port belongs to, the host at a tunnel's far end, the networks' MTU.
NETWORK, PEER, MTU = "corral-network", "corral-peer", "corral-mtu"
Ports = dict[str, dict[str, Any]]


def switch(overlay: Overlay, host: Host, mtu: int) -> dict[str, Any]:
    """Return the declaration of this host's integration and tunnel bridges.

    host
        Its switch as it is.
    mtu
        That of what hangs on the networks.

    Raises ``Refused`` for what is on this host and must not be taken over.
    """
    chosen = chosen_vlans(overlay, host)
    common = {} if overlay.datapath_type is None else {"datapath_type": overlay.datapath_type}
    integration = {
        "external_ids": {**_kept(overlay, host, chosen), MTU: str(mtu)},
        "ports": _integration_ports(overlay, host, chosen, mtu),
    }
    # Without flows, a bridge that fails standalone would join all tunnels and all networks to one.
    tunnel = {
        "fail_mode": "secure",
        "ports": _tunnel_ports(overlay),
        "flows": _flows(overlay, chosen),
    }
    at = overlay.bridges
    return {"bridges": {at.integration: common | integration, at.tunnel: common | tunnel}}


def chosen_vlans(overlay: Overlay, host: Host) -> dict[str, int]:
    """Return the VLAN of each network on this host.

    It is where it was written down; should that be lost, the ports that were made for a network have it.
    """
    there = host.bridges.get(overlay.bridges.integration, {})
    ports = {**there.get("ports", {}), **there.get("bonds", {})}
    ours = {name: spec for name, spec in ports.items() if host.owners.get(name) == MANAGED}
    fakes = {_said(spec): spec.get("tag") for spec in ours.values() if spec.get("fake_bridge")}
    held = {name: vlan for name, vlan in fakes.items() if name and vlan}
    held |= vlans.kept(there.get("external_ids", {}))
    used = {vlan for spec in ports.values() for vlan in (spec.get("tag"), *spec.get("trunks", ()))}
    return vlans.allocate(overlay.here, held, used - set(held.values()))


def _said(port: Mapping[str, Any]) -> str:
    """Return the network that a port says it belongs to, or nothing."""
    return str(port.get("external_ids", {}).get(NETWORK, ""))


def _kept(overlay: Overlay, host: Host, chosen: Mapping[str, int]) -> dict[str, str | None]:
    """Return what is written down of the VLANs; ``None`` for networks that this host no longer has."""
    ids = host.bridges.get(overlay.bridges.integration, {}).get("external_ids", {})
    gone = {key: None for key in ids if key.startswith(vlans.KEPT)}
    return {**gone, **{vlans.KEPT + name: str(vlan) for name, vlan in chosen.items()}}


def _integration_ports(overlay: Overlay, host: Host, chosen: Mapping[str, int], mtu: int) -> Ports:
    ports: Ports = {names.TO_TUNNEL: _patch(names.TO_INTEGRATION)}
    for name, one in overlay.here.items():
        made = {port for port, settings in one.ports.items() if settings and settings.type == "internal"}
        if one.served_by == overlay.host:
            made.add(names.gateway(name))
        own = {"type": "internal", "tag": chosen[name], "mtu": mtu, "external_ids": {NETWORK: name}}
        # What ovs-vsctl(8) calls a fake bridge: whoever adds a port to it, such as libvirt, gives it the tag.
        ports[overlay.bridge(name)] = own | {"fake_bridge": True}
        for port in sorted({*one.ports, *made}):
            there = _is_there(overlay, host, name, port)
            if port == names.gateway(name):
                ports[port] = own | {"mac": names.gateway_mac(name)}
            elif port in made:
                ports[port] = own
            elif there:
                ports[port] = {"tag": chosen[name]}
    return {**_members(overlay, host, chosen), **ports}


def _is_there(overlay: Overlay, host: Host, network: str, port: str) -> bool:
    """Return whether a port that somebody else makes can join a network; it may come later."""
    for bridge, spec in host.bridges.items():
        if port in spec.get("ports", {}) and bridge != port:
            wanted = overlay.bridges.integration
            if bridge != wanted:
                raise Refused(f"networks.{network}.ports.{port}: is a port of {bridge}, not of {wanted}.")
            return True
    return False


def _members(overlay: Overlay, host: Host, chosen: Mapping[str, int]) -> Ports:
    """Return the ports of others that say themselves which network they belong to."""
    ports = host.bridges.get(overlay.bridges.integration, {}).get("ports", {})
    return {
        port: {"tag": chosen[name]}
        for port, spec in ports.items()
        if (name := _said(spec)) in chosen and host.owners.get(port) != MANAGED
    }


def _tunnel_ports(overlay: Overlay) -> Ports:
    ports: Ports = {names.TO_INTEGRATION: _patch(names.TO_TUNNEL)}
    for peer in overlay.neighbours:
        options = {"key": "flow", "local_ip": overlay.address, "remote_ip": overlay.peers[peer]}
        if overlay.dst_port is not None:
            options["dst_port"] = str(overlay.dst_port)
        port = {"type": overlay.encapsulation, "options": options, "external_ids": {PEER: peer}}
        ports[names.tunnel(overlay.encapsulation, peer)] = port | {
            "bfd": {"enable": "true" if overlay.bfd else None}
        }
    return ports


def _patch(peer: str) -> dict[str, Any]:
    return {"type": "patch", "options": {"peer": peer}}


def _flows(overlay: Overlay, chosen: Mapping[str, int]) -> list[str]:
    tunnels = {peer: names.tunnel(overlay.encapsulation, peer) for peer in overlay.neighbours}
    ways = []
    for name, one in overlay.here.items():
        hosts = set(overlay.hosts(one))
        ways.append(Way(one.key, chosen[name], [port for peer, port in tunnels.items() if peer in hosts]))
    return flows(ways, list(tunnels.values()))

"""One look each at what a host's network is made of: Open vSwitch, the kernel, libvirt and the leases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from corral.dhcp import leases
from corral.dhcp import wire as dhcp
from corral.errors import Error, NotInstalled
from corral.guest.connections import Connections
from corral.guest.library import library
from corral.guest.look import state_of
from corral.ovs import ask, status
from corral.ovs.rows import uuids
from corral.topology import namespaces
from corral.topology.domains import Domain, domain
from corral.topology.seen import TUNNELS, Namespace, Seen
from corral.topology.trace import Way, way

Row = dict[str, Any]

COLUMNS = {
    "Bridge": ["_uuid", "name", "ports", "mirrors", "datapath_type", "fail_mode"],
    "Port": ["_uuid", "name", "interfaces", "tag", "trunks", "vlan_mode", "fake_bridge"],
    "Interface": [
        *("_uuid", "name", "type", "options", "external_ids", "ofport", "error", "link_state", "admin_state"),
        *("mtu", "mac_in_use", "bfd_status", "cfm_fault", "status"),
    ],
    "Mirror": [
        *("_uuid", "name", "select_all", "select_src_port", "select_dst_port", "select_vlan"),
        *("output_port", "output_vlan"),
    ],
}
STATES = ("up", "down")
QEMU, LXC = "qemu:///system", "lxc:///system"  # most hosts have no containers of libvirt's
Found = TypeVar("Found")


def look(timeout: float) -> Seen:
    """Look at this host.

    timeout
        Seconds within which each daemon, and the kernel, must answer.

    Raises ``Unavailable`` when ovsdb-server or the kernel does not. The rest is no reason to see nothing:
    what does not answer is told in ``notes``.
    """
    rows = dict(zip(COLUMNS, ask.rows(timeout, COLUMNS), strict=True))
    wanted = {row["name"] for row in rows["Interface"] if row["type"] in ("", "internal", "tap")}
    places, notes = namespaces.look(timeout, lambda seen: _complete(seen, wanted))
    bonds = _told(notes, "The bonds", lambda: _bonds(timeout, rows)) or {}
    domains = _told(notes, "The guests", lambda: _guests(timeout)) or []
    addresses: dict[str, list[str]] = {}
    routers = _told(notes, "The leases", lambda: _leased(addresses)) or {}
    for known in (one for place in places for one in place.neighbours):
        held = addresses.setdefault(known["mac"], [])
        if known["address"] not in held:
            held.append(known["address"])
    return Seen(rows, places, bonds, domains, addresses, routers, notes)


def _told(notes: list[str], what: str, look: Callable[[], Found]) -> Found | None:
    try:
        return look()
    except NotInstalled:
        return None  # a switch without guests, or without DHCP, lacks nothing
    except Error as silent:
        notes.append(f"{what} could not be looked at: {silent}")
        return None


def _complete(seen: Sequence[Namespace], wanted: set[str]) -> bool:
    """Return whether every port, and every far end of a device, is in a namespace that was looked at."""
    here = {one["name"] for place in seen for one in place.devices}
    far = {(place.name, one["link_namespace"]) for place in seen for one in place.devices}
    known = {(place.name, number) for place in seen for number in (*place.ids, None)}
    return wanted <= here and far <= known


def _bonds(timeout: float, rows: dict[str, list[Row]]) -> dict[str, Row]:
    if all(len(uuids(row["interfaces"])) < 2 for row in rows["Port"]):
        return {}
    shown, negotiated = ask.control(timeout, ["bond/show"], ["lacp/show"])
    links = {row["name"]: str(row["link_state"]) for row in rows["Interface"] if row["link_state"] in STATES}
    return status.bonds(shown, status.lacp(negotiated), links)


def _guests(timeout: float) -> list[Domain]:
    """Return libvirt's guests: QEMU's, and containers where libvirt answers for these, too."""
    found = _domains(QEMU, timeout)
    with suppress(Error):
        found += _domains(LXC, timeout)
    return found


def _domains(uri: str, timeout: float) -> list[Domain]:
    line = Connections(uri, timeout, 1)
    try:
        return line.call("The guests could not be read", _read)
    finally:
        line.close()


def _read(connection: Any) -> list[Domain]:
    libvirt = library()
    found = []
    for one in connection.listAllDomains():
        try:
            found.append(domain(one.name(), state_of(*one.state())[0], one.XMLDesc()))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # it has just gone
                raise
    return found


def _leased(addresses: dict[str, list[str]]) -> dict[str, str]:
    """Add the leases of all subnets; return the subnets with their routers."""
    routers = {}
    for name in dhcp.subnets():
        for lease in leases.leases(name):
            addresses.setdefault(lease.mac, []).append(lease.address)
        subnet = dhcp.served(name)
        if subnet is not None and subnet.router is not None:
            routers[str(subnet.network)] = str(subnet.router)
    return routers


def traced(timeout: float, seen: Seen, bridge: str, flow: str) -> Way:
    """Ask ovs-vswitchd what it would do with a frame; nothing is sent, and nothing learned of it."""
    questions = ["ofproto/trace", bridge, flow], ["dpif/show"], ["bond/show"]
    said, ports, bonds = ask.control(timeout, *questions)
    tunnels = {row["name"] for row in seen.rows["Interface"] if row["type"] in TUNNELS}
    return way(said, ports, bonds, tunnels)

"""Look at all that a guest's DHCPDISCOVER passes, and listen for what comes of one.

This is a product of its own, which composes ``ovs``, ``dhcp`` and ``topology`` as ``pool`` composes its
parts: what is broken between a guest and its DHCP server lies in any of them, and none of them knows the
others. Here is what leaves the process; ``chain`` has the verdict.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from corral.dhcp import wire as dhcp
from corral.diagnose import servers as dhcp_servers
from corral.diagnose.attach import Attachment, attachment
from corral.diagnose.capture import Capture, Place
from corral.diagnose.chain import diagnosis
from corral.diagnose.facts import Facts, Port, Server, Target
from corral.diagnose.frames import ANSWERED, BROADCAST, discover
from corral.diagnose.netfilter import netfilter
from corral.diagnose.servers import Found
from corral.diagnose.target import device, resolve
from corral.errors import Refused
from corral.ovs import look as ovs
from corral.ovs.ask import control, ofctl
from corral.ovs.rows import atoms, fault, uuids
from corral.ovs.trace import Trace, ports, trace
from corral.ovs.tunnels import Fleet
from corral.topology import wire as topology
from corral.topology.devices import Devices
from corral.topology.seen import Seen

SOMEBODY = "02:00:00:00:00:01"


class Look:
    """One look at this host, for one guest.

    name
        A guest of libvirt, a port, a MAC address, or a network namespace.
    mac
        Which of a guest's network cards.
    subnet
        The subnet of Corral's that is to serve it; None: the one that seems to.
    fleet
        What ``ovs.tunnels`` returned on each host, by minion.
    timeout
        Seconds within which each daemon must answer.
    """

    def __init__(self, name: str, mac: str | None, subnet: str | None, fleet: Fleet, timeout: float) -> None:
        self._timeout, self._subnet, self._fleet = timeout, subnet, fleet
        self._seen = topology.look(timeout)
        self._interfaces = {str(row["name"]): row for row in self._seen.rows["Interface"]}
        self._devices = Devices(self._seen.namespaces, self._interfaces)
        self._ports = _ports(self._seen)
        self.target, self._place = resolve(name, mac, self._seen, self._devices)

    def diagnose(self, seconds: float, probe: bool) -> dict[str, Any]:
        """Return the diagnosis, after at most this many seconds of listening."""
        facts = self._facts(probe)
        return diagnosis(self._listened(facts, seconds, probe))

    def _facts(self, probe: bool) -> Facts:
        hangs = self._attached(self._place)
        port = self._port(hangs, self.target)
        tunnels = ovs.declared_tunnels(self._timeout)
        request = self._trace(port, self.target.mac, BROADCAST, "udp_src=68,udp_dst=67", tunnels)
        found = dhcp_servers.servers(place.name for place in self._seen.namespaces)
        known = [(one, self._server(one)) for one in found]
        chosen = self._chosen(known, port, hangs, request)
        server = chosen[1] if chosen else None
        facts = Facts(
            self.target,
            port,
            server,
            tuple(f"{one.label} on {one.device_name}" for _, one in known if one is not server),
            hangs.bridges,
            bool(server and server.port is None and self._where(server) in hangs.places),
            request,
            tunnels=self._tunnels(request, probe) if server is None else {},
            netfilter=netfilter() if hangs.bridges else None,
            addresses=dhcp_servers.addresses(chosen[0], self.target.mac) if chosen else None,
        )
        if server is None or server.port is None:
            return facts
        reply = self._trace(server.port, None, self.target.mac, "udp_src=67,udp_dst=68", tunnels, server.tag)
        return replace(facts, reply=reply)

    def _tunnels(self, request: Trace | None, probe: bool) -> dict[str, Any]:
        ways = request.tunnels if request else ()
        return ovs.tunnel_status(ways, self._fleet, probe, self._timeout) if ways else {}

    def _attached(self, place: Any) -> Attachment:
        if place is None:
            return Attachment()
        return attachment(self._devices, place, self._interfaces)

    def _port(self, hangs: Attachment, target: Target) -> Port | None:
        """Return the port by which the guest's frames come to Open vSwitch."""
        names = [name for name, _ in hangs.interfaces] or [target.tap_name or ""]
        return next((self._ports[name] for name in names if name in self._ports), None)

    def _server(self, found: Found) -> Server:
        place = self._placed(found)
        hangs = self._attached(place)
        name, tag = next(((one, tag) for one, tag in hangs.interfaces if one in self._ports), ("", None))
        seen = device(self._devices, place)
        return Server(
            found.device or (seen.name if seen else "all devices"),
            found.namespace,
            found.process,
            found.subnet,
            found.running,
            seen,
            self._ports.get(name),
            tag,
            dhcp_servers.declaration(found) if found.subnet else {},
        )

    def _placed(self, found: Found) -> Any:
        """Return the device that a server listens on; of all of them, the first behind a switch."""
        here = [
            place
            for place, one in self._devices.all.items()
            if place[0] == found.namespace
            and (one["name"] == found.device or (not found.device and one["addresses"]))
        ]
        behind = [place for place in here if self._attached(place).interfaces]
        return next(iter(behind or here), None)

    def _where(self, server: Server) -> Any:
        return next(
            (
                place
                for place, one in self._devices.all.items()
                if (place[0], one["name"]) == (server.namespace, server.device_name)
            ),
            None,
        )

    def _chosen(
        self,
        known: list[tuple[Found, Server]],
        port: Port | None,
        hangs: Attachment,
        request: Trace | None,
    ) -> tuple[Found, Server] | None:
        """Return the server that serves the guest, or is to."""
        if self._subnet is not None:
            named = [pair for pair in known if pair[0].subnet == self._subnet]
            if not named:
                dhcp.known(self._subnet)
            return named[0]
        bridges = {port.bridge, *(name for name, _ in request.outputs)} if port and request else set()

        def rank(pair: tuple[Found, Server]) -> int:
            found, server = pair
            reached = bool(server.port and request and request.reaches(server.port.name, server.tag))
            near = bool(server.port and server.port.bridge in bridges) or self._where(server) in hangs.places
            expected = dhcp_servers.expects(found, self.target.mac)
            return 8 * expected + 4 * reached + 2 * near + (near and found.subnet is not None)

        ours = [pair for pair in known if pair[0].subnet is not None]
        ranked = sorted((pair for pair in known if rank(pair)), key=rank, reverse=True)
        return ranked[0] if ranked else ours[0] if len(ours) == 1 else None

    def _trace(
        self,
        port: Port | None,
        source: str | None,
        destination: str,
        udp: str,
        tunnels: Mapping[str, Any],
        tag: int | None = None,
    ) -> Trace | None:
        """Return where a frame goes that comes in by a port; None where there is no such port."""
        if port is None or port.number is None or not destination:
            return None
        ends = f"dl_src={source or SOMEBODY},dl_dst={destination},nw_src=0.0.0.0,nw_dst=255.255.255.255"
        vlan = f",dl_vlan={tag}" if tag else ""
        flow = f"in_port={port.number},udp,{ends},{udp},nw_ttl=64{vlan}"
        shown, traced = control(self._timeout, ("dpif/show",), ("ofproto/trace", port.bridge, flow))
        return trace(traced, ports(shown), tunnels)

    def _listened(self, facts: Facts, seconds: float, probe: bool) -> Facts:
        """Capture on both ends, while a DHCPDISCOVER is sent in the guest's stead, if it can be."""
        tap, server = self.target.tap, facts.server.device if facts.server else None
        ends: list[Place] = [(one.namespace, one.name) for one in (tap, server) if one and one.up]
        if tap is None or not tap.up or not self.target.mac:
            return facts
        port, here = facts.port, (tap.namespace, tap.name)
        sends = probe and port is not None and port.number is not None
        with Capture(ends, self.target.mac) as capture:
            capture.wait(
                seconds,
                lambda got: any(one.kind in ANSWERED for one in got[here]),
                lambda: self._send(port) if sends and port else None,
            )
            got = capture.messages
        there = got.get((server.namespace, server.name)) if server else None
        return replace(
            facts,
            at_tap=tuple(got[here]),
            at_server=None if there is None else tuple(there),
            probed=sends,
            seconds=seconds,
        )

    def _send(self, port: Port) -> None:
        """Have the bridge take a DHCPDISCOVER as one that has come in by the guest's port."""
        protocols = ovs.bridges(self._timeout)[port.bridge]["protocols"]
        frame = discover(self.target.mac, int.from_bytes(os.urandom(4), "big"))
        ofctl(
            self._timeout, protocols, "packet-out", port.bridge, str(port.number), "resubmit(,0)", frame.hex()
        )


def _ports(seen: Seen) -> dict[str, Port]:
    """Return the interfaces of Open vSwitch by name."""
    port_by_uuid = {row["_uuid"][1]: row for row in seen.rows["Port"]}
    interfaces = {row["_uuid"][1]: row for row in seen.rows["Interface"]}
    found = {}
    for bridge in seen.rows["Bridge"]:
        for port in (port_by_uuid[uuid] for uuid in uuids(bridge["ports"])):
            for row in (interfaces[uuid] for uuid in uuids(port["interfaces"])):
                number = row["ofport"] if isinstance(row["ofport"], int) and row["ofport"] > 0 else None
                wrong = fault(row)
                found[row["name"]] = Port(
                    row["name"], port["name"], bridge["name"], number, _vlan(port), wrong
                )
    return found


def _vlan(port: Mapping[str, Any]) -> int | None:
    """Return the VLAN of frames without a tag (ovs-vswitchd.conf.db(5), Port, vlan_mode)."""
    tag = port["tag"] if isinstance(port["tag"], int) else None
    trunks: Collection[int] = atoms(port["trunks"])
    if tag is not None and port["vlan_mode"] != "trunk":
        return tag
    return 0 if not trunks or 0 in trunks else None


def diagnose(
    name: str,
    mac: str | None,
    subnet: str | None,
    seconds: float,
    probe: bool,
    fleet: Fleet,
    timeout: float,
) -> dict[str, Any]:
    """Return the way of a guest's DHCPDISCOVER, hop by hop, and the first one that is broken."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 60:
        raise Refused(f"seconds: {seconds!r} is not a number of seconds from 0 to 60.")
    return Look(str(name), mac, subnet, fleet, timeout).diagnose(float(seconds), probe)

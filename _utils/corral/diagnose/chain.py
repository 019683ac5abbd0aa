"""The way of a guest's DHCPDISCOVER, hop by hop, and the first one that is broken; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from corral.diagnose.facts import Device, Facts, Fix, Port, Server
from corral.diagnose.frames import ANSWERED, ASKED, Seen
from corral.ovs.trace import Trace

DISCOVER, OFFER = "a DISCOVER", "an OFFER"


@dataclass(frozen=True)
class Hop:
    """One hop.

    ok
        True or False; None where nothing is known, or nothing is there to be known.
    seen
        What was seen there, in a sentence without its full stop; of a broken one it is the reason.
    fix
        The state that mends it.
    """

    ok: bool | None
    seen: str
    fix: Fix | None = None


def diagnosis(facts: Facts) -> dict[str, Any]:
    """Return the hops in the order of the way, and the first broken one with what mends it."""
    hops = {name: hop for name, look in HOPS.items() if (hop := look(facts)) is not None}
    if hops["offer"].ok:  # what was seen counts more than what was concluded
        hops = {name: replace(hop, ok=hop.ok or None) for name, hop in hops.items()}
    broken = next((name for name, hop in hops.items() if hop.ok is False), None)
    worst = hops[broken] if broken else None
    return {
        "guest": facts.target.guest or facts.target.name,
        "mac": facts.target.mac,
        "healthy": broken is None,
        "broken": broken,
        "reason": f"{worst.seen}." if worst else "",
        "fix": _state(worst.fix) if worst and worst.fix else None,
        "hops": [{"hop": name, "ok": hop.ok, "seen": hop.seen} for name, hop in hops.items()],
        "captured": {
            place: None if messages is None else [asdict(one) for one in messages]
            for place, messages in (("tap", facts.at_tap), ("server port", facts.at_server))
        },
    }


def _state(fix: Fix) -> dict[str, Any]:
    return {"state": fix["state"], "arguments": {key: value for key, value in fix.items() if key != "state"}}


def _kinds(messages: Sequence[Seen] | None, wanted: Sequence[str]) -> list[Seen]:
    return [one for one in messages or () if one.kind in wanted]


def _up(device: Device) -> dict[str, Any] | None:
    """Return the state that brings a device up; none for one in a namespace that has no name."""
    if device.namespace.startswith("pid "):
        return None
    where = {"namespace": device.namespace} if device.namespace else {}
    return {"state": "link.managed", "name": device.name, **where, "up": True}


def _down(device: Device) -> Hop | None:
    if not device.up:
        return Hop(False, f"{device.label} is down", _up(device))
    if not device.carrier:
        return Hop(False, f"{device.label} is up, but has no carrier: its other end is down or gone")
    return None


def _guest(facts: Facts) -> Hop:
    target = facts.target
    if target.guest and target.state != "running":
        fix = {"state": "guest.running", "name": target.guest}
        return Hop(False, f"the guest {target.guest} is {target.state}", fix)
    if target.nic and not target.nic.up:
        return Hop(False, f"the guest's own end, {target.nic.label}, is down", _up(target.nic))
    what = f"the guest {target.guest} runs" if target.guest else f"{target.name} is there"
    return Hop(True, f"{what}, its address is {target.mac}")


def _tap(facts: Facts) -> Hop:
    target = facts.target
    if target.tap is None:
        name = target.tap_name
        missing = f"there is no device {name}" if name else f"{target.name} has no device"
        return Hop(False, f"{missing} on this host to carry its frames")
    return _down(target.tap) or Hop(True, f"{target.tap.label} is up")


def _port(facts: Facts) -> Hop:
    port, tap = facts.port, facts.target.tap
    if port is None and facts.linux_bridges:
        return Hop(
            None, f"it hangs on the Linux bridge {facts.linux_bridges[0]}, and on no port of Open vSwitch"
        )
    if port is None:
        name = tap.name if tap else facts.target.name
        return Hop(False, f"{name} is no port of a switch", _attach(name, facts.server))
    if port.error:
        return Hop(False, f"Open vSwitch could not set up {port.name}: {port.error}")
    return Hop(True, port.place)


def _attach(name: str, server: Server | None) -> Fix | None:
    """Return the state that makes a device a port beside the server's."""
    if server is None or server.port is None:
        return None
    return {
        "state": "ovs.port_present",
        "name": name,
        "bridge": server.port.bridge,
        "tag": server.port.vlan or None,
    }


def _server(facts: Facts) -> Hop:
    server = facts.server
    if server is None:
        others = f" (others: {', '.join(facts.others)})" if facts.others else ""
        return _far_server(facts, others)
    if server.running is not True:
        what = "does not run" if server.running is False else f"runs {server.running}"
        return Hop(False, f"{server.label} {what}", _again(server))
    return Hop(
        True, f"{server.label} listens on {server.device.label if server.device else server.device_name}"
    )


def _far_server(facts: Facts, others: str) -> Hop:
    """Return what is known of a server elsewhere, of which only its answers can be seen."""
    none = f"no DHCP server of this host serves this switch{others}"
    ways = ", ".join(facts.tunnels)
    if _kinds(facts.at_tap, ANSWERED):
        return Hop(True, f"{none}, one elsewhere answers")
    asked = facts.probed or bool(_kinds(facts.at_tap, ASKED))
    if not asked or any(not tunnel["healthy"] for tunnel in facts.tunnels.values()):
        return Hop(None, none)
    return Hop(False, f"{none}, and none {f'behind {ways}' if ways else 'elsewhere'} has answered")


def _again(server: Server) -> Fix | None:
    if server.subnet is None:
        return None
    return {"state": "dhcp.subnet_managed", "name": server.subnet, **server.fields}


def _server_port(facts: Facts) -> Hop | None:
    server = facts.server
    if server is None:
        return None
    if server.device is None:
        return Hop(False, f"there is no device {server.device_name}, on which {server.label} is to listen")
    return _down(server.device) or _plugged(server, server.device, facts.meets)


def _plugged(server: Server, device: Device, meets: bool) -> Hop:
    if meets:
        return Hop(True, f"{device.label} is up, on the guest's own Linux bridge")
    if server.port is None:
        return Hop(False, f"{device.label}, where {server.label} listens, is behind no port of a switch")
    if server.port.error:
        return Hop(False, f"Open vSwitch could not set up {server.port.name}: {server.port.error}")
    return Hop(True, server.port.place)


def _path(facts: Facts) -> Hop | None:
    server, request = facts.server, facts.request
    if facts.meets:
        return Hop(True, f"both are on the Linux bridge {facts.linux_bridges[0]}")
    if request is None or facts.port is None:
        return None
    if server is None or server.port is None:
        return _leaves(request)
    if not request.reaches(server.port.name, server.tag):
        return _lost(request, facts.port, _seen_as(server, server.port), DISCOVER)
    if facts.probed and facts.at_server is not None and not _kinds(facts.at_server, ASKED):
        return Hop(
            False,
            f"by its flows the switch forwards a DISCOVER from {facts.port.name} to {server.port.name},"
            f" but none arrived within {facts.seconds:g} s",
        )
    return Hop(True, f"the switch forwards a DISCOVER from {facts.port.name} to {server.port.name}")


def _seen_as(server: Server, port: Port) -> Port:
    """Return the server's port in the VLAN that the server is in: on a VLAN's device that is its own."""
    return replace(port, vlan=server.tag) if server.tag else port


def _leaves(request: Trace) -> Hop:
    if request.dropped and not request.outputs:
        return _dropped(request, DISCOVER)
    ways = ", ".join(dict.fromkeys([name for name, _ in request.outputs] + list(request.tunnels)))
    return Hop(None, f"the switch sends a DISCOVER to {ways or 'nobody'}")


def _lost(trace: Trace, here: Port, there: Port, what: str) -> Hop:
    """Return why a frame from one port does not come out at the other."""
    # A flow of a bridge that is only flooded to, such as that of the tunnels, may drop its copy with reason.
    aside = trace.dropped is not None and here.bridge == there.bridge != trace.dropped["bridge"]
    if trace.dropped and not aside:
        return _dropped(trace, what)
    if trace.remarks and not trace.outputs:
        return Hop(False, f"{here.bridge} drops {what} from {here.name}: {trace.remarks[-1]}")
    guest, server = (here, there) if what == DISCOVER else (there, here)
    fix = {
        "state": "ovs.port_present",
        "name": guest.port,
        "bridge": server.bridge,
        "tag": server.vlan or None,
    }
    if there.bridge not in (here.bridge, *(name for name, _ in trace.outputs)):
        return Hop(False, f"{here.name} is on {here.bridge}, from where nothing comes to {there.bridge}", fix)
    if here.vlan != there.vlan:
        vlans = [f"VLAN {one.vlan}" if one.vlan else "no VLAN" for one in (here, there)]
        why = f"{here.name} is in {vlans[0]}, but {there.name} is in {vlans[1]}"
        return Hop(False, f"{why}: a broadcast does not leave its VLAN", fix)
    if trace.dropped:
        return _dropped(trace, what)
    ways = ", ".join(name for name, _ in trace.outputs) or "nobody"
    return Hop(False, f"the switch forwards {what} from {here.name} to {ways}, but not to {there.name}")


def _dropped(trace: Trace, what: str) -> Hop:
    flow = trace.dropped or {}
    where = f"table {flow['table']} of {flow['bridge']}"
    if not flow["match"]:
        return Hop(False, f"{where} has no flow for {what}, and so drops it")
    whose = "Corral's own" if flow["ours"] else "not Corral's"
    return Hop(False, f"a flow in {where} drops {what}: {flow['match']} (cookie {flow['cookie']}, {whose})")


def _tunnel(facts: Facts) -> Hop | None:
    if not facts.tunnels or (facts.server is not None and facts.server.port is not None):
        return None
    ailing = {name: tunnel["reason"] for name, tunnel in facts.tunnels.items() if not tunnel["healthy"]}
    if ailing:
        return Hop(False, "; ".join(f"the tunnel {name}: {reason}" for name, reason in ailing.items()))
    return Hop(True, f"healthy: {', '.join(facts.tunnels)}")


def _netfilter(facts: Facts) -> Hop | None:
    called = facts.netfilter
    if called is None:
        return None
    bridge = facts.linux_bridges[0]
    if not called.called:
        return Hop(True, f"frames on the Linux bridge {bridge} do not pass iptables")
    if not called.dropping or _kinds(facts.at_tap, ANSWERED):
        return Hop(True, f"frames on the Linux bridge {bridge} pass iptables, which lets them through")
    return Hop(
        False,
        f"bridge-nf-call-iptables is 1, so frames on the Linux bridge {bridge} pass"
        f" {', '.join(called.dropping)}, whose policy is to drop them",
        {"state": "sysctl.present", "name": "net.bridge.bridge-nf-call-iptables", "value": 0},
    )


def _reply(facts: Facts) -> Hop | None:
    server, reply = facts.server, facts.reply
    if reply is None or facts.port is None or server is None or server.port is None:
        return None
    if not reply.reaches(facts.port.name):
        return _lost(reply, _seen_as(server, server.port), facts.port, OFFER)
    answers = _kinds(facts.at_server, ANSWERED)
    if answers and facts.at_tap is not None and not _kinds(facts.at_tap, ANSWERED):
        return Hop(False, f"an OFFER left by {server.port.name}, but did not arrive at {facts.port.name}")
    return Hop(True, f"the switch forwards an OFFER from {server.port.name} to {facts.port.name}")


def _addresses(facts: Facts) -> Hop | None:
    server, left = facts.server, facts.addresses
    if server is None or left is None:
        return None
    if left.own:
        return Hop(True, f"{left.own} is the guest's")
    if left.free > 0:
        return Hop(True, f"{left.free} of {left.total} addresses of the range are free")
    fix = {**server.fields, "range": left.wider} if left.wider else None
    fixed = {"state": "dhcp.subnet_managed", "name": server.subnet, **fix} if fix else None
    if not left.total:
        return Hop(False, f"the subnet {server.subnet} has no range, and no reservation for the guest", fixed)
    return Hop(
        False, f"all {left.total} addresses of the range of the subnet {server.subnet} are taken", fixed
    )


def _offer(facts: Facts) -> Hop:
    offers = _kinds(facts.at_tap, ANSWERED)
    if offers and not any(one.intact for one in offers):
        return Hop(
            False,
            f"an {offers[-1].kind} arrives at the guest with a wrong checksum, so it is thrown away:"
            " its computing was left to a network card, of which there is none on this way (offload)",
        )
    if offers:
        by = f" by {offers[-1].server}" if offers[-1].server else ""
        return Hop(True, f"an {offers[-1].kind} of {offers[-1].address}{by} arrives at the guest")
    asked = _kinds(facts.at_server, ASKED)
    if facts.server is not None and asked and not _kinds(facts.at_server, ANSWERED):
        return Hop(
            False,
            f"a {asked[0].kind} arrives at {facts.server.device_name}, but {facts.server.label} has not"
            f" answered it within {facts.seconds:g} s:"
            " a firewall or its own configuration keeps it from that",
        )
    if facts.at_tap is None:
        return Hop(None, "there is nowhere to listen for an offer")
    if facts.probed or _kinds(facts.at_tap, ASKED):
        return Hop(False, f"no offer came within {facts.seconds:g} s")
    return Hop(None, f"the guest asked for nothing within {facts.seconds:g} s")


HOPS: dict[str, Callable[[Facts], Hop | None]] = {
    "guest": _guest,
    "tap": _tap,
    "port": _port,
    "server": _server,
    "server port": _server_port,
    "path": _path,
    "tunnel": _tunnel,
    "netfilter": _netfilter,
    "reply": _reply,
    "addresses": _addresses,
    "offer": _offer,
}

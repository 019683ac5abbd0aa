"""Tunnels as they are, and the verdict on each of them; pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from corral.ovs.status import sections

Tunnel = dict[str, Any]
Fleet = Mapping[str, Mapping[str, Mapping[str, Any]]]  # what ``ovs.tunnels`` said, by minion and by port
Way = tuple[Any, Any, Any]

ETHERNET = 14  # bytes of the inner frame's head
# Bytes between the outer IP header and the inner frame, as Open vSwitch writes them.
ENCAPSULATION = {
    "vxlan": 8 + 8,  # UDP, VXLAN (RFC 7348)
    "geneve": 8 + 8,  # UDP, Geneve without options (RFC 8926)
    "gre": 4,  # (RFC 2784); a key, a checksum and a sequence number take 4 each (RFC 2890)
    "ip6gre": 4,
    "stt": 20 + 18,
    "erspan": 8 + 8,  # GRE with a sequence number, ERSPAN type II; type III has 4 more
    "ip6erspan": 8 + 8,
    "gtpu": 8 + 8,
}
_MILLISECONDS = re.compile(r"(-?\d+)ms$")


def overhead(kind: str, options: Mapping[str, str], version: int) -> int:
    """Return how many bytes fewer than the underlay's MTU a guest's IP packet may have.

    version
        Of the outer IP, 4 or 6.
    """
    keyed = any(key in options for key in ("key", "in_key", "out_key"))
    extras = 0
    if kind in ("gre", "ip6gre"):
        extras = 4 * (keyed + (options.get("csum") == "true") + (options.get("seq") == "true"))
    elif kind in ("erspan", "ip6erspan") and options.get("erspan_ver") == "2":
        extras = 4
    inner = 0 if kind == "gtpu" else ETHERNET  # GTP-U carries packets, not frames
    return (20 if version == 4 else 40) + ENCAPSULATION[kind] + extras + inner


def of_rows(interfaces: Iterable[Mapping[str, Any]]) -> dict[str, Tunnel]:
    """Return the tunnels among the rows of Interface, as declared.

    The rows have plain values: maps as dicts, and None for what is not set.
    """
    found = {}
    for row in interfaces:
        if row["type"] not in ENCAPSULATION:
            continue
        options = row["options"]
        found[row["name"]] = {
            "type": row["type"],
            "key": options.get("key") or options.get("out_key") or options.get("in_key"),
            "remote_ip": options.get("remote_ip"),
            "local_ip": options.get("local_ip"),
            "options": {key: value for key, value in options.items() if key != "psk"},
            "ofport": row["ofport"],
            "error": row["error"],
            "link": row["link_state"],
            "egress": row["status"].get("tunnel_egress_iface"),
            "carrier": row["status"].get("tunnel_egress_iface_carrier"),
            "own_mtu": row["mtu"],
        }
    return found


def remotes(tunnels: Mapping[str, Tunnel]) -> set[str]:
    """Return the addresses of the far ends; a tunnel whose far end is left to flows has none."""
    return {tunnel["remote_ip"] for tunnel in tunnels.values() if is_address(tunnel["remote_ip"])}


def is_address(text: str | None) -> bool:
    try:
        ipaddress.ip_address(text or "")
    except ValueError:
        return False
    return True


def bfd(text: str) -> dict[str, dict[str, Any]]:
    """Return ``bfd/show`` as structure, by port (RFC 5880 has the words)."""
    found = {}
    for name, lines in sections(text):
        said = dict(line.partition(": ")[::2] for line in lines)
        found[name] = {
            "state": said.get("Local Session State"),
            "remote_state": said.get("Remote Session State"),
            "diagnostic": said.get("Local Diagnostic"),
            "remote_diagnostic": said.get("Remote Diagnostic"),
            "forwarding": said.get("Forwarding") == "true",
            "path_down": said.get("Concatenated Path Down") == "true",
            "tx_interval": _interval(said.get("TX Interval")),
            "rx_interval": _interval(said.get("RX Interval")),
            "multiplier": int(said.get("Detect Multiplier") or 0),
        }
    return found


def cfm(text: str) -> dict[str, dict[str, Any]]:
    """Return ``cfm/show`` as structure, by port (IEEE 802.1ag)."""
    found: dict[str, dict[str, Any]] = {}
    for name, lines in sections(text):
        one: dict[str, Any] = {"mpid": None, "fault": None, "health": None, "remotes": {}}
        here = one
        for line in lines:
            key, _, value = line.partition(":")
            value = value.strip()
            if line.startswith("Remote MPID "):
                here = one["remotes"][int(line.split()[2])] = {}
            elif line.startswith("MPID "):
                one["mpid"] = int(key.split()[1])
            elif key == "average health":
                one["health"] = int(value) if value.isdigit() else None
            elif key in ("opstate", "remote_opstate", "fault"):
                here[key] = value
            elif key == "interval":
                one[key] = _interval(value)
        found[name] = one
    return found


def _interval(text: str | None) -> int | None:
    match = _MILLISECONDS.search(text or "")
    return int(match[1]) if match else None


def for_mine(tunnels: Mapping[str, Tunnel], routes: Mapping[str, Mapping[str, Any]]) -> dict[str, Tunnel]:
    """Return what the other ends need to know of these tunnels, by port."""
    return {
        name: {
            **{key: tunnel[key] for key in ("type", "key", "remote_ip")},
            "local_ip": near_address(tunnel, routes),
            "mtu": mtu(tunnel, routes)["guest"],
        }
        for name, tunnel in sorted(tunnels.items())
    }


def near_address(tunnel: Tunnel, routes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the address that the far end sees: the declared one, or the one that the route takes."""
    if is_address(tunnel["local_ip"]):
        return str(tunnel["local_ip"])
    return routes.get(tunnel["remote_ip"] or "", {}).get("source")


def mtu(tunnel: Tunnel, routes: Mapping[str, Mapping[str, Any]]) -> dict[str, int | None]:
    """Return the MTU of the tunnel's port, of the way out, and what a guest's packet may be long."""
    egress = routes.get(tunnel["remote_ip"] or "", {}).get("mtu")
    guest = None
    if egress is not None:
        version = ipaddress.ip_address(tunnel["remote_ip"]).version
        guest = egress - overhead(tunnel["type"], tunnel["options"], version)
    return {"own": tunnel["own_mtu"], "egress": egress, "guest": guest}


def far_ends(fleet: Fleet) -> dict[Way, list[dict[str, Any]]]:
    """Return the ends of the fleet's tunnels by type, own address, and address of the far end."""
    found: dict[Way, list[dict[str, Any]]] = {}
    for minion, ports in sorted(fleet.items()):
        for port, end in sorted((ports or {}).items()):
            shown = {"minion": minion, "port": port, "key": end.get("key"), "mtu": end.get("mtu")}
            found.setdefault((end.get("type"), end.get("local_ip"), end.get("remote_ip")), []).append(shown)
    return found


def far_end(near: Mapping[str, Any], ends: Mapping[Way, Sequence[dict[str, Any]]]) -> dict[str, Any] | None:
    """Return the other end of a tunnel among what the fleet said, or None when nobody said it.

    near
        The tunnel as ``for_mine`` has it. Several tunnels may join the same two hosts: that of the same
        key is the one; without such a one, the only one.
    ends
        What ``far_ends`` made of what the fleet said.
    """
    if not near["local_ip"]:
        return None
    ways = [(near["type"], near["remote_ip"], whom) for whom in (near["local_ip"], "flow")]
    others = [end for way in ways for end in ends.get(way, ())]
    alike = [end for end in others if same_key(end["key"], near["key"])]
    return alike[0] if alike else others[0] if len(others) == 1 else None


def same_key(one: Any, other: Any) -> bool:
    """Whether two keys match on the wire: none is 0, and ``flow`` is any (ovs-vswitchd.conf.db(5), key)."""
    if "flow" in (one, other):
        return True
    return int(str(one or 0), 0) == int(str(other or 0), 0)


def verdict(tunnel: Tunnel) -> dict[str, Any]:
    """Return whether a tunnel is ``healthy``, and the ``reason``: the cause before its effects."""
    reasons = list(_ailments(tunnel))
    return {"healthy": not reasons, "reason": "; ".join(reasons)}


def _ailments(tunnel: Tunnel) -> Iterator[str]:
    if tunnel["error"] or tunnel["ofport"] in (None, -1):
        yield tunnel["error"] or "ovs-vswitchd has not added it, its log says why"
        return
    if is_address(tunnel["remote_ip"]):
        broken = _underlay(tunnel)
        if broken:
            yield broken
            return
    elif tunnel["link"] == "down":
        yield "its link is down"
    yield from _sessions(tunnel)
    yield from _ends(tunnel)


def _underlay(tunnel: Tunnel) -> str:
    """Return what is wrong on the way to the far end; empty when nothing is, as far as was looked."""
    peer, remote = tunnel["peer"], tunnel["remote_ip"]
    if peer["route"] is None:
        return f"there is no route to {remote}"
    device = peer["route"]["device"]
    neighbour = peer["neighbour"] or {}
    if peer["route"]["up"] is False:
        return f"{device}, by which {remote} is reached, is down"
    if tunnel["carrier"] == "down" or peer["route"]["carrier"] is False:
        return f"{tunnel['egress'] or device}, by which {remote} is reached, has no carrier"
    if neighbour.get("state") in ("FAILED", "INCOMPLETE"):
        return f"{neighbour['address']} does not answer on {device}"
    return _unheard(remote, peer["echo"], tunnel["mtu"]["egress"])


def _unheard(remote: str, echo: Mapping[str, Any] | None, size: int | None) -> str:
    if echo is not None and not echo["answers"]:
        return f"{remote} does not answer an ICMP echo"
    if echo is not None and not echo["full_size"]:
        return (
            f"{remote} does not answer an ICMP echo of {size} bytes: something on the way has a smaller MTU"
        )
    return ""


def _sessions(tunnel: Tunnel) -> Iterator[str]:
    session, check = tunnel["bfd"], tunnel["cfm"]
    if session and session["state"] != "up":
        far = session["remote_diagnostic"]
        said = f", the far end says: {far}" if far not in (None, "", "No Diagnostic") else ""
        yield f"BFD is {session['state']} ({session['diagnostic']}{said})"
    elif session and not session["forwarding"]:
        yield "BFD is up, but says that it does not forward"
    if check and check["fault"]:
        yield f"CFM has a fault ({check['fault'].strip()})"


def _ends(tunnel: Tunnel) -> Iterator[str]:
    far, near = tunnel["far"], tunnel["mtu"]["guest"]
    if far is None:
        return
    if not same_key(far["key"], tunnel["key"]):
        yield f"its key is {tunnel['key'] or 0}, that of {far['minion']}'s {far['port']} is {far['key'] or 0}"
    if None not in (far["mtu"], near) and far["mtu"] != near:
        yield f"it takes packets of {near} bytes, {far['minion']}'s {far['port']} of {far['mtu']}"

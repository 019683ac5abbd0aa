"""The networks of a host as they are: key, local VLAN, ports, peers, and what each flow has done; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corral.overlay import names, vlans
from corral.overlay.derive import MTU, PEER
from corral.overlay.flows import ALL, FLOOD, FROM_TUNNEL, LEARNED, LEARNED_COOKIE, PRESENT

Facts = dict[str, Any]
Bridges = Mapping[str, Mapping[str, Any]]
Flows = Iterable[Mapping[str, Any]]  # as corral.ovs.forwarding parses them
_TAGGED = re.compile(r"mod_vlan_vid:(\d+)$|set_field:(\d+)(?:/0x1fff)?->vlan_vid$")


def integration_bridge(bridges: Bridges) -> str | None:
    """Return the bridge on which this host's overlays have written down what they chose."""
    return next((name for name, one in bridges.items() if MTU in one.get("external_ids", {})), None)


def tunnel_bridge(bridges: Bridges) -> str | None:
    """Return the bridge that has the tunnels."""
    return next((name for name, one in bridges.items() if names.TO_INTEGRATION in one["ports"]), None)


def networks(bridges: Bridges, flows: Flows) -> dict[str, Facts]:
    """Return the networks of a host by name.

    bridges
        The host's switch, as ``ovs.show`` has it.
    flows
        Those of the tunnel bridge.
    """
    integration = integration_bridge(bridges)
    if integration is None:
        return {}
    tunnels = _tunnels(bridges.get(tunnel_bridge(bridges) or "", {}).get("ports", {}))
    found, ids, every = {}, bridges[integration]["external_ids"], list(flows)
    for name, vlan in sorted(vlans.kept(ids).items()):
        mine = _Flows(vlan, every, tunnels)
        ports = {
            port: spec for port, spec in bridges[integration]["ports"].items() if spec.get("tag") == vlan
        }
        found[name] = {
            "key": mine.key,
            "vlan": vlan,
            "mtu": int(ids[MTU]),
            "bridge": next((port for port, spec in ports.items() if spec.get("fake_bridge")), None),
            "ports": sorted(port for port, spec in ports.items() if not spec.get("fake_bridge")),
            "peers": mine.peers(),
            "flows": list(mine.explained()),
            **mine.verdict(),
        }
    return found


def _tunnels(ports: Mapping[str, Mapping[str, Any]]) -> dict[str, Facts]:
    """Return the tunnels by port, each with the host at its far end."""
    return {
        port: {
            "peer": spec.get("external_ids", {}).get(PEER, port),
            "address": spec["options"]["remote_ip"],
            "encapsulation": spec["type"],
        }
        for port, spec in ports.items()
        if "remote_ip" in spec.get("options", {})
    }


class _Flows:
    """The flows of one network, found by its VLAN and its key."""

    def __init__(self, vlan: int, flows: list[Mapping[str, Any]], tunnels: Mapping[str, Facts]) -> None:
        self.vlan, self.tunnels = vlan, tunnels
        self.into = next((one for one in flows if one["table"] == FROM_TUNNEL and _tag(one) == vlan), None)
        self.key = int(self.into["match"]["tun_id"], 0) if self.into else None
        self.out = next(
            (one for one in flows if one["table"] == FLOOD and one["match"].get("dl_vlan") == str(vlan)), None
        )
        self.open = any(one["match"].get("in_port") == names.TO_INTEGRATION for one in flows)
        mark = LEARNED_COOKIE | (self.key or 0)
        self.learned = [one for one in flows if one["table"] == LEARNED and int(one["cookie"], 0) == mark]
        shared: Mapping[str, Any] = next((one for one in flows if one["table"] == ALL), {"actions": []})
        listing = shared if self.out and f"resubmit(,{ALL})" in self.out["actions"] else self.out
        self.reached = [port for port in _outputs(listing or {"actions": []}) if port in tunnels]

    def peers(self) -> dict[str, Facts]:
        """Return the peers that have the network, with the MACs that were learned behind each."""
        return {
            self.tunnels[port]["peer"]: {
                "port": port,
                **{key: self.tunnels[port][key] for key in ("address", "encapsulation")},
                "macs": sorted(_mac(one) for one in self.learned if port in _outputs(one)),
            }
            for port in self.reached
        }

    def explained(self) -> Iterator[Facts]:
        """Yield what each flow does, in a sentence, and for how many packets it has."""
        if self.into:
            yield _counted(
                self.into, f"key {self.key} from a tunnel becomes VLAN {self.vlan}; the sender is learned"
            )
        for one in sorted(self.learned, key=_mac):
            to = ", ".join(self._peer(port) for port in _outputs(one))
            yield _counted(one, f"VLAN {self.vlan} to {_mac(one)} goes to {to} with key {self.key}")
        if self.out:
            to = ", ".join(self._peer(port) for port in self.reached)
            yield _counted(
                self.out,
                f"VLAN {self.vlan} to all, or to whom nobody knows, goes to {to} with key {self.key}",
            )

    def _peer(self, port: str) -> str:
        return str(self.tunnels.get(port, {"peer": port})["peer"])

    def verdict(self) -> Facts:
        """Return whether its frames are let in and out; one that no peer has needs no way to the peers."""
        lost = [] if self.into else ["nothing of it is taken in from the tunnels"]
        lost += [] if self.open else ["nothing of it gets to the tunnels"]
        reason = f"{' and '.join(lost)}: flows are missing, which ovs.overlay_managed makes" if lost else ""
        return {"healthy": not lost, "reason": reason}


def _tag(flow: Mapping[str, Any]) -> int | None:
    for action in flow["actions"]:
        if match := _TAGGED.match(action):
            return int(match[1]) if match[1] else int(match[2]) & ~PRESENT
    return None


def _outputs(flow: Mapping[str, Any]) -> list[str]:
    return [one.removeprefix("output:").strip('"') for one in flow["actions"] if one.startswith("output:")]


def _mac(flow: Mapping[str, Any]) -> str:
    return str(flow["match"].get("dl_dst", ""))


def _counted(flow: Mapping[str, Any], what: str) -> Facts:
    return {"table": flow["table"], "packets": flow["n_packets"], "bytes": flow["n_bytes"], "does": what}

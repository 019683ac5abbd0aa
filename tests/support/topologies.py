"""Structures of hosts for the tests of the drawings: as an overlay host has them, and drawn by Hypothesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from corral.topology.sheet import sheet
from corral.topology.svg import svg

Structure = dict[str, Any]
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "topology.svg"


class Builder:
    """Puts a structure together."""

    def __init__(self, host: str) -> None:
        self.made: Structure = {"host": host, "notes": [], "nodes": {}, "edges": []}

    def node(self, identity: str, kind: str, state: str = "up", **about: Any) -> str:
        name = identity.partition(":")[2] or identity.partition("@")[0]
        own = {"datapath_type": "system"} if kind == "bridge" else {}
        self.made["nodes"][identity] = {"kind": kind, "name": name, "state": state, **own, **about}
        return identity

    def edge(self, kind: str, start: str, end: str, **about: Any) -> None:
        self.made["edges"].append({"kind": kind, "from": start, "to": end, **about})

    def port(self, bridge: str, identity: str, kind: str, state: str = "up", **about: Any) -> str:
        vlans = {key: about.pop(key) for key in ("vlan", "trunks", "vlan_mode") if key in about}
        self.node(identity, kind, state, **about)
        self.edge("port", bridge, identity, **vlans)
        return identity

    def guest(self, name: str, *nics: tuple[str, int, str], **about: Any) -> str:
        """Add a guest; ``nics`` are bridge, VLAN and state."""
        held = [{"mac": f"52:54:00:00:00:{n:02x}", "device": f"vnet-{name}-{n}"} for n in range(len(nics))]
        identity = self.node(f"guest:{name}", "guest", nics=held, **about)
        for number, (bridge, vlan, state) in enumerate(nics):
            wrong = {} if state == "up" else {"reason": "it has no carrier"}
            tap = self.port(bridge, held[number]["device"], "tap", state, vlan=vlan, **wrong)
            self.edge("nic", identity, tap, mac=held[number]["mac"], number=number)
        return identity

    def patch(self, one: str, other: str, down: bool = False) -> None:
        ends = f"{one}-{other}", f"{other}-{one}"
        state = {"state": "down", "reason": f"its peer {ends[1]} is not there"} if down else {}
        self.port(one, ends[0], "patch", peer=ends[1], **state)
        self.port(other, ends[1], "patch", peer=ends[0])
        if not down:
            self.edge("patch", *ends)

    def bond(self, bridge: str, name: str, *members: str, down: str = "") -> None:
        """Add a bond of network cards, of which one may be down."""
        wrong = {"healthy": False, "reason": f"{down}: its link is down"} if down else {"healthy": True}
        bond = self.port(bridge, f"bond:{name}", "bond", mode="balance-tcp", lacp="negotiated", **wrong)
        for member in members:
            why = {"state": "down", "reason": "it has no carrier"} if member == down else {}
            self.node(member, "nic", **why)
            self.edge("member", bond, member, enabled=member != down)


def overlay(number: int, guests: int, hosts: int = 5, bad: bool = True) -> Structure:
    """Return a host of an overlay: three switches and one for the wire, a bond, tunnels, many guests."""
    build = Builder(f"kvm{number}")
    for bridge in ("br-int", "br-tun", "br-ex"):
        build.node(bridge, "bridge", datapath_type="netdev")
    build.node("br-phy", "bridge", addresses=[f"192.0.2.{number}/24"])
    build.patch("br-int", "br-tun")
    build.patch("br-int", "br-ex")
    build.bond("br-ex", "bond0", "eth1", "eth2", down="eth1" if bad else "")
    build.port("br-phy", "eth3", "nic")
    for other in range(1, hosts + 1):
        if other != number:
            far = {"remote": f"192.0.2.{other}", "local": f"192.0.2.{number}", "type": "vxlan", "key": "5001"}
            build.port("br-tun", f"vx-kvm{other}", "tunnel", **far)
    for index in range(guests):
        nics = [("br-int", 10 if index % 3 else 20, "up")]
        if index % 10 == 9:
            nics.append(("br-ex", 100, "up"))
        build.guest(f"web-{index + 1:03d}", *nics)
    if bad:
        build.guest("db & <backup>", ("br-int", 10, "down"))
    build.port("br-int", "dhcp-blue", "internal", vlan=10, addresses=["10.0.0.1/24"], namespace="blue")
    build.port("br-ex", "mgmt0", "internal", addresses=["198.51.100.7/24", "2001:db8::7/64"])
    build.node("mirror:watch", "mirror", select_dst_port=["vnet-web-001-0"])
    build.edge("mirror", "br-int", "mirror:watch")
    build.edge("output", "mirror:watch", build.port("br-int", "tap-watch", "internal"))
    return build.made


def example() -> str:
    """Return the drawing that the page about it shows."""
    return svg(sheet({"kvm1": overlay(1, 24)}), "A hypervisor with an overlay network")


NAMES = st.text(
    st.characters(codec="utf-8") | st.sampled_from('"<>&#;[]{}()|`\\\x00\x0b\n'), min_size=1, max_size=60
)
STATES = st.sampled_from(["up", "up", "up", "down", "unknown"])
KINDS = ("tap", "internal", "nic", "tunnel", "veth", "mirror", "macvlan", "missing", "vlan", "dpdk")


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """Draw a structure of any shape: names of any letters, edges between any nodes, rings too."""
    build = Builder(draw(NAMES))
    bridges = draw(st.integers(0, 4))
    for number in range(bridges):
        kind = draw(st.sampled_from(["bridge", "bridge", "linux_bridge"]))
        build.node(f"b{number}", kind, draw(STATES), datapath_type="system")
    for number in range(draw(st.integers(0, 20))):
        about: dict[str, Any] = {"addresses": ["10.0.0.1/24"]} if draw(st.booleans()) else {}
        kind = draw(st.sampled_from(KINDS))
        if kind == "tunnel":
            about = {"type": "vxlan", "remote": "192.0.2.9"}
        build.node(f"p{number}", kind, draw(STATES), **about)
        if bridges and draw(st.booleans()):
            vlan = {"vlan": draw(st.integers(1, 2))} if draw(st.booleans()) else {}
            build.edge("port", f"b{draw(st.integers(0, bridges - 1))}", f"p{number}", **vlan)
    if bridges:
        bulk, state = draw(st.integers(0, 25)), draw(STATES)
        for number in range(bulk):
            build.guest(f"g{number}", ("b0", 1 + number % draw(st.integers(1, 3)), state))
    nodes = list(build.made["nodes"])
    for _ in range(draw(st.integers(0, 8)) if nodes else 0):
        kind = draw(st.sampled_from(["patch", "veth", "lower", "member", "output"]))
        build.edge(kind, draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes)))
    for node in build.made["nodes"].values():
        if draw(st.integers(0, 3)) == 0:
            node["name"] = draw(NAMES)
    return build.made


if __name__ == "__main__":
    PICTURE.write_text(example(), encoding="utf-8")

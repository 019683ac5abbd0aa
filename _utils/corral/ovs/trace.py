"""What ``ofproto/trace`` says of a frame: where it comes out, and what drops it; pure.

Only what has stayed the same from 2.3 to 3.7 is read: the datapath's actions, and the ports by number of
``dpif/show``. Which flow was met, and remarks, stand in the text from 2.8 on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corral.ovs.forwarding import OURS, split

Names = Mapping[int, Sequence[str]]

_PORT = re.compile(r"^\s+(\S+) (\d+)/(\d+)[:\s]", re.MULTILINE)
_ACTIONS = re.compile(r"^Datapath actions: (.*)$", re.MULTILINE)
_BRIDGE = re.compile(r'^\s*bridge\("(.+)"\)$')
_RULE = re.compile(r"^\s*(\d+)\. (.*)$")
_REMARK = re.compile(r"^ *(?:>>|>>>>) (.+?)(?: <<<<)?$", re.MULTILINE)
_TUNNEL = re.compile(r"tnl_port\((\d+)\)")
_FAR = re.compile(r"ipv[46]\(src=[^,]+,dst=([^,)]+)|set\(tunnel\(.*?\b(?:ipv6_)?dst=([^,)]+)")
_KEY = re.compile(r"\b(?:vni|tun_id|key)=(0x[0-9a-f]+)")
_PUSHED = re.compile(r"push_vlan\((?:tpid=[^,]*,)?vid=(\d+)")
_TAG = re.compile(r"vlan\(vid=(\d+)")


@dataclass(frozen=True)
class Trace:
    """Where one frame goes.

    outputs
        ``(interface, VLAN)`` of each copy that comes out; the VLAN is that of its tag, or None without one.
    tunnels
        The tunnel interfaces among them.
    dropped
        The flow that drops it: ``{"bridge", "table", "match", "cookie", "ours"}``; None if none does.
        Without a ``match`` it is the table that has no flow for the frame.
    remarks
        What Open vSwitch finds worth saying about it, such as a VLAN that a port does not take.
    """

    outputs: tuple[tuple[str, int | None], ...]
    tunnels: tuple[str, ...] = ()
    dropped: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()

    def reaches(self, interface: str, vlan: int | None = None) -> bool:
        return (interface, vlan) in self.outputs


def ports(text: str) -> Names:
    """Return the interfaces by their numbers in the datapath, of ``dpif/show``; tunnels share theirs."""
    found: dict[int, list[str]] = {}
    for name, _, number in _PORT.findall(text):
        found.setdefault(int(number), []).append(name)
    return found


def trace(text: str, names: Names, tunnels: Mapping[str, Any]) -> Trace:
    """Return where a frame goes.

    names
        What ``ports`` made of ``dpif/show``.
    tunnels
        The tunnel interfaces, with ``remote_ip`` and ``key``; one without a way to its far end is none of
        the datapath's ports.
    """
    outputs: list[tuple[str, int | None]] = []
    for said in _ACTIONS.findall(text):
        outputs += _outputs(said, names, tunnels)
    through = [name for name, _ in outputs if name in tunnels]
    remotes = set(re.findall(r"tunneling to (\S+) via", text))
    through += [
        name for name, about in tunnels.items() if about["remote_ip"] in remotes and name not in through
    ]
    remarks = tuple(dict.fromkeys(_REMARK.findall(text)))
    return Trace(tuple(dict.fromkeys(outputs)), tuple(dict.fromkeys(through)), _dropped(text), remarks)


def _outputs(said: str, names: Names, tunnels: Mapping[str, Any]) -> Iterator[tuple[str, int | None]]:
    vlans: list[int] = []
    far = ""  # what was said of a tunnel that an output may mean
    for action in split(said):
        if action.isdigit():
            yield _named(int(action), far, names, tunnels), vlans[-1] if vlans else None
        elif pushed := _PUSHED.match(action):
            vlans.append(int(pushed[1]))
        elif action == "pop_vlan":
            vlans = vlans[:-1]
        elif action.startswith(("clone(", "sample(", "check_pkt_len(")):
            yield from _outputs(action[action.index("(") + 1 : -1], names, tunnels)
        elif tunnel := _TUNNEL.search(action):
            yield _named(int(tunnel[1]), action, names, tunnels), vlans[-1] if vlans else None
            return  # what follows goes out encapsulated
        elif action.startswith("set(tunnel("):
            far = action
        elif tag := _TAG.search(action):
            vlans = [*vlans[:-1], int(tag[1])]


def _named(number: int, far: str, names: Names, tunnels: Mapping[str, Any]) -> str:
    """Return the interface of a number; of several tunnels that of the far end, and of the key."""
    found = names.get(number, [str(number)])
    end, key = _FAR.search(far), _KEY.search(far)
    if len(found) > 1 and end:
        remote = end[1] or end[2]
        found = [one for one in found if one in tunnels and tunnels[one]["remote_ip"] == remote] or found
    if len(found) > 1 and key:
        keys = {one: tunnels[one].get("key") for one in found if one in tunnels}
        alike = [one for one, its in keys.items() if its and its != "flow" and int(its, 0) == int(key[1], 16)]
        found = alike or found
    return found[0]


def _dropped(text: str) -> dict[str, Any] | None:
    """Return the last flow that does nothing but drop; a table without a flow for the frame drops, too."""
    bridge, met, found = "", None, None
    for line in text.splitlines():
        if match := _BRIDGE.match(line):
            bridge, met = match[1], None
        elif match := _RULE.match(line):
            met = int(match[1]), "" if match[2].startswith("No match") else match[2]
        elif line.strip() == "drop" and met:
            found = _flow(bridge, *met)
    return found


def _flow(bridge: str, table: int, match: str) -> dict[str, Any]:
    cookie = re.search(r"cookie (0x[0-9a-f]+)", match)
    number = int(cookie[1], 16) if cookie else 0
    match = re.sub(r",? ?cookie 0x[0-9a-f]+", "", match).strip(", ")
    return {
        "bridge": bridge,
        "table": table,
        "match": match,
        "cookie": hex(number),
        "ours": number >> 32 == OURS,
    }

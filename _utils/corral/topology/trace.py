"""What ``ofproto/trace`` says of a frame's way, beside where it comes out (``corral.ovs.trace``); pure.

The text is for people and has changed much: before 2.8 a bridge is ``Bridge: br0`` and a flow ``Rule: table=0
cookie=0 priority=0``, since then ``bridge("br0")`` and `` 0. ip, priority 5``, the bridges behind patch
ports indented or not. What is not understood is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.ovs import trace as frames
from corral.ovs.forwarding import split

_PORT = re.compile(r"^\s+(\S+) \d+/(\d+)[:\s]", re.MULTILINE)
_BRIDGE = re.compile(r'^\s*(?:bridge\("(.+)"\)|Bridge: (\S+))$')
_RULE = re.compile(r"^\s*(?:(\d+)\. (.*)|Rule: table=(\d+) (.*))$")
_REMARK = re.compile(r"^\s*(?:->|>+) (.+?)(?: <<<<)?$")
# A frame goes to a far end: by the datapath's actions (kernel, user space), or by what is said of it.
_FAR = re.compile(
    r"tunneling to (\S+) via|set\(tunnel\((?:[^()]*,)?(?:ipv6_)?dst=([^,()]+)"
    r"|tnl_push\([^;]*?ipv[46]\((?:[^()]*,)?dst=([^,()]+)"
)
_TUNNEL = re.compile(r"(?:set\(tunnel\(|tnl_push\().*?(?=set\(tunnel\(|tnl_push\(|$)")
_KEY = re.compile(r"\b(?:vni|tun_id|key)=(0x[0-9a-f]+)")
# A bond that balances by connection chooses a member later: `Recirc-ID` and `bond-id` of bond/show.
_BALANCED = re.compile(r"(recirc|lb_output)\((0x[0-9a-f]+|\d+)\)$")
_PUSHED = re.compile(r"push_vlan\((?:tpid=[^,]*,)?vid=(\d+)")
_CHANGED = re.compile(r"set\(vlan\(vid=(\d+)")
_DATAPATH = re.compile(r"^Datapath actions: (.*)$", re.MULTILINE)
NESTED = ("clone(", "sample(", "actions(", "check_pkt_len(", "gt(", "le(")
_BOND = re.compile(r"^---- (.+) ----$")
_NUMBERS = re.compile(r"(Recirc-ID ?|bond-id): (\d+)")


@dataclass(frozen=True)
class Visit:
    """A bridge that the frame passes, and the last flow that it meets there.

    flow
        ``table 0, ip, priority 5``; empty when the text does not say.
    said
        Remarks, such as ``forwarding to learned port``.
    """

    bridge: str
    flow: str = ""
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Way:
    """Where a frame goes.

    visits
        The bridges that it passes, in the order of the text.
    outputs
        ``(interface, VLAN)`` where it comes out; tunnels are not among them.
    bonds
        ``(bond, VLAN)`` of those of which some member takes it.
    remotes
        The far ends of tunnels to which it goes.
    keys
        The key of the tunnel by far end, as far as it is said.
    drop
        The flow that drops it: ``{"bridge", "table", "match", "cookie", "ours"}``; None if none does.
    remarks
        What Open vSwitch finds wrong with the frame.
    """

    visits: tuple[Visit, ...] = ()
    outputs: tuple[tuple[str, int | None], ...] = ()
    bonds: tuple[tuple[str, int | None], ...] = ()
    remotes: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    drop: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()


def way(text: str, ports: str, bonds: str, tunnels: set[str]) -> Way:
    """Return where a frame goes.

    text, ports, bonds
        The answers to ``ofproto/trace``, ``dpif/show`` and ``bond/show``.
    tunnels
        The interfaces that are tunnels: several share one number in the datapath, so that only the far end
        tells them apart.
    """
    seen = frames.trace(text, {}, {})
    names = {f"port:{number}": name for name, number in _PORT.findall(ports)}
    bonded = numbered(bonds)
    copies = list(dict.fromkeys(one for said in _DATAPATH.findall(text) for one in _copies(said)))
    remotes = [next(filter(None, found)) for found in _FAR.findall(text)]
    return Way(
        visits=_visits(text),
        outputs=tuple((names[key], tag) for key, tag in copies if names.get(key, "") not in {*tunnels, ""}),
        bonds=tuple((bonded[key], tag) for key, tag in copies if key in bonded),
        remotes=tuple(dict.fromkeys(remotes)),
        keys=dict(_keys(text)),
        drop=seen.dropped,
        remarks=seen.remarks,
    )


def _keys(text: str) -> Iterator[tuple[str, str]]:
    for said in _DATAPATH.findall(text):
        for action in _TUNNEL.findall(said):
            far, key = _FAR.search(action), _KEY.search(action)
            if far and key:
                yield next(filter(None, far.groups())), str(int(key[1], 16))


def _copies(actions: str) -> Iterator[tuple[str, int | None]]:
    """Yield where a frame comes out, and in which VLAN: ``port:N``, or a bond as in ``numbered``."""
    tags: list[int] = []
    before = ""
    for action in split(actions):
        tag = tags[-1] if tags else None
        if action.isdigit():
            yield f"port:{action}", tag
        elif match := _BALANCED.match(action):
            number = int(match[2], 0)
            if match[1] == "lb_output":
                yield f"bond-id:{number}", tag
            elif before.startswith("hash("):  # else it comes back for connection tracking
                yield f"Recirc-ID:{number}", tag
        elif pushed := _PUSHED.match(action):
            tags.append(int(pushed[1]))
        elif action == "pop_vlan":
            tags = tags[:-1]
        elif changed := _CHANGED.match(action):
            tags = [*tags[:-1], int(changed[1])]
        elif action.startswith("tnl_push("):
            return  # what follows is the frame within another, as the tunnel sends it
        elif action.startswith(NESTED):
            yield from _copies(action[action.index("(") + 1 : -1])
        before = action


def numbered(bonds: str) -> dict[str, str]:
    """Return the bonds by the numbers by which the datapath knows them, of ``bond/show``."""
    found, name = {}, ""
    for line in bonds.splitlines():
        if match := _BOND.match(line):
            name = match[1]
        elif match := _NUMBERS.search(line):
            found[f"{match[1].strip()}:{match[2]}"] = name
    return found


def _visits(text: str) -> tuple[Visit, ...]:
    found: dict[str, Visit] = {}
    bridge = ""
    for line in text.splitlines():
        if match := _BRIDGE.match(line):
            bridge = match[1] or match[2]
            found.setdefault(bridge, Visit(bridge))
        elif match := _RULE.match(line):
            table, rule = match[1] or match[3], match[2] or match[4]
            found[bridge] = Visit(bridge, f"table {table}, {rule.rstrip('.')}", ())
        elif bridge and (match := _REMARK.match(line)):
            one = found[bridge]
            found[bridge] = Visit(bridge, one.flow, tuple(dict.fromkeys((*one.said, match[1]))))
    found.pop("", None)
    return tuple(found.values())

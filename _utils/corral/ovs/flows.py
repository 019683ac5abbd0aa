"""OpenFlow flows of a bridge beside the declared ones; pure.

``ovs-ofctl diff-flows`` compares them and writes both sides in one normal form, which is what is parsed
here. Corral's own flows have its cookie; flows of others are never touched.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from corral.change import Change
from corral.errors import Refused

PREFIX = 0x636F726C  # the upper 32 bits of Corral's cookies: "corl"


def cookie(maker: str) -> int:
    """Return the cookie of the flows that a state function of Corral makes."""
    return PREFIX << 32 | zlib.crc32(maker.encode())


@dataclass(frozen=True)
class Flow:
    """What a flow does, and whose it is: ``text`` is all but table, priority and match, and the cookie."""

    text: str
    cookie: int = 0


@dataclass(frozen=True)
class Difference:
    """The flows of a bridge and of its declaration that are not the same, by table, priority and match."""

    here: Mapping[str, Flow] = field(default_factory=dict)
    declared: Mapping[str, Flow] = field(default_factory=dict)


# What ovs-vswitchd itself adds to a bridge without a fail_mode: it gives way to a declared flow.
STANDALONE = ("priority=0", Flow("actions=NORMAL"))


def parse(text: str) -> Difference:
    """Return the differences that ``ovs-ofctl diff-flows BRIDGE FILE`` prints."""
    sides: dict[str, dict[str, Flow]] = {"-": {}, "+": {}}
    for line in text.splitlines():
        if line[:1] in sides:
            key, flow = _parsed(line[1:])
            sides[line[0]][key] = flow
    return Difference(sides["-"], sides["+"])


def _parsed(line: str) -> tuple[str, Flow]:
    head, _, actions = line.partition("actions=")
    keys, rest, mark = [], [], 0
    for word in head.split():
        if word.startswith("cookie="):
            mark = int(word.partition("=")[2], 16)
        elif re.match(r"(idle_timeout|hard_timeout|importance)=|send_flow_rem|check_overlap|no_", word):
            rest.append(word)
        else:
            keys.append(word)
    return ",".join(keys), Flow(" ".join([*rest, f"actions={actions}"]), mark)


def as_declared(flows: Iterable[str]) -> Difference:
    """Return flows in the words of their declaration, for a host without ovs-ofctl."""
    found = {}
    for flow in flows:
        head, _, actions = flow.partition("actions=")
        found[head.strip().rstrip(",")] = Flow(f"actions={actions}")
    return Difference(declared=found)


_TOKEN = r"[^\s,:=()\[\]\"'/]+"
_WORDS = frozenset(
    {"normal", "flood", "all", "local", "in_port", "controller", "drop", "none", "any", "table"}
)


def numbers(flows: Iterable[str], ports: Iterable[str]) -> dict[str, int]:
    """Return a number for each port, one that stands nowhere in the flows: ports may be still to be made."""
    taken = {token for flow in flows for token in re.findall(_TOKEN, flow)}
    free = (
        number for number in range(60000, 0xFF00) if str(number) not in taken and hex(number) not in taken
    )
    return dict(zip(sorted(ports), free, strict=False))


def numbered(flow: str, ports: Mapping[str, int]) -> str:
    """Return a flow with numbers in place of the names of ports: after ``in_port=``, and in the actions."""
    head, _, actions = flow.partition("actions=")
    head = re.sub(r"(?<=in_port=)\"?[^\s,\"]+\"?", lambda found: _number(found, ports), head)
    return f"{head}actions={in_actions(actions, ports)}"


def in_actions(text: str, ports: Mapping[str, int]) -> str:
    """Return actions, or what contains some, with numbers in place of the names of ports."""
    quote = chr(34) + "?"
    return re.sub(quote + _TOKEN + quote, lambda found: _number(found, ports), text)


def _number(found: re.Match[str], ports: Mapping[str, int]) -> str:
    name = found[0].strip('"')
    return str(ports[name]) if name in ports and name.lower() not in _WORDS else found[0]


def named(text: str, ports: Mapping[str, int]) -> str:
    """Return a text with the names of ports in place of their numbers."""
    names = {str(number): name for name, number in ports.items()}
    return re.sub(_TOKEN, lambda found: f'"{names[found[0]]}"' if found[0] in names else found[0], text)


def modern(line: str) -> str:
    """Return a flow, spelt as it will be read back, from what ``ovs-ofctl parse-flows`` prints of it."""
    text = line.partition(": ADD ")[2]
    for short, long in (
        ("table:", "table="),
        ("idle:", "idle_timeout="),
        ("hard:", "hard_timeout="),
        ("importance:", "importance="),
    ):
        head, actions, rest = text.partition("actions=")
        text = re.sub(rf"(^|\s){short}", rf"\1{long}", head) + actions + rest
    head, actions, rest = text.partition("actions=")
    return ",".join([*head.split(), actions + rest])


def changes(bridge: str, difference: Difference, mark: int, exact: bool) -> Iterator[Change]:
    """Yield what it takes to have the declared flows, and of flows with this cookie no others if ``exact``.

    Raises ``Refused`` where a flow of somebody else matches the same frames at the same priority.
    """
    for key, flow in difference.declared.items():
        there = difference.here.get(key)
        if there is None:
            yield Change((bridge, "flows", key), None, flow.text)
        elif there.text == flow.text:
            continue  # somebody else's does the same
        elif there.cookie == mark or (key, there) == STANDALONE:
            yield Change((bridge, "flows", key), there.text, flow.text)
        else:
            raise Refused(
                f"bridges.{bridge}.flows: {key or 'a flow that matches everything'} is there already with"
                f" {there.text} and cookie {there.cookie:#x}, which is not Corral's"
            )
    for key, flow in difference.here.items():
        if exact and flow.cookie == mark and key not in difference.declared:
            yield Change((bridge, "flows", key), flow.text, None)


def commands(todo: Iterable[Change], mark: int) -> Iterator[str]:
    """Yield the lines for ``ovs-ofctl add-flows`` that carry out changes of one bridge's flows."""
    for change in todo:
        key = change.path[-1]
        if change.new is None:
            yield f"delete_strict cookie={mark:#x}/-1{',' if key else ''}{key}"
        else:
            more, _, actions = change.new.partition("actions=")
            words = [f"cookie={mark:#x}", *([key] if key else []), *more.split()]
            yield f"add {','.join(words)},actions={actions}"

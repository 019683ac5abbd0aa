"""How a bridge forwards: the text of its MAC table and of its flows as structure, with ports by name; pure.

``fdb/show`` and ``ovs-ofctl dump-flows`` are text in every version. From 2.3 to 3.7 the first one changed
in its heading and gained ``static`` for an age (2.16), the second one lost a space and gained ``?`` for a
count that is not known; a flow's flags are set apart by spaces, all else before its match by commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Flow = dict[str, Any]
Names = Mapping[int, str]  # of ports, by their OpenFlow port numbers

OURS = 0x636F726C  # "corl": the upper half of the cookies of Corral's own flows
LOCAL = 65534  # the OpenFlow port number of a bridge's own port
PRIORITY = 0x8000  # of a flow that does not say (ovs-ofctl(8))
_LEARNED = re.compile(r"^\s*(\w+)\s+(\d+)\s+([0-9a-f]{2}(?::[0-9a-f]{2}){5})\s+(\w+|\?)\s*$", re.MULTILINE)
_COUNTS = ("n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance")
_FLAGS = (
    "send_flow_rem",
    "check_overlap",
    "reset_counts",
    "no_packet_counts",
    "no_byte_counts",
    "allow_hidden_fields",
    "no_readonly_table",
)
_OUTPUT = re.compile(r"\b(output:|output\(port=|enqueue:|enqueue\(|resubmit\(|resubmit:)(\d+)\b")


def fdb(text: str, names: Names) -> list[dict[str, Any]]:
    """Return what a bridge has learned, by VLAN and MAC, of the answer to ``fdb/show BRIDGE``.

    ``age`` is in seconds, and None for an entry that somebody made and that does not age.
    """
    found = [
        {
            "mac": mac,
            "vlan": int(vlan),
            "port": _name(port, names),
            "age": int(age) if age.isdigit() else None,
            "static": age == "static",
        }
        for port, vlan, mac, age in _LEARNED.findall(text)
    ]
    return sorted(found, key=lambda entry: (entry["vlan"], entry["mac"]))


def _name(port: str, names: Names) -> str:
    number = LOCAL if port == "LOCAL" else int(port) if port.isdigit() else -1
    return names.get(number, port)


def flows(text: str, names: Names) -> list[Flow]:
    """Return the flows that ``ovs-ofctl dump-flows`` lists, by table, and by priority from the highest."""
    found = [_flow(line.strip(), names) for line in text.splitlines() if "actions=" in line]
    return sorted(found, key=lambda flow: (flow["table"], -flow["priority"]))


def _flow(line: str, names: Names) -> Flow:
    head, _, actions = line.partition("actions=")
    flow: Flow = {"table": 0, "priority": PRIORITY, "cookie": "0x0", "ours": False, "match": {}, "flags": []}
    for key, value in _words(head):
        if key in _COUNTS:
            flow[key] = int(value) if value.isdigit() else None
        elif key in ("priority", "table"):
            flow[key] = int(value)
        elif key == "cookie":
            flow |= {"cookie": value, "ours": int(value, 16) >> 32 == OURS}
        elif key == "duration":
            flow[key] = float(value.rstrip("s"))
        elif key in _FLAGS:
            flow["flags"].append(key)
        elif key == "in_port":
            flow["match"][key] = _name(value, names)
        else:
            flow["match"][key] = value or True
    named = _OUTPUT.sub(lambda match: match[1] + _name(match[2], names), actions.strip())
    return {**flow, "actions": [_local(action, names) for action in split(named)]}


def _local(action: str, names: Names) -> str:
    return f"output:{names[LOCAL]}" if action == "LOCAL" and LOCAL in names else action


def _words(head: str) -> Iterator[tuple[str, str]]:
    """Yield ``key, value`` of what stands before a flow's actions; a word alone has the value ''."""
    for part in head.split():
        for word in split(part):
            key, _, value = word.partition("=")
            yield key, value


def split(text: str) -> list[str]:
    """Return the parts of a text between its commas, but for those within parentheses and brackets."""
    parts, depth = [""], 0
    for piece in text.split(","):
        parts[-1] += piece
        depth += piece.count("(") + piece.count("[") - piece.count(")") - piece.count("]")
        if depth > 0:
            parts[-1] += ","
        else:
            parts.append("")
    return [part for part in parts if part]

"""What is said of a node, or of an edge, in a few words; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

KINDS = {
    "bridge": "bridge",
    "fake_bridge": "fake bridge",
    "linux_bridge": "Linux bridge",
    "linux_bond": "Linux bond",
    "bond": "bond",
    "nic": "network card",
    "internal": "internal port",
    "tap": "tap",
    "patch": "patch",
    "mirror": "mirror",
    "missing": "missing",
    "guest": "guest",
}
MODES = {"native-tagged": "native, tagged", "native-untagged": "native", "dot1q-tunnel": "QinQ"}


def vlans(edge: dict[str, Any]) -> list[str]:
    """Return ``["VLAN 10", "trunk 10, 20-29"]`` of an edge, as far as they are set."""
    found = []
    if "vlan" in edge:
        mode = MODES.get(edge.get("vlan_mode", ""), "")
        found.append(f"VLAN {edge['vlan']}" + (f" ({mode})" if mode else ""))
    if edge.get("trunks"):
        found.append(f"trunk {ranges(edge['trunks'])}")
    return found


def ranges(numbers: Iterable[int]) -> str:
    """Return ``10, 20-29`` for the numbers."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def about(node: dict[str, Any], tags: list[str]) -> list[str]:
    """Return lines about a node; its name and that it is up are not among them.

    tags
        What the edges to it say of VLANs.
    """
    kind = KINDS.get(node["kind"], node["kind"])
    first = [kind, *tags]
    if node["kind"] == "bridge":
        first.append(node["datapath_type"])
    if node["kind"] == "tunnel":
        first = [node["type"], *([f"key {node['key']}"] if "key" in node else []), *tags]
    if node["kind"] == "bond":
        first += [node[key] for key in ("mode",) if key in node]
        first += [f"LACP {node['lacp']}"] if node.get("lacp", "off") != "off" else []
    lines = [" · ".join(first)]
    if node.get("remote"):
        lines.append(far(node))
    held = node.get("addresses", [])
    lines += held[:2] + ([f"and {len(held) - 2} more"] if len(held) > 2 else [])
    if "namespace" in node:
        lines.append(f"in namespace {node['namespace']}")
    if node["kind"] == "mirror":
        lines += _mirrored(node)
    if node.get("state") == "down" or node.get("healthy") is False:
        lines += str(node.get("reason", "down")).split("; ")
    return lines


def far(node: dict[str, Any]) -> str:
    """Return where a tunnel leads."""
    return f"→ {node['remote']}" + (f" ({node['far']})" if "far" in node else "")


def _mirrored(node: dict[str, Any]) -> list[str]:
    lines = ["of everything"] if node.get("all") else []
    chosen = {*node.get("select_src_port", ()), *node.get("select_dst_port", ())}
    if chosen:
        names = sorted(one.partition(":")[2] or one for one in chosen)
        lines.append(f"of {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if len(names) > 3 else ""))
    if node.get("select_vlan"):
        lines.append(f"of VLAN {ranges(node['select_vlan'])}")
    if "output_vlan" in node:
        lines.append(f"to VLAN {node['output_vlan']}")
    return lines

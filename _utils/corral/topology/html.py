"""A sheet as a page of HTML: the drawing, and all it stands for as tables; it needs nothing else; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from corral.topology import fleet
from corral.topology.sheet import sheet
from corral.topology.svg import NIGHT, PAPER, svg, text
from corral.topology.words import KINDS, ranges

COLUMNS = ("Name", "Kind", "State", "On", "VLAN", "MTU", "Addresses", "MAC", "About")
# No page of ours may load anything: neither a script nor a font nor a picture.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = (
    "body{{margin:1.5rem;background:{sheet};color:{ink};font:15px/1.5 system-ui,sans-serif}}"
    "h1{{font-size:1.4rem}}h2{{font-size:1.1rem;margin-top:2rem}}"
    ".drawing{{overflow-x:auto;width:fit-content;max-width:100%;border:1px solid {edge};border-radius:8px}}"
    ".drawing svg{{display:block}}"
    ".tables{{overflow-x:auto}}table{{border-collapse:collapse;font-size:13px}}"
    "th,td{{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid {edge}}}"
    "th{{color:{dim};font-weight:600}}td.name{{font-family:ui-monospace,monospace}}.bad{{color:{bad}}}"
)
COLOURS = (
    "body{{background:{sheet};color:{ink}}}.drawing,th,td{{border-color:{edge}}}"
    "th{{color:{dim}}}.bad{{color:{bad}}}"
)


def html(hosts: fleet.Fleet, title: str) -> str:
    """Return the structures of hosts as one page."""
    drawn = sheet(hosts)
    night = f"@media (prefers-color-scheme:dark){{{COLOURS.format(**NIGHT)}}}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        '<meta name="color-scheme" content="light dark"/>',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>',
        f"<title>{text(title)}</title>",
        f"<style>{STYLE.format(**PAPER)}{night}</style>",
        f"</head><body><h1>{text(title)}</h1>",
        *(f'<p class="bad">{text(note)}</p>' for note in drawn.notes),
        f'<div class="drawing">{svg(drawn, title)}</div>',
        *(line for host, structure in sorted(hosts.items()) for line in _table(host, structure)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(host: str, structure: dict[str, Any]) -> Iterator[str]:
    yield f'<h2>{text(host)}</h2><div class="tables"><table>'
    yield f"<tr>{''.join(f'<th>{column}</th>' for column in COLUMNS)}</tr>"
    edges = {
        edge["to"]: edge for edge in structure["edges"] if edge["kind"] in ("port", "member", "fake", "lower")
    }
    guests = {edge["to"]: edge["from"] for edge in structure["edges"] if edge["kind"] == "nic"}
    for identity, node in structure["nodes"].items():
        edge = edges.get(identity, {})
        on = edge.get("from") or ", ".join(nic["device"] for nic in node.get("nics", ()) if nic["device"])
        cells = [
            KINDS.get(node["kind"], node["kind"]),
            node.get("state", ""),
            str(on or "").removeprefix("bond:"),
            _vlan(edge),
            str(node.get("mtu", "")),
            ", ".join(
                [
                    *node.get("addresses", ()),
                    *(a for n in node.get("nics", ()) for a in n.get("addresses", ())),
                ]
            ),
            node.get("mac", "") or ", ".join(nic["mac"] for nic in node.get("nics", ())),
            _about(node, guests.get(identity, "")),
        ]
        bad = ' class="bad"' if node.get("state") == "down" or node.get("healthy") is False else ""
        name = f'<td class="name">{text(node["name"])}</td>'
        yield f"<tr{bad}>{name}{''.join(f'<td>{text(cell)}</td>' for cell in cells)}</tr>"
    yield "</table></div>"


def _vlan(edge: dict[str, Any]) -> str:
    trunk = [f"trunk {ranges(edge['trunks'])}"] if edge.get("trunks") else []
    return ", ".join([*([str(edge["vlan"])] if "vlan" in edge else []), *trunk])


def _about(node: dict[str, Any], guest: str) -> str:
    said = [f"of {guest.partition(':')[2]}"] if guest else []
    said += [f"to {node['remote']}"] if node.get("remote") else []
    said += [
        f"{key} {node[key]}" for key in ("type", "key", "mode", "peer", "datapath_type") if node.get(key)
    ]
    said += [f"in namespace {node['namespace']}"] if "namespace" in node else []
    return "; ".join([*said, *([node["reason"]] if node.get("reason") else [])])

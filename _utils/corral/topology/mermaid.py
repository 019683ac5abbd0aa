"""Hosts as a flowchart in Mermaid's words (https://mermaid.js.org/syntax/flowchart.html); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from corral.topology import fleet
from corral.topology.layout import layout
from corral.topology.svg import LIGHT, NOT_XML, colour
from corral.topology.view import Box, Picture, picture

# What Mermaid, or the HTML that it makes, would take for its own; codes are HTML's without the ampersand.
CODES = {letter: f"#{ord(letter)};" for letter in '#"<>&`*_[]{}()|\\'}
WIRES = {"up": "---", "down": "-.-"}
PER_LINE = 4  # cells of a shared box
SWITCHES = {"bridge", "linux_bridge"}


def mermaid(hosts: fleet.Fleet) -> str:
    """Return the structures of hosts as a flowchart: a subgraph for each host, and in it for each switch."""
    return "\n".join(_Chart(hosts).lines()) + "\n"


class _Chart:
    def __init__(self, hosts: fleet.Fleet) -> None:
        self.hosts = hosts
        self.pictures = [picture(structure) for _, structure in sorted(hosts.items())]
        self.ids: dict[tuple[str, str], str] = {}
        for one in self.pictures:
            for box in one.boxes:
                self.ids[one.host, box.id] = f"n{len(self.ids)}"

    def lines(self) -> Iterator[str]:
        yield "flowchart LR"
        for number, one in enumerate(self.pictures):
            yield f'  subgraph h{number}["{label(one.host)}"]'
            yield "    direction LR"
            yield from self._host(one, number)
            yield "  end"
        for one in self.pictures:
            yield from self._wires(one)
        yield from self._tunnels()
        for kind, (fill, edge) in LIGHT.items():
            yield f"  classDef {kind} fill:{fill},stroke:{edge},color:#1b2126"
        yield "  classDef down stroke:#b3261e,stroke-dasharray:5 3"
        down = [
            self.ids[one.host, box.id] for one in self.pictures for box in one.boxes if box.state == "down"
        ]
        if down:
            yield f"  class {','.join(down)} down"

    def _host(self, one: Picture, number: int) -> Iterator[str]:
        inside = _inside(one)
        for place, box in enumerate(one.boxes):
            if box.kind in SWITCHES:
                yield f'    subgraph h{number}b{place}["{label(box.title)}"]'
                for other in (box, *(other for other in one.boxes if inside.get(other.id) == box.id)):
                    yield f"      {self._box(one, other)}"
                yield "    end"
            elif box.id not in inside:
                yield f"    {self._box(one, box)}"

    def _wires(self, one: Picture) -> Iterator[str]:
        """Write the lines from left to right: Mermaid puts the end of a line behind its start."""
        places = layout(one).places
        for line in one.lines:
            ends = sorted((line.start, line.end), key=lambda end: places[end].column)
            start, end = (self.ids[one.host, end] for end in ends)
            yield f"  {start} {WIRES[line.state]} {end}"

    def _box(self, one: Picture, box: Box) -> str:
        words = [f"<b>{label(box.title)}</b>", *map(label, box.lines)]
        names = [label(f"{cell.text} ({cell.more})" if cell.more else cell.text) for cell in box.cells]
        words += [", ".join(names[first : first + PER_LINE]) for first in range(0, len(names), PER_LINE)]
        classes = f":::{colour(box.kind)}"
        return f'{self.ids[one.host, box.id]}["{"<br>".join(words)}"]{classes}'

    def _tunnels(self) -> Iterator[str]:
        owner = {(one.host, node): box.id for one in self.pictures for box in one.boxes for node in box.nodes}
        pairs, _ = fleet.tunnels(self.hosts)
        ends = {tuple(self.ids[host, owner[host, node]] for host, node in pair): None for pair in pairs}
        for start, end in ends:
            yield f"  {start} === {end}"


def _inside(one: Picture) -> dict[str, str]:
    """Return in which switch's subgraph a box is: in that of the only switch that it hangs on."""
    switches = {box.id for box in one.boxes if box.kind in SWITCHES}
    guests = {box.id for box in one.boxes if box.kind == "guest"}
    near: dict[str, set[str]] = {}
    for line in one.lines:
        near.setdefault(line.start, set()).add(line.end)
        near.setdefault(line.end, set()).add(line.start)
    found = {}
    for box in one.boxes:
        on = near.get(box.id, set()) & switches
        if len(on) == 1 and box.id not in switches | guests:
            found[box.id] = on.pop()
    return found


def label(words: str) -> str:
    """Return a text that Mermaid shows as it is."""
    plain = re.sub(r"\s", " ", NOT_XML.sub("\ufffd", words))  # every kind of line end, too
    return "".join(CODES.get(letter, letter) for letter in plain)

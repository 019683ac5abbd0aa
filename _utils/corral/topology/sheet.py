"""The drawings of hosts on one sheet, one below the other, with their tunnels joined at the right; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from corral.topology import fleet
from corral.topology.layout import TITLE, Layout, Point, layout, width
from corral.topology.view import Line, picture

MARGIN, HEAD = 22, 40  # within the frame of a host; for its name
BETWEEN, LANE = 26, 12  # between frames; between lines at their right
MOST = 60  # lines between hosts: a mesh of twelve is the last that anybody can follow


@dataclass(frozen=True)
class Frame:
    """One host on the sheet; what is in it is at ``inside`` and on."""

    layout: Layout
    top: float
    height: float

    @property
    def inside(self) -> Point:
        return MARGIN, self.top + HEAD


@dataclass(frozen=True)
class Join:
    """A tunnel between two hosts, and the points by which it goes."""

    line: Line
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Sheet:
    """A whole drawing.

    width
        That of the frames; with what is at their right, it is ``total``.
    """

    frames: tuple[Frame, ...]
    joins: tuple[Join, ...]
    width: float
    total: float
    height: float
    notes: tuple[str, ...]


def sheet(hosts: fleet.Fleet) -> Sheet:
    """Return where everything of these hosts' structures goes."""
    drawn = {host: layout(picture(structure)) for host, structure in sorted(hosts.items())}
    named = [width(host, TITLE + 2) for host in drawn]
    wide = max([260.0, *named, *(one.width for one in drawn.values())]) + 2 * MARGIN
    frames, top = {}, 0.0
    for host, one in drawn.items():
        frames[host] = Frame(one, top, one.height + HEAD + MARGIN)
        top += frames[host].height + BETWEEN
    pairs, wrong = fleet.tunnels(hosts)
    joins = _joins(frames, hosts, pairs, wide)
    notes = [f"{host}: {note}" for host, one in sorted(hosts.items()) for note in one["notes"]]
    if len(joins) > MOST:
        wrong.append(f"The {len(joins)} tunnels between these hosts are too many to be drawn as lines.")
        joins = ()
    total = wide + (LANE * (len(joins) + 1) if joins else 0)
    return Sheet(tuple(frames.values()), joins, wide, total, top - BETWEEN, (*notes, *wrong))


def _joins(
    frames: dict[str, Frame], hosts: fleet.Fleet, pairs: list[tuple[fleet.End, fleet.End]], wide: float
) -> tuple[Join, ...]:
    owner = {
        (host, node): place
        for host, frame in frames.items()
        for place in frame.layout.places.values()
        if place.box
        for node in place.box.nodes
    }
    found: dict[tuple[fleet.End, fleet.End], str] = {}
    for pair in pairs:
        ends = ((pair[0][0], owner[pair[0]].id), (pair[1][0], owner[pair[1]].id))
        down = any(hosts[host]["nodes"][node].get("state") == "down" for host, node in pair)
        found[ends] = "down" if down or found.get(ends) == "down" else "up"
    meets = Counter(end for ends in found for end in ends)
    used: Counter[fleet.End] = Counter()
    joins = []
    for number, (ends, state) in enumerate(found.items()):
        lane = wide + LANE * (number + 1)
        points = []
        for host, identity in ends:
            place, (x, y) = owner[host, identity], frames[host].inside
            step = min(8.0, place.height / (meets[host, identity] + 1))
            offset = step * (used[host, identity] - (meets[host, identity] - 1) / 2)
            used[host, identity] += 1
            points.append((x + place.x + place.width, y + place.y + offset))
        (x1, y1), (x2, y2) = points
        line = Line(f"{ends[0][0]}/{ends[0][1]}", f"{ends[1][0]}/{ends[1][1]}", "tunnel", state)
        joins.append(Join(line, ((x1, y1), (lane, y1), (lane, y2), (x2, y2))))
    return tuple(joins)

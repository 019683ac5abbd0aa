"""A sheet as SVG: one document that needs nothing else, neither a script nor a font nor a network; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.sax.saxutils import escape

from corral.topology.layout import LEAD, PAD, TEXT, TITLE, Place, Point, Route, cut, grid, width
from corral.topology.sheet import HEAD, MARGIN, Join, Sheet
from corral.topology.view import Box
from corral.topology.words import KINDS

CURVE = 8  # the radius of a joined tunnel's corners
EDGE = 14  # around the sheet
SHADES = {"down": "bad", "degraded": "warn"}
LEGEND = ("guest", "bridge", "bond", "tunnel", "nic", "patch", "internal")
NOT_XML = re.compile(
    "[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # XML 1.0, production Char; \r would become \n
# What has no colour of its own has that of plain devices.
LIKE = {
    "fake_bridge": "bridge", "linux_bridge": "bridge", "linux_bond": "bond",
    "veth": "patch", "tap": "internal",
}  # fmt: skip

# Fill, border: each pair and the text on it have a contrast of at least 4.5 to 1 (WCAG 2, 1.4.3).
LIGHT = {
    "guest": ("#e6f1fb", "#2f6ca8"),
    "bridge": ("#fdf1d0", "#94690b"),
    "bond": ("#f0eafb", "#6a48ad"),
    "tunnel": ("#e0f4e9", "#22734a"),
    "nic": ("#e9ecef", "#4a545e"),
    "patch": ("#ffffff", "#6b7680"),
    "internal": ("#e0f3f5", "#1d6f7a"),
    "mirror": ("#fbe9f2", "#9c3a6c"),
    "other": ("#ffffff", "#6b7680"),
}
DARK = {
    "guest": ("#16304a", "#7db4e8"),
    "bridge": ("#3b2f10", "#e0b455"),
    "bond": ("#2e2446", "#b69cf0"),
    "tunnel": ("#14372a", "#6fcf9c"),
    "nic": ("#2c333a", "#a9b4be"),
    "patch": ("#1d2227", "#98a3ad"),
    "internal": ("#12363b", "#6cc5d1"),
    "mirror": ("#42202f", "#e893bb"),
    "other": ("#1d2227", "#98a3ad"),
}
PAPER = {"sheet": "#ffffff", "frame": "#f5f7f9", "edge": "#c9d1d9", "ink": "#1b2126", "dim": "#4d5862",
         "wire": "#7d8790", "bad": "#b3261e", "warn": "#964b00"}  # fmt: skip
NIGHT = {"sheet": "#101418", "frame": "#171c21", "edge": "#39424b", "ink": "#e8edf2", "dim": "#a8b3bd",
         "wire": "#7d8994", "bad": "#ff8a80", "warn": "#ffb74d"}  # fmt: skip


def svg(sheet: Sheet, title: str) -> str:
    """Return a sheet as an SVG document; its colours are light or dark as the reader prefers."""
    wide = max(sheet.total, _legend_width()) + 2 * EDGE
    high = sheet.height + 2 * EDGE + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="topology" viewBox="0 0 {wide:.0f} {high:.0f}"'
        f' width="{wide:.0f}" height="{high:.0f}" role="img" aria-label="{text(title)}">',
        f"<title>{text(title)}</title>",
        f"<style>{style()}</style>",
        f'<rect class="sheet" width="{wide:.0f}" height="{high:.0f}"/>',
        f'<g transform="translate({EDGE} {EDGE})">',
        *_frames(sheet),
        *(_join(join) for join in sheet.joins),
        *_legend(sheet.height + 24),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def text(words: str) -> str:
    """Return a text for XML; what XML has no place for is shown as such."""
    return escape(NOT_XML.sub("\ufffd", words), {'"': "&quot;"})


def style() -> str:
    return (
        ".topology{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;"
        f"font-size:{TEXT}px;{_variables(LIGHT, PAPER)}}}"
        "@media (prefers-color-scheme:dark){.topology{" + _variables(DARK, NIGHT) + "}}"
        ".sheet{fill:var(--sheet)}.frame{fill:var(--frame);stroke:var(--edge)}"
        ".topology text{fill:var(--ink);white-space:pre}.topology .dim{fill:var(--dim)}"
        f".host{{font-size:{TITLE + 2}px;font-weight:bold}}.title{{font-size:{TITLE}px;font-weight:bold}}"
        ".wire{fill:none;stroke:var(--wire);stroke-width:1.4}.wire.tunnel{stroke:var(--tunnel-edge)}"
        ".wire.down{stroke:var(--bad);stroke-dasharray:5 4}"
        ".box rect{stroke-width:1.3}.box.down rect{stroke:var(--bad);stroke-dasharray:5 3}"
        ".box.degraded rect{stroke:var(--warn)}"
        ".topology .warn{fill:var(--warn)}"
        ".topology .bad{fill:var(--bad)}.dot{fill:var(--tunnel-edge)}.dot.down{fill:var(--bad)}"
        ".dot.unknown{fill:var(--wire)}.dot.degraded{fill:var(--warn)}"
        + "".join(f".{kind} rect{{fill:var(--{kind});stroke:var(--{kind}-edge)}}" for kind in LIGHT)
    )


def _variables(kinds: dict[str, tuple[str, str]], rest: dict[str, str]) -> str:
    pairs = [f"--{kind}:{fill};--{kind}-edge:{edge}" for kind, (fill, edge) in kinds.items()]
    return ";".join([*pairs, *(f"--{name}:{colour}" for name, colour in rest.items())])


def colour(kind: str) -> str:
    """Return the class of a kind of node."""
    known = LIKE.get(kind, kind)
    return known if known in LIGHT else "other"


def _frames(sheet: Sheet) -> Iterator[str]:
    for frame in sheet.frames:
        x, y = frame.inside
        yield (
            f'<rect class="frame" y="{frame.top:.1f}" width="{sheet.width:.1f}"'
            f' height="{frame.height:.1f}" rx="10"/>'
        )
        host = text(cut(frame.layout.picture.host))
        yield f'<text class="host" x="{MARGIN}" y="{frame.top + HEAD - 16:.1f}">{host}</text>'
        yield f'<g transform="translate({x:.1f} {y:.1f})">'
        yield from (_route(route) for route in frame.layout.routes)
        for place in frame.layout.places.values():
            yield from _box(place)
        yield "</g>"


def _route(route: Route) -> str:
    """Return a line: level where it meets boxes and passes columns, curved in between."""
    points = route.points
    path = f"M{_at(points[0])}"
    for (x1, y1), (x2, y2) in pairwise(points):
        if y1 == y2:
            path += f"H{x2:.1f}"
        else:
            bend = (x1 + x2) / 2 if x1 != x2 else x1 + 34  # back to the same column: a bow to the right
            path += f"C{bend:.1f},{y1:.1f} {bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    return f'<path class="wire {route.line.state}" d="{path}"/>'


def _join(join: Join) -> str:
    start, one, other, end = join.points
    turn = CURVE if one[1] < other[1] else -CURVE
    path = (
        f"M{_at(start)}H{one[0] - CURVE:.1f}Q{_at(one)} {_at((one[0], one[1] + turn))}"
        f"V{other[1] - turn:.1f}Q{_at(other)} {_at((other[0] - CURVE, other[1]))}H{end[0]:.1f}"
    )
    return f'<path class="wire tunnel {join.line.state}" d="{path}"/>'


def _at(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _box(place: Place) -> Iterator[str]:
    box = place.box
    assert box is not None
    yield f'<g class="box {colour(box.kind)} {box.state}"><title>{text(_told(box))}</title>'
    yield (
        f'<rect x="{place.x:.1f}" y="{place.top:.1f}" width="{place.width:.1f}"'
        f' height="{place.height:.1f}" rx="6"/>'
    )
    words = TITLE + LEAD * len(box.lines)
    y = place.y - words / 2 if not box.cells else place.top + PAD
    x = place.x + PAD
    yield f'<circle class="dot {box.state}" cx="{x + 4:.1f}" cy="{y + 7:.1f}" r="3.5"/>'
    yield f'<text class="title" x="{x + 13:.1f}" y="{y + 11:.1f}">{text(cut(box.title))}</text>'
    for number, line in enumerate(box.lines):
        shade = SHADES.get(box.state, "dim") if number else "dim"
        level = y + 11 + LEAD * (number + 1)
        yield f'<text class="{shade}" x="{x:.1f}" y="{level:.1f}">{text(cut(line))}</text>'
    if box.cells:
        yield from _cells(box, x, y + TITLE + LEAD * len(box.lines) + 6)
    yield "</g>"


def _told(box: Box) -> str:
    return "\n".join([KINDS.get(box.kind, box.kind), box.title, *box.lines])


def _cells(box: Box, x: float, y: float) -> Iterator[str]:
    columns, wide = grid(box.cells)
    rows = -(-len(box.cells) // columns)
    for number, cell in enumerate(box.cells):
        left, high = x + wide * (number // rows), y + LEAD * (number % rows + 1) - 4
        yield f'<circle class="dot {cell.state}" cx="{left + 4:.1f}" cy="{high - 4:.1f}" r="2.5"/>'
        more = f' <tspan class="dim">{text(cut(cell.more))}</tspan>' if cell.more else ""
        yield f'<text x="{left + 11:.1f}" y="{high:.1f}">{text(cut(cell.text))}{more}</text>'


def _legend_width() -> float:
    return sum(_step(word) for word in (*_words(), "down"))


def _words() -> list[str]:
    return [KINDS.get(kind, kind) for kind in LEGEND]


def _step(word: str) -> float:
    return 40 + width(word, TEXT)


def _legend(y: float) -> Iterator[str]:
    x = 1.0
    for kind, word in zip(LEGEND, _words(), strict=True):
        yield f'<g class="box {kind}"><rect x="{x:.1f}" y="{y - 9:.1f}" width="14" height="11" rx="3"/></g>'
        yield f'<text class="dim" x="{x + 20:.1f}" y="{y:.1f}">{word}</text>'
        x += _step(word)
    yield f'<path class="wire down" d="M{x:.1f},{y - 4:.1f}h20"/>'
    yield f'<text class="dim" x="{x + 26:.1f}" y="{y:.1f}">down</text>'

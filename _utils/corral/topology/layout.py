"""Where the boxes and lines of a drawing go: a layered layout from left to right; pure.

Guests and the host's own ports are on the left, then switches with what joins them, then what leaves the
host. Boxes are stacked in columns; lines run in the gaps between columns, and where one passes a column a
place is kept free for it, so that no line crosses a box (the method of Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

from corral.topology.view import Box, Cell, Line, Picture

# All in pixels. Widths are those of a monospaced font, which is at most 0.61 of its size wide.
TITLE, TEXT = 13, 11
CHARACTER = 0.61
LEAD, PAD = 15, 10
GAP, LANE, SPACE = 64, 10, 14  # between columns; the place of a passing line; between boxes of a column
LONGEST = 46  # characters that are shown of a text
LEFT = {"guest", "internal", "tap", "dpdkvhostuser", "dpdkvhostuserclient", "afxdp"}
RIGHT = {"tunnel", "nic"}
SWEEPS = 8

Point = tuple[float, float]


@dataclass
class Place:
    """A box, or the place of a passing line, in a column."""

    id: str
    width: float
    height: float
    column: int = 0
    x: float = 0.0
    y: float = 0.0  # of its middle
    box: Box | None = None
    left: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)

    @property
    def top(self) -> float:
        return self.y - self.height / 2


@dataclass(frozen=True)
class Route:
    """A line and the points by which it goes; it is level at each of them."""

    line: Line
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """A drawing of one host, from 0, 0 on."""

    picture: Picture
    width: float
    height: float
    places: dict[str, Place]
    routes: tuple[Route, ...]


def layout(picture: Picture) -> Layout:
    """Return where everything of a picture goes."""
    return _Layout(picture).done()


def cut(text: str) -> str:
    """Return a text that is not too long to be shown."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def width(text: str, size: float) -> float:
    """Return how wide a text is at most, in a monospaced font."""
    wide = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
    return wide * size * CHARACTER


def grid(cells: tuple[Cell, ...]) -> tuple[int, float]:
    """Return in how many columns cells are best shown, and how wide each is."""
    widest = max(width(cut(cell.text), TEXT) + width(cut(cell.more), TEXT) for cell in cells)
    columns = 1
    while len(cells) / columns > 13 * columns:
        columns += 1
    return columns, widest + 34


class _Layout:
    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.places = {box.id: _sized(box) for box in picture.boxes}
        self.near: dict[str, list[str]] = {identity: [] for identity in self.places}
        for line in picture.lines:
            self.near[line.start].append(line.end)
            self.near[line.end].append(line.start)

    def done(self) -> Layout:
        self._rank()
        chains = [self._chain(line, number) for number, line in enumerate(self.picture.lines)]
        for chain in chains:
            for one, other in pairwise(chain):
                self._join(one, other)
        columns = self._ordered()
        self._spread()
        self._stack(columns)
        total = self._across(columns)
        routes = [
            Route(line, self._points(chain)) for line, chain in zip(self.picture.lines, chains, strict=True)
        ]
        height = max((place.y + place.height / 2 for place in self.places.values()), default=0)
        boxes = {identity: place for identity, place in self.places.items() if place.box}
        return Layout(self.picture, total, height, boxes, tuple(routes))

    def _rank(self) -> None:
        """Put each box into a column: as many steps to the right as it is away from what is on the left."""
        column: dict[str, int] = {}
        kinds = {box.id: box.kind for box in self.picture.boxes}
        starts = [[one for one in self.near if self._leftmost(one, kinds)]]
        starts += [[one] for word in ("bridge", "") for one in self.near if kinds[one].startswith(word)]
        for number, start in enumerate(starts):
            wave, depth = [one for one in start if one not in column], min(number, 1)
            while wave:
                column |= dict.fromkeys(wave, depth)
                wave = list(dict.fromkeys(o for one in wave for o in self.near[one] if o not in column))
                depth += 1
        last = max(column.values(), default=0)
        for identity, place in self.places.items():
            edge = kinds[identity] in RIGHT and len(set(self.near[identity])) < 2
            place.column = last if edge else column[identity]
        used = sorted({place.column for place in self.places.values()})
        for place in self.places.values():
            place.column = used.index(place.column)

    def _leftmost(self, identity: str, kinds: dict[str, str]) -> bool:
        return kinds[identity] in LEFT and bool(self.near[identity])

    def _chain(self, line: Line, number: int) -> list[str]:
        """Return the places by which a line goes, with new ones in the columns that it passes."""
        start, end = sorted((line.start, line.end), key=lambda one: self.places[one].column)
        chain = [start]
        for column in range(self.places[start].column + 1, self.places[end].column):
            identity = f"\0{number}.{column}"  # no name has this letter
            self.places[identity] = Place(identity, 0, LANE, column)
            chain.append(identity)
        return [*chain, end]

    def _join(self, one: str, other: str) -> None:
        if self.places[one].column != self.places[other].column:
            self.places[one].right.append(other)
            self.places[other].left.append(one)
        else:  # both on the right side, by way of the gap
            self.places[one].right.append(other)
            self.places[other].right.append(one)

    def _ordered(self) -> list[list[Place]]:
        """Return the columns, each in an order that makes lines cross little."""
        columns: list[list[Place]] = [
            [] for _ in range(1 + max((p.column for p in self.places.values()), default=0))
        ]
        for identity in self._walk():
            columns[self.places[identity].column].append(self.places[identity])
        for sweep in range(SWEEPS):
            rank = {place.id: number for column in columns for number, place in enumerate(column)}
            for column in columns if sweep % 2 == 0 else reversed(columns):
                for number, place in enumerate(column):
                    near = place.left if sweep % 2 == 0 else place.right
                    seen = [rank[one] / max(len(columns[self.places[one].column]), 1) for one in near]
                    place.y = sum(seen) / len(seen) if seen else number / len(column)
                column.sort(key=lambda place: place.y)
                rank |= {place.id: number for number, place in enumerate(column)}
        return columns

    def _walk(self) -> list[str]:
        """Return all places, those that hang together one after the other."""
        order: dict[str, None] = {}
        for first in sorted(self.places, key=lambda one: (not self._joined(one), self.places[one].column)):
            waiting = [first]
            while waiting:
                one = waiting.pop()
                if one not in order:
                    order[one] = None
                    waiting += [*reversed(self.places[one].right), *reversed(self.places[one].left)]
        return list(order)

    def _joined(self, identity: str) -> bool:
        return bool(self.places[identity].left or self.places[identity].right)

    def _spread(self) -> None:
        """Make boxes high enough for their lines."""
        for place in self.places.values():
            if place.box:
                place.height = max(place.height, 2 * PAD + 8 * max(len(place.left), len(place.right)))

    def _stack(self, columns: list[list[Place]]) -> None:
        """Give each place its height, near to what it is joined to."""
        for column in columns:
            offset = 0.0
            for place in column:
                place.y = offset + place.height / 2
                offset += place.height + SPACE
        for sweep in range(SWEEPS):
            for column in columns if sweep % 2 else reversed(columns):
                wished = [self._wish(place) for place in column]
                for place, y in zip(column, settled(column, wished), strict=True):
                    place.y = y
        top = min((place.top for place in self.places.values()), default=0)
        for place in self.places.values():
            place.y -= top

    def _wish(self, place: Place) -> float:
        near = [self.places[one].y for one in (*place.left, *place.right)]
        return sum(near) / len(near) if near else place.y

    def _across(self, columns: list[list[Place]]) -> float:
        x = 0.0
        self.sides: list[Point] = []
        for number, column in enumerate(columns):
            widest = max((place.width for place in column), default=0)
            for place in column:  # on the left they stand against the switches
                place.x = x + widest - place.width if number == 0 else x
            self.sides.append((x, x + widest))
            loops = any(self.places[o].column == place.column for place in column for o in place.right)
            crossing = sum(len(place.right) for place in column)
            x += widest + (GAP + min(90, 2 * crossing) if number + 1 < len(columns) else 40 * loops)
        return x

    def _points(self, chain: list[str]) -> tuple[Point, ...]:
        points: list[Point] = []
        first, last = self.places[chain[0]], self.places[chain[-1]]
        if first.column == last.column:
            border = self.sides[first.column][1]
            ends = [
                (one, self._level(one.right, one, other.id)) for one, other in ((first, last), (last, first))
            ]
            out = [[(one.x + one.width, y), (border, y)] for one, y in ends]
            return (*out[0], *reversed(out[1]))
        for number, identity in enumerate(chain):
            place, (left, right) = self.places[identity], self.sides[self.places[identity].column]
            if number:
                y = self._level(place.left, place, chain[number - 1])
                points += [(left, y), (place.x, y)] if place.box else [(left, y)]
            if number + 1 < len(chain):
                y = self._level(place.right, place, chain[number + 1])
                points += [(place.x + place.width, y), (right, y)] if place.box else [(right, y)]
        return tuple(points)

    def _level(self, side: list[str], place: Place, other: str) -> float:
        """Return at which height a line meets one side of a place: in the order of the far ends."""
        order = sorted(side, key=lambda one: (self.places[one].y, one))
        step = min(14.0, (place.height - 2 * PAD) / max(len(order) - 1, 1)) if place.box else 0
        return place.y + step * (order.index(other) - (len(order) - 1) / 2)


def _sized(box: Box) -> Place:
    lines = [width(cut(line), TEXT) for line in box.lines]
    wide = max([width(cut(box.title), TITLE) + 14, *lines])
    high = 2 * PAD + TITLE + len(box.lines) * LEAD
    if box.cells:
        columns, cell = grid(box.cells)
        wide = max(wide, columns * cell - 10)
        high += 6 + -(-len(box.cells) // columns) * LEAD
    return Place(box.id, round(wide + 2 * PAD), high, box=box)


def settled(column: list[Place], wished: list[float]) -> list[float]:
    """Return heights as near as can be to the wished ones, in the same order and without overlap.

    By pooling adjacent violators: what gets into each other's way moves as one block from then on.
    """
    offsets, offset = [], 0.0
    for place in column:
        offsets.append(offset + place.height / 2)
        offset += place.height + SPACE
    blocks: list[tuple[float, int]] = []  # the sum of what its places wish for, and how many they are
    for wish, start in zip(wished, offsets, strict=True):
        block = (wish - start, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1])
        blocks.append(block)
    shifts = [total / count for total, count in blocks for _ in range(count)]
    return [shift + start for shift, start in zip(shifts, offsets, strict=True)]

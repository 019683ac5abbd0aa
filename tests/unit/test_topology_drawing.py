"""Drawings of structures: all of it is there once, and nothing lies over anything else."""

from __future__ import annotations

import copy
import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given

from corral.topology.fleet import joined, known, tunnels
from corral.topology.html import html
from corral.topology.layout import Layout, layout, width
from corral.topology.mermaid import mermaid
from corral.topology.sheet import sheet
from corral.topology.svg import DARK, LIGHT, NIGHT, PAPER, svg
from corral.topology.view import picture
from tests.support.topologies import PICTURE, Builder, example, overlay, structures

Structure = dict[str, Any]
SVG = "{http://www.w3.org/2000/svg}"
TITLE_SIZE, TEXT_SIZE = 13, 11


@given(structures())
def test_every_node_is_in_one_box(structure: Structure) -> None:
    found = Counter(node for box in picture(structure).boxes for node in box.nodes)
    assert found == Counter(list(structure["nodes"]))


@given(structures())
def test_no_two_boxes_overlap(structure: Structure) -> None:
    drawn = layout(picture(structure))
    rects = [(p.x, p.top, p.x + p.width, p.top + p.height) for p in drawn.places.values()]
    assert len(rects) == len(drawn.picture.boxes)
    assert all(x >= 0 and y >= -1e-6 for x, y, _, _ in rects)
    assert all(right <= drawn.width + 1e-6 and low <= drawn.height + 1e-6 for _, _, right, low in rects)
    for number, one in enumerate(rects):
        for other in rects[number + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def crossed(drawn: Layout) -> list[tuple[str, str, str]]:
    """Return the lines that run through a box: those that are level within a column must pass it beside."""
    found = []
    for route in drawn.routes:
        for (x1, y1), (x2, y2) in zip(route.points, route.points[1:], strict=False):
            left, right = sorted((x1, x2))
            for place in drawn.places.values():
                level = place.top < max(y1, y2) and min(y1, y2) < place.top + place.height
                if level and left < place.x + place.width - 1e-6 and place.x + 1e-6 < right:
                    found.append((route.line.start, route.line.end, place.id))
    return found


@given(structures())
def test_no_line_runs_through_a_box(structure: Structure) -> None:
    assert crossed(layout(picture(structure))) == []


@given(structures())
def test_every_line_ends_at_its_boxes(structure: Structure) -> None:
    drawn = layout(picture(structure))
    for route in drawn.routes:
        ends = {route.line.start, route.line.end}
        for x, y in (route.points[0], route.points[-1]):
            at = [
                one
                for one, p in drawn.places.items()
                if p.top - 1e-6 <= y <= p.top + p.height + 1e-6 and x in (p.x, p.x + p.width)
            ]
            assert ends & set(at), (route, at)


@given(structures())
def test_svg_and_html_are_well_formed_and_show_every_name(structure: Structure) -> None:
    hosts = {structure["host"]: structure}
    document = svg(sheet(hosts), "A title & <more>")
    shown = "\n".join(ElementTree.fromstring(document).itertext())
    page = ElementTree.fromstring(html(hosts, "A title & <more>"))
    cells = Counter(cell.text or "" for cell in page.iter("td") if cell.get("class") == "name")
    assert cells == Counter(readable(node["name"]) for node in structure["nodes"].values())
    for box in picture(structure).boxes:
        assert readable(box.title) in shown


def readable(name: str) -> str:
    """Return a name as XML can hold it."""
    return re.sub("[\x00-\x08\x0b-\x1f\ufffe\uffff]", "\ufffd", name)


@given(structures())
def test_mermaid_has_each_box_and_line_once(structure: Structure) -> None:
    chart, drawn = mermaid({structure["host"]: structure}), picture(structure)
    lines = chart.splitlines()
    assert lines[0] == "flowchart LR"
    boxes = [line for line in lines if re.fullmatch(r'\s*n\d+\["[^"]*"\]:::\w+', line)]
    wires = [line for line in lines if re.fullmatch(r"  n\d+ (---|-\.-) n\d+", line)]
    assert (len(boxes), len(wires)) == (len(drawn.boxes), len(drawn.lines))
    assert len({line.split("[")[0].strip() for line in boxes}) == len(boxes)
    opened = [line for line in lines if re.fullmatch(r'\s*subgraph h\w+\["[^"]*"\]', line)]
    assert len(opened) == sum(line.strip() == "end" for line in lines)
    rest = [line for line in lines[1:] if line not in boxes + wires + opened and line.strip() != "end"]
    rest = [line for line in rest if line.strip() != "direction LR" and not line.startswith("  classDef ")]
    down = [box for box in drawn.boxes if box.state == "down"]
    assert [line.count(",") + 1 for line in rest] == ([len(down)] if down else []), rest


def test_a_document_needs_nothing_else() -> None:
    """No script, no style sheet, no font, no picture and no address of anything that could be loaded."""
    hosts = {f"kvm{number}": overlay(number, 30, 3) for number in (1, 2, 3)}
    for document in (svg(sheet(hosts), "Fleet"), html(hosts, "Fleet")):
        bare = document.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"<script|<link|<img|@import|url\(|href=|src=|\bon\w+=|//", bare, re.IGNORECASE)
        assert "prefers-color-scheme:dark" in bare


def test_a_name_cannot_leave_its_place() -> None:
    """Names come from guests' owners: none may end the text, the page or the chart that it stands in."""
    build = Builder('kvm"1</text><script>')
    build.node("br0", "bridge")
    build.guest('web"]; click n0 "</title><script>alert(1)</script>', ("br0", 1, "up"))
    hosts = {build.made["host"]: build.made}
    for document in (svg(sheet(hosts), build.made["host"]), html(hosts, build.made["host"])):
        assert "<script" not in document
        ElementTree.fromstring(document)
    assert "<script" not in mermaid(hosts) and 'click n0 "' not in mermaid(hosts)


def boxes_of(structure: Structure) -> dict[str, Any]:
    return {box.title: box for box in picture(structure).boxes}


def test_many_guests_of_one_shape_share_a_box() -> None:
    found = boxes_of(overlay(1, 101))
    groups = {title: box for title, box in found.items() if title.endswith(" guests")}
    assert sum(len(box.cells) for box in groups.values()) == 101
    assert len(groups) == 4, "by VLAN, and those with a second network card"
    assert found["db & <backup>"].state == "down", "who is not like the others is seen"
    assert groups["61 guests"].lines == ("br-int · VLAN 10",)


def test_many_ports_of_one_shape_share_a_box() -> None:
    build = Builder("kvm1")
    build.node("br0", "bridge")
    for number in range(9):
        build.port("br0", f"gw{number}", "internal", vlan=5, addresses=[f"10.{number}.0.1/24"])
        build.port("br0", f"vx{number}", "tunnel", type="gre", key="7", remote=f"192.0.2.{number}")
    build.port("br0", "gw9", "internal", vlan=6)
    found = boxes_of(build.made)
    assert set(found) == {"br0", "9 internal ports", "9 tunnels", "gw9"}
    assert found["9 internal ports"].lines == ("internal port · VLAN 5",)
    assert [cell.more for cell in found["9 tunnels"].cells][:2] == ["→ 192.0.2.0", "→ 192.0.2.1"]


def test_a_drawing_of_many_guests_stays_small() -> None:
    drawn = sheet({"kvm1": overlay(1, 101)})
    assert drawn.total < 1800 and drawn.height < 1600
    drawn = sheet({"kvm1": overlay(1, 1000)})
    assert drawn.total < 3500 and drawn.height < 4000


def test_a_guest_that_is_down_leaves_the_box_of_the_others() -> None:
    structure = overlay(1, 30, bad=False)
    before = len(picture(structure).boxes)
    structure["nodes"]["vnet-web-002-0"] |= {"state": "down", "reason": "it has no carrier"}
    found = boxes_of(structure)
    assert len(found) == before + 1
    assert (found["web-002"].state, found["web-002"].lines[-1]) == ("down", "it has no carrier")


def test_tunnels_of_a_fleet_are_joined() -> None:
    hosts = {f"kvm{number}": overlay(number, 3, 3) for number in (1, 2, 3)}
    assert tunnels(hosts) == (
        [
            (("kvm1", "vx-kvm2"), ("kvm2", "vx-kvm1")),
            (("kvm1", "vx-kvm3"), ("kvm3", "vx-kvm1")),
            (("kvm2", "vx-kvm3"), ("kvm3", "vx-kvm2")),
        ],
        [],
    )
    drawn = sheet(hosts)
    assert len(drawn.joins) == 3
    assert len({join.points[1][0] for join in drawn.joins}) == 3, "each has a lane of its own"
    assert all(join.points[1][0] > drawn.width for join in drawn.joins), "beside the hosts"
    assert len([edge for edge in joined(hosts)["edges"] if edge["kind"] == "tunnel"]) == 3
    assert mermaid(hosts).count(" === ") == 3


def test_a_mesh_that_nobody_can_follow_has_no_lines() -> None:
    hosts = {f"kvm{number}": overlay(number, 1, 13) for number in range(1, 14)}
    drawn = sheet(known(hosts))
    assert drawn.joins == ()
    assert drawn.notes[-1] == "The 78 tunnels between these hosts are too many to be drawn as lines."
    assert "→ 192.0.2.13 (kvm13)" in svg(drawn, "Fleet"), "the boxes say where each leads"


@pytest.mark.parametrize(
    "change, note",
    [
        ({"key": "7"}, "kvm1: vx-kvm2 leads to kvm2, which has none of this type and key (vxlan 5001) back."),
        ({"remote": "203.0.113.9"}, "kvm1: vx-kvm2 leads to kvm2, which has no tunnel back."),
        (
            {"local": "203.0.113.9"},
            "kvm1: vx-kvm2 leads to kvm2, which has none of this type and key (vxlan 5001) back.",
        ),
    ],
)
def test_a_tunnel_without_its_other_end_is_told(change: dict[str, str], note: str) -> None:
    hosts = {f"kvm{number}": overlay(number, 3, 2) for number in (1, 2)}
    hosts["kvm2"]["nodes"]["vx-kvm1"] |= change
    pairs, notes = tunnels(hosts)
    assert (pairs, notes[0]) == ([], note)
    assert note in html(hosts, "Fleet").replace("&quot;", '"')


def test_joined_structures_keep_their_hosts_apart() -> None:
    hosts = {name: overlay(1, 2, 2) for name in ("a", "b")}
    before = copy.deepcopy(hosts)
    whole = joined(hosts)
    assert {node["host"] for node in whole["nodes"].values()} == {"a", "b"}
    assert len(whole["nodes"]) == sum(len(one["nodes"]) for one in hosts.values())
    assert all(edge[end] in whole["nodes"] for edge in whole["edges"] for end in ("from", "to"))
    assert hosts == before


@pytest.mark.parametrize("kinds, rest", [(LIGHT, PAPER), (DARK, NIGHT)], ids=["light", "dark"])
def test_all_text_can_be_read(kinds: dict[str, tuple[str, str]], rest: dict[str, str]) -> None:
    """WCAG 2 asks for a contrast of 4.5 to 1 of text (1.4.3), of 3 to 1 of other signs (1.4.11)."""
    grounds = [*(fill for fill, _ in kinds.values()), rest["sheet"], rest["frame"]]
    for ground in grounds:
        for word in ("ink", "dim", "bad", "warn"):
            assert contrast(rest[word], ground) >= 4.5, (word, ground)
    for kind, (fill, edge) in kinds.items():
        assert contrast(edge, rest["frame"]) >= 3 and contrast(edge, fill) >= 3, kind
    assert contrast(rest["wire"], rest["frame"]) >= 3


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[first : first + 2], 16) / 255 for first in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_texts_fit_into_their_boxes() -> None:
    document = ElementTree.fromstring(svg(sheet({"kvm1": overlay(1, 40)}), "One host"))
    seen = 0
    for group in document.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        if rect is None or "box" not in (group.get("class") or "") or rect.get("y") is None:
            continue
        if float(rect.get("width", "0")) < 20:
            continue  # of the legend
        right = float(rect.get("x", "0")) + float(rect.get("width", "0"))
        for word in group.iter(f"{SVG}text"):
            size = TITLE_SIZE if word.get("class") == "title" else TEXT_SIZE
            assert float(word.get("x", "0")) + width("".join(word.itertext()), size) <= right + 0.1
            seen += 1
    assert seen > 60


def test_the_picture_of_the_page_is_as_drawn() -> None:
    """Written anew by ``python -m tests.support.topologies`` when the drawing is meant to be another."""
    assert PICTURE.read_text(encoding="utf-8") == example()

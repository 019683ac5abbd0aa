"""``draw.py POINTS PICTURE``: the curve of ``bench/mesh.py``, where matplotlib is."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "corral"  # the same picture from the same points

from matplotlib import pyplot  # noqa: E402  (the backend is chosen first)

SERIES = {
    "first": ("Corral, first run", "o-", "#0b6e4f"),
    "again": ("Corral, nothing to do", "s-", "#3a7ca5"),
    "raw": ("one raw ovs-vsctl", "^--", "#8d6a9f"),
    "ping": ("salt-call test.ping", "x:", "#6c757d"),
}


def main(points_file: str, picture: str) -> None:
    points = json.loads(Path(points_file).read_text())
    figure, axes = pyplot.subplots(figsize=(7.5, 4.6))
    for name, (label, style, colour) in SERIES.items():
        there = [point for point in points if name in point]
        axes.plot(
            [point["ports"] for point in there],
            [point[name] for point in there],
            style,
            color=colour,
            label=label,
        )
    axes.set(xscale="log", yscale="log", xlabel="VXLAN ports", ylabel="seconds")
    axes.set_title("What a switch costs by its number of ports")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])

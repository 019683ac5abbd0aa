"""Where Salt finds the loader files of an installed ``saltext-corral``.

It imports nothing of ours, since Salt calls it at every start, wanted or not.
"""

from __future__ import annotations

from pathlib import Path

KINDS = ("modules", "states")


def dirs() -> dict[str, list[str]]:
    """Return the loader folders by Salt's kind of extension, for a wheel and for an editable install.

    In a wheel they are sub-folders of this package (``corral/modules``); in a checkout they stand
    beside its parent (``_modules``).
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent.parent
    return {
        kind: [str(folder) for folder in (package / kind, checkout / f"_{kind}") if folder.is_dir()]
        for kind in KINDS
    }

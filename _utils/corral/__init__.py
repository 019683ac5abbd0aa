"""Corral: hypervisors, switches, images, guests and pools kept as declared, by Salt."""

import os
import sys

__version__ = "0.1.0"


def _others() -> list[str]:
    """Return the other places on the import path that hold this package."""
    here = os.path.dirname(os.path.realpath(__file__))
    there = [os.path.join(folder, __name__) for folder in sys.path]
    return [one for one in there if os.path.isfile(f"{one}/converge.py") and os.path.realpath(one) != here]


# Salt takes loader files from the master first, and imports this package from where pip put it.
if _others():
    raise ImportError(
        f"corral is on this minion twice, in {os.path.dirname(__file__)} and in {_others()[0]}:"
        " deliver it by the master's file server or by pip, not by both"
    )

"""Names of a pool's guests: a template with the guest's index in it."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

FIELDS = ("pool", "host", "index", "letter")


@dataclass(frozen=True)
class Names:
    """A name template bound to its pool and host.

    template
        Text with ``{index}`` (from 0, with an optional width: ``{index:03d}``) or ``{letter}``
        (a … z, aa, ab …), and, as wanted, ``{pool}`` and ``{host}``.
    pool
        Name of the pool.
    host
        Short name of the host.
    """

    template: str
    pool: str
    host: str

    def name(self, index: int) -> str:
        """Return the name of the guest of an index, counted from 0."""
        return self.template.format(pool=self.pool, host=self.host, index=index, letter=letter(index))


def check_template(value: object) -> str:
    """Return a name template; raises ``ValueError`` for one that could not be filled in."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a name template ({{pool}}-{{index:03d}})")
    try:
        parts = list(string.Formatter().parse(value))
    except ValueError as wrong:
        raise ValueError(f"{value!r} is not a name template: {wrong}") from None
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if field not in FIELDS or conversion:
            raise ValueError(f"{value!r} has {{{field}}}, but a name template knows {_known()}")
        if spec and not (field == "index" and re.fullmatch(r"0?\d{1,2}d|d", spec)):
            raise ValueError(f"{value!r}: {spec!r} is not a format of {field} (03d, of the index only)")
    return value


def letter(index: int) -> str:
    """Return the letters of an index, counted as spreadsheet columns are: 0 is a, 25 z, 26 aa."""
    letters = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return letters


def _known() -> str:
    return ", ".join(f"{{{field}}}" for field in FIELDS)

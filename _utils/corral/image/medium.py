"""The installation medium of a TDL that names a checksum, fetched and checked before oz sees it.

Oz itself does so up to its newest code in a loop that waits for an empty *text* from a file of bytes: on
Python 3 it never ends (oz 0.17.0 and later, ``Guest._get_csums``).
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from corral.errors import Error, Refused
from corral.image.disk import digest
from corral.image.fetch import address, download
from corral.image.status import sum_of
from corral.image.tdl import SUMS, Install, Tdl
from corral.progress import Progress


def verified(tdl: Tdl, folder: Path, seconds: float, tell: Progress) -> Tdl:
    """Return the TDL with its medium on this host's disk, checked; as it is when it names no checksum.

    folder
        Where the medium goes.
    seconds
        How long the fetching may take.

    Raises ``Refused`` for another checksum, ``Unavailable`` when something cannot be fetched.
    """
    install = tdl.install
    kind, sums = next(((k, u) for k in SUMS if (u := getattr(install, k)) is not None), ("", ""))
    if install.iso is None or not kind:
        return tdl
    file, listing = folder / "medium.iso", folder / "sums"
    try:
        download(sums, listing, seconds, tell)
        wanted = sum_of(listing.read_text(errors="replace"), _name(install.iso), kind)
        if wanted is None:
            raise Refused(f"{address(sums)} has no {kind} of {_name(install.iso)}.")
    except Error as error:
        raise type(error)(f".tdl.install.{kind}: {error}") from error
    try:
        download(install.iso, file, seconds, tell)
    except Error as error:
        raise type(error)(f".tdl.install.iso: {error}") from error
    found = digest(file, kind.removesuffix("sum"))
    if found != wanted:
        medium, listed = address(install.iso), address(sums)
        raise Refused(f".tdl.install.{kind}: {medium} has {found}, {listed} says {wanted}.")
    return tdl.model_copy(update={"install": Install(iso=file.as_uri(), extras=install.extras)})


def _name(url: str) -> str:
    return os.path.basename(urlsplit(url).path)

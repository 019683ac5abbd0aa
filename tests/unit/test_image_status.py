"""What oz-install says: captured outputs (``cases/image/oz``), progress lines, lists of checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from corral.image.status import LONGEST, Finished, failure, progress, said, sum_of

CASES = Path(__file__).parent / "cases" / "image" / "oz"
SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize("file", sorted(CASES.glob("*.yaml")), ids=lambda file: file.stem)
def test_exit_status_is_repaired(file: Path) -> None:
    case: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    expected = case.pop("failure")
    finished = Finished(xml_path="/scratch/good.xml", **{"xml": "", "disk_bytes": None, **case})
    assert failure(finished) == expected


def test_an_endless_error_is_cut() -> None:
    stderr = "Traceback (most recent call last):\n  File\nValueError: " + "x" * 10_000
    text = said(Finished(1, "", stderr, "", "", None))
    assert len(text) == LONGEST
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Waiting for f23 to finish installing, 1190/1200", ("finish installing", 10, 1200)),
        ("Waiting for f23 to finish installing, 0/1200", ("finish installing", 1200, 1200)),
        ("Waiting for f23 to finish shutdown, 90/90", ("finish shutdown", 0, 90)),
        ("10240kB of 13853kB", ("fetch the medium (kB)", 10240, 13853)),
        ("Fetching the original media", None),
        ("Waiting for volume to be created, 90/90", None),
        ("Waiting for nothing", None),
    ],
)
def test_progress(line: str, step: tuple[str, int, int] | None) -> None:
    assert progress(line) == step


@pytest.mark.parametrize(
    ("listing", "found"),
    [
        (f"{SUM}  a.iso\n", SUM),
        (f"{'f' * 64}  b.iso\n{SUM.upper()} *a.iso\n", SUM),
        (f"{SUM}  ./a.iso", SUM),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSHA256 (a.iso) = {SUM}\n", SUM),
        (f"{SUM}\n", SUM),
        (f"{SUM}  aa.iso\n", None),
        (f"{SUM[:40]}  a.iso\n", None),
        (f"MD5 (a.iso) = {SUM}\n", None),
        ("", None),
    ],
)
def test_checksum_in_a_list(listing: str, found: str | None) -> None:
    assert sum_of(listing, "a.iso", "sha256sum") == found

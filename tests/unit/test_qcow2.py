"""Headers of qcow2 images, as qemu-img writes them (``cases/qcow2.yaml``) and as nobody should."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corral.qcow2 import Read, backing_path, header_of, parse

CASES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "cases/qcow2.yaml").read_text())


def reader(data: bytes) -> Read:
    return lambda offset, length: data[offset : offset + length]


def sample(name: str) -> bytes:
    return bytes.fromhex(CASES[name]["bytes"])


@pytest.mark.parametrize("name", CASES)
def test_headers_that_qemu_img_wrote(name: str) -> None:
    header = parse(reader(sample(name)))
    assert header is not None
    assert dataclasses.asdict(header) == CASES[name]["header"]


@pytest.mark.parametrize("data", [b"", b"QFI", b"\0" * 512, b"KDMV" + b"\1" * 100])
def test_what_is_not_qcow2(data: bytes) -> None:
    assert parse(reader(data)) is None


@given(st.integers(4, 0x21A))
def test_a_header_that_is_cut_off_is_said_to_be(length: int) -> None:
    data = sample("overlay")[:length]
    if length < 0x21A:
        with pytest.raises(ValueError, match="cut off"):
            parse(reader(data))


@given(st.binary(max_size=300))
def test_nonsense_after_the_magic_ends(rest: bytes) -> None:
    try:
        parse(reader(b"QFI\xfb\0\0\0\3" + rest))
    except ValueError as broken:
        assert "cut off" in str(broken)


@pytest.mark.parametrize(
    ("backing", "path"),
    [
        ("base.qcow2", "/srv/a/base.qcow2"),
        ("../b/base.qcow2", "/srv/b/base.qcow2"),
        ("/x/base.qcow2", "/x/base.qcow2"),
        ("file:/x/base.qcow2", "/x/base.qcow2"),
        ("file:///x/base.qcow2", "/x/base.qcow2"),
        ('json:{"file":{"driver":"file","filename":"/x/base.qcow2"}}', "/x/base.qcow2"),
        ('json:{"driver":"qcow2","file.filename":"/x/base.qcow2"}', "/x/base.qcow2"),
        ("json:{", None),
        ("json:[1]", None),
        ('json:{"file":{"driver":"nbd"}}', None),
        ("nbd://host/base", None),
        ("dir:with/colon", None),
        ("./dir:with/colon", "/srv/a/dir:with/colon"),
    ],
)
def test_what_a_backing_file_name_means(backing: str, path: str | None) -> None:
    assert backing_path("/srv/a/overlay.qcow2", backing) == path


def test_a_file_is_read_no_further_than_its_header(tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.write_bytes(sample("overlay"))
    header = header_of(str(overlay))
    assert header is not None
    assert header.backing == "base.qcow2"

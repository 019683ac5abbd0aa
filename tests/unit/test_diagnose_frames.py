"""DHCP messages made and read, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.diagnose.frames import Seen, discover, parse

MAC = "52:60:2f:00:00:01"
# The head of an OFFER of 10.9.0.104 by 10.9.0.1.
OFFER = bytes.fromhex(
    "52602f000001" "6a0142a41e2c" "0800"
    "45c00148000000004011656d0a0900010a090068"
    "004300440134"
    "0000"
    "0201060012345678" "00008000" "00000000" "0a090068" "0a090001" "00000000" "52602f000001"
)  # fmt: skip


def offer() -> bytes:
    options = bytes([99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 9, 0, 1, 51, 4, 0, 0, 14, 16, 255])
    return OFFER + bytes(10 + 64 + 128) + options


def test_a_discover_is_read_as_what_it_is() -> None:
    frame = discover(MAC, 0x12345678)
    assert parse(frame) == Seen("DISCOVER", MAC, 0x12345678)
    assert frame[:14] == bytes.fromhex("ffffffffffff52602f0000010800")
    assert len(frame) == 14 + 20 + 8 + 300


def test_the_header_of_a_discover_has_a_good_checksum() -> None:
    words = struct.unpack("!10H", discover(MAC, 1)[14:34])
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_an_offer() -> None:
    assert parse(offer()) == Seen("OFFER", MAC, 0x12345678, "10.9.0.104", "10.9.0.1")


@pytest.mark.parametrize("tags", ["81000005", "88a8000581000007"])
def test_a_tagged_one(tags: str) -> None:
    frame = offer()
    seen = parse(frame[:12] + bytes.fromhex(tags) + frame[12:])
    assert seen is not None
    assert seen.kind == "OFFER"


@pytest.mark.parametrize(
    ("at", "value"),
    [(12, b"\x86\xdd"), (14, b"\x60"), (23, b"\x06"), (34, b"\x00\x35")],
    ids=["IPv6", "version 6", "TCP", "another port"],
)
def test_something_else_is_nothing(at: int, value: bytes) -> None:
    frame = offer()
    assert parse(frame[:at] + value + frame[at + len(value) :]) is None


def test_a_checksum_that_does_not_fit() -> None:
    """That of the sample was left out; any but the right one is wrong."""
    frame = offer()
    size = len(frame) - 34
    plain = frame[:38] + struct.pack("!H", size) + b"\0\0" + frame[42:]
    words = frame[26:34] + struct.pack("!HH", 17, size) + plain[34:] + bytes(size % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words)) % 0xFFFF
    for checksum, intact in ((0, True), (0xFFFF - total, True), (1, False)):
        seen = parse(plain[:40] + struct.pack("!H", checksum) + plain[42:])
        assert seen is not None
        assert seen.intact is intact


def test_bootp_has_no_kind() -> None:
    frame = offer()
    plain = frame[: 14 + 20 + 8 + 236]
    seen = parse(plain + bytes(64))
    assert seen is not None
    assert seen.kind == "BOOTP"


@given(st.integers(0, 400))
def test_one_that_is_cut_off_breaks_nothing(size: int) -> None:
    seen = parse(offer()[:size])
    assert seen is None or seen.mac == MAC


@given(st.binary(max_size=400))
def test_noise_breaks_nothing(noise: bytes) -> None:
    assert parse(noise) is None

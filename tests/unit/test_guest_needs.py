"""What a guest needs of its host, and which disks must not go with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.guest import needs
from corral.guest.needs import lacking, undeletable
from corral.qcow2 import FIXED, MAGIC


def image(path: Path, base: Path | None = None) -> str:
    """Write the header of a qcow2 image, of an overlay if there is a base."""
    path.parent.mkdir(exist_ok=True)
    name = str(base or "").encode()
    header = FIXED.pack(MAGIC, 2, 72 if base else 0, len(name), 16, 1 << 20, 0)
    path.write_bytes(header.ljust(72, b"\0") + name)
    return str(path)


def test_a_disk_of_another_guest_under_another_path(tmp_path: Path) -> None:
    disk = image(tmp_path / "real" / "x.qcow2")
    (tmp_path / "link").symlink_to("real")
    used = {"a": {disk}, "b": {str(tmp_path / "link" / "x.qcow2")}}
    assert undeletable([disk], used, "a") == (
        f"guests.a.disks: {disk} is also a disk of b and is not deleted.",
    )
    assert undeletable([disk], {"a": {disk}}, "a") == ()


def test_the_base_of_a_base_of_another_guests_disk(tmp_path: Path) -> None:
    """Each lies in a folder of its own, so that only the chain leads there."""
    base = image(tmp_path / "1" / "base.qcow2")
    middle = image(tmp_path / "2" / "middle.qcow2", tmp_path / "1" / "base.qcow2")
    top = image(tmp_path / "3" / "top.qcow2", tmp_path / "2" / "middle.qcow2")
    assert undeletable([base], {"a": {base}, "b": {top}}, "a") == (
        f"guests.a.disks: {base} is the base of {middle} and is not deleted.",
    )


def test_a_base_goes_with_its_overlay(tmp_path: Path) -> None:
    base = image(tmp_path / "base.qcow2")
    overlay = image(tmp_path / "overlay.qcow2", tmp_path / "base.qcow2")
    assert undeletable([base, overlay], {"a": {base, overlay}}, "a") == ()


def test_overlays_on_each_other_come_to_an_end(tmp_path: Path) -> None:
    one = image(tmp_path / "one.qcow2", tmp_path / "other.qcow2")
    image(tmp_path / "other.qcow2", tmp_path / "one.qcow2")
    disk = image(tmp_path / "disk.qcow2")
    assert undeletable([disk], {"a": {disk}, "b": {one}}, "a") == ()


def test_a_link_is_not_deleted(tmp_path: Path) -> None:
    image(tmp_path / "x.qcow2")
    (tmp_path / "link.qcow2").symlink_to("x.qcow2")
    link = str(tmp_path / "link.qcow2")
    assert undeletable([link], {"a": {link}}, "a") == (
        f"guests.a.disks: {link} is not a regular file and is not deleted.",
    )


@pytest.mark.parametrize(
    ("file", "sentences"),
    [
        ("device/vendor", ("guests.web.nics[0].bridge: lo is a NIC, not a bridge.",)),
        ("master/uevent", ("guests.web.nics[0].bridge: lo is a port of bond7, not a bridge.",)),
        ("mtu", ()),
    ],
)
def test_a_bridge_is_no_nic_and_no_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, sentences: tuple[str, ...]
) -> None:
    assert bridge_problems(tmp_path, monkeypatch, file, "DEVTYPE=bond\n") == sentences


def test_a_bridge_may_be_in_a_vrf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bridge_problems(tmp_path, monkeypatch, "master/uevent", "DEVTYPE=vrf\n") == ()


def bridge_problems(net: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str) -> tuple[str, ...]:
    """Say what the kernel shows of ``lo``, a device of every host, and return what is wrong with it."""
    (net / "lo").mkdir()
    (net / "bond7").mkdir()
    if file.startswith("master/"):
        (net / "lo" / "master").symlink_to("../bond7")
    (net / "lo" / file).parent.mkdir(exist_ok=True)
    (net / "lo" / file).write_text(text)
    monkeypatch.setattr(needs, "NET", net)
    return lacking({"nics": [{"bridge": "lo", "switch": "ovs"}]}, "guests.web")

"""Fixtures of the guest tests: bridges, disks and guests of their own, looked at by virsh."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OVS_BRIDGE = "brt-guest"
LINUX_BRIDGE = "brt-guestl"
LINUX_PORT = "brt-guestp"  # of that bridge
IMAGES = Path("/var/lib/libvirt/images/tguest")
LOGS = Path("/var/log/libvirt/qemu")
DEFINITIONS = Path("/etc/libvirt/qemu")
PREFIX = "tguest"  # of the names of these tests' guests

# A boot sector that writes "U" to the serial port and powers off when its power button is pressed:
# PM1_EN, PM1_STS and PM1_CNT of the PIIX4's ACPI (0x602, 0x600, 0x604), where SeaBIOS puts them.
BOOT_SECTOR = bytes.fromhex(
    "fb"  # sti
    "baf803 b055 ee"  # 0x3f8 ← 'U'
    "ba0206 b80001 ef"  # power button enable
    "ba0006"
    "f4 ed f6c401 74f9"  # hlt; in ax; until the button's status bit is set
    "ba0406 b80020 ef"  # sleep type S5, sleep enable
    "f4 ebfd"
)
READY = "U"


def sh(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, check=check, capture_output=True, text=True, timeout=60)
    return done.stdout


def virsh(*argv: str, check: bool = True) -> str:
    return sh("virsh", "-c", "qemu:///system", "-q", *argv, check=check)


def restart_libvirtd() -> None:
    """End libvirtd, which leaves the guests running, and start it again as the throw-away host did."""
    pid = int(Path("/run/libvirtd.pid").read_text())
    ending = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert select.select([ending], [], [], 60)[0], "libvirtd does not end"
    os.close(ending)
    sh("libvirtd", "-d")
    virsh("uri")


@contextlib.contextmanager
def moved(path: Path) -> Iterator[None]:
    """Have a file or a folder away."""
    path.rename(path.with_suffix(".away"))
    try:
        yield
    finally:
        path.with_suffix(".away").rename(path)


@contextlib.contextmanager
def hung() -> Iterator[None]:
    """Have libvirtd answer nothing, as a daemon that is stopped does."""
    pid = int(Path("/run/libvirtd.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        virsh("uri")


def names() -> list[str]:
    return sorted(name for name in virsh("list", "--all", "--name").split() if name.startswith(PREFIX))


def seen() -> dict[str, Any]:
    """Return all that the states could move of these tests' guests: power, definitions, files, images."""
    return {
        "states": {name: virsh("domstate", "--reason", name) for name in names()},
        "ids": {name: virsh("domid", name) for name in names()},
        "definitions": {name: virsh("dumpxml", "--inactive", name) for name in names()},
        "files": {str(file): file.lstat().st_mtime_ns for file in sorted(DEFINITIONS.rglob(f"{PREFIX}*"))},
        "images": sorted(str(file) for file in IMAGES.iterdir()),
    }


def await_ready(log: Path, seconds: float = 60) -> None:
    """Wait for a guest's boot sector to say that it runs: a file tells nobody when it grows."""
    end = time.monotonic() + seconds
    while READY not in (log.read_text(errors="replace") if log.exists() else ""):
        assert time.monotonic() < end, f"nothing in {log}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def guest_bridges() -> Iterator[None]:
    sh(
        "ovs-vsctl",
        "--may-exist",
        "add-br",
        OVS_BRIDGE,
        "--",
        "set",
        "bridge",
        OVS_BRIDGE,
        "datapath_type=netdev",
    )
    sh("ip", "link", "add", LINUX_BRIDGE, "type", "bridge")
    sh("ip", "tuntap", "add", LINUX_PORT, "mode", "tap")
    sh("ip", "link", "set", LINUX_PORT, "master", LINUX_BRIDGE)
    yield
    sh("ovs-vsctl", "--if-exists", "del-br", OVS_BRIDGE)
    sh("ip", "link", "delete", LINUX_PORT)
    sh("ip", "link", "delete", LINUX_BRIDGE)


@pytest.fixture
def guest_images(guest_bridges: None) -> Iterator[Path]:
    """A folder for images; at the end these tests' guests are gone, too."""
    IMAGES.mkdir()
    yield IMAGES
    for name in names():
        virsh("destroy", name, check=False)
        virsh("undefine", "--managed-save", "--snapshots-metadata", "--nvram", name, check=False)
    shutil.rmtree(IMAGES)
    for log in LOGS.glob(f"{PREFIX}*"):
        log.unlink()


@pytest.fixture
def guest_disk(guest_images: Path) -> str:
    """An image that boots in no time, and obeys its power button."""
    path = guest_images / "boot.raw"
    path.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    return str(path)


@pytest.fixture
def guest_fields(guest_disk: str) -> dict[str, Any]:
    """A guest of this rig."""
    return {
        "memory": "32M",
        "type": "qemu",
        "tcg_cache": "8M",
        "disks": [{"path": guest_disk, "format": "raw"}],
        "nics": [{"bridge": OVS_BRIDGE}],
        "boot": ["hd"],
        "console_log": str(LOGS / f"{PREFIX}-console.log"),
    }


@pytest.fixture
def altered() -> Callable[[str, str, str], None]:
    """Change a definition behind our back: ``altered(name, old text, new text)``."""

    def alter(name: str, old: str, new: str) -> None:
        xml = virsh("dumpxml", "--inactive", "--security-info", name)
        assert old in xml, xml
        file = Path(f"/run/{os.getpid()}-{name}.xml")
        file.write_text(xml.replace(old, new))
        virsh("define", str(file))
        file.unlink()

    return alter

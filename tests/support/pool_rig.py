"""A switch, a subnet and an image for the pools of the tests, and leases that tests take for a guest."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from corral.dhcp import wire as dhcp
from corral.image.store import Store
from tests.support.guest_rig import BOOT_SECTOR, DEFINITIONS, LOGS, sh, virsh

BRIDGE = "brt-pool0"
SUBNET = "tpool"
IMAGE = "tpool-boot"
SPACE = "tpool"  # the network namespace in which leases are taken
PREFIX = "tpool"  # of the names of these tests' pools
FOLDER = Path("/var/lib/libvirt/images/tpools")
ADDRESSES = "10.77.0.10-10.77.0.19"
NETWORK = {"bridge": BRIDGE, "mac_prefix": "52:60:2f", "subnet": SUBNET, "addresses": ADDRESSES}
POOL: dict[str, Any] = {
    "replicas": 2,
    "image": IMAGE,
    "guest": {"memory": "32M", "type": "qemu", "tcg_cache": "8M"},
    "networks": [NETWORK],
    "disk": {"directory": str(FOLDER)},
    "boot": {"ready": "none"},
}
SERVED = {"interface": BRIDGE, "network": "10.77.0.0/24", "router": "10.77.0.1"}

State = Callable[..., dict[str, Any]]


def pool(**fields: Any) -> dict[str, Any]:
    return {**POOL, **fields}


def names() -> list[str]:
    return sorted(name for name in virsh("list", "--all", "--name").split() if name.startswith(PREFIX))


def running() -> list[str]:
    return sorted(name for name in virsh("list", "--name").split() if name.startswith(PREFIX))


def disks() -> dict[str, Any]:
    """Return the disks, which QEMU may write to and libvirt give to another user, by who they are."""
    return {str(path): path.lstat().st_ino for path in sorted(FOLDER.rglob("*"))}


def seen() -> dict[str, Any]:
    """Return all that the states could move: power, definitions, disks, reservations."""
    return {
        "states": {name: virsh("domstate", name) for name in names()},
        "ids": {name: virsh("domid", name) for name in names()},
        "definitions": {name: virsh("dumpxml", "--inactive", name) for name in names()},
        "files": {str(file): file.lstat().st_mtime_ns for file in sorted(DEFINITIONS.rglob(f"{PREFIX}*"))},
        "disks": disks(),
        "reservations": dhcp.all_reservations(SUBNET),
    }


def altered(name: str, old: str, new: str) -> None:
    """Change a definition behind our back."""
    xml = virsh("dumpxml", "--inactive", "--security-info", name)
    assert old in xml, xml
    file = Path(f"/run/{name}.xml")
    file.write_text(xml.replace(old, new))
    virsh("define", str(file))
    file.unlink()


def wipe() -> None:
    """Remove what pools left, past Corral."""
    for name in names():
        virsh("destroy", name, check=False)
        virsh("undefine", name, check=False)
    shutil.rmtree(FOLDER, ignore_errors=True)
    for owner, theirs in dhcp.all_reservations(SUBNET).items():
        if owner.startswith(PREFIX):
            dhcp.write_reservations(SUBNET, owner, ())
            dhcp.release(SUBNET, [one.mac for one in theirs])
    for log in LOGS.glob(f"{PREFIX}*"):
        log.unlink()


@pytest.fixture(scope="module")
def pool_host(pool_bridge: None, pool_image: None, pool_subnet: None) -> None:
    """A host that lacks nothing."""


@pytest.fixture(scope="module")
def pool_bridge() -> Iterator[None]:
    """A switch with an address of the host, and a cable to a namespace in which leases can be taken."""
    kind = ("--", "set", "bridge", BRIDGE, "datapath_type=netdev")
    sh("ip", "netns", "add", SPACE)
    sh("ip", "link", "add", "vtpool0", "type", "veth", "peer", "name", "eth0", "netns", SPACE)
    sh("ip", "link", "set", "vtpool0", "up")
    sh("ovs-vsctl", "--may-exist", "add-br", BRIDGE, *kind, "--", "add-port", BRIDGE, "vtpool0")
    sh("ip", "address", "add", "10.77.0.1/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")
    yield
    sh("ovs-vsctl", "--if-exists", "del-br", BRIDGE)
    sh("ip", "netns", "delete", SPACE)


@pytest.fixture(scope="module")
def pool_image(salt: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The image of a guest that boots in no time and obeys its power button."""
    disk = tmp_path_factory.mktemp("image") / "boot.raw"
    disk.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    _must(salt, "image.present", IMAGE, source="file", format="raw", path=str(disk))
    yield
    _must(salt, "image.absent", IMAGE)


@pytest.fixture(scope="module")
def pool_subnet(salt: Any, pool_bridge: None) -> Iterator[None]:
    _must(salt, "dhcp.subnet_managed", SUBNET, **SERVED)
    yield
    _must(salt, "dhcp.subnet_absent", SUBNET)


@pytest.fixture
def pools(pool_host: None) -> Iterator[None]:
    """At the end these tests' pools are gone."""
    yield
    wipe()


def _must(salt: Any, function: str, name: str, **arguments: Any) -> None:
    (answer,) = salt.cmd("state.single", function, name, **arguments).values()
    assert answer["result"] is True, answer


def take_lease(mac: str) -> None:
    """Take the lease of a MAC address over the switch, as its guest would."""
    sh("ip", "-n", SPACE, "link", "set", "eth0", "down")
    sh("ip", "-n", SPACE, "link", "set", "eth0", "address", mac, "up")
    client = ("busybox", "udhcpc", "-f", "-n", "-q", "-i", "eth0", "-t", "10", "-T", "1", "-s", "/bin/true")
    sh("ip", "netns", "exec", SPACE, *client)


@contextlib.contextmanager
def leasing(macs: dict[str, str]) -> Iterator[None]:
    """Take the leases of some guests, each as soon as it runs."""

    def lease(over: threading.Event) -> None:
        left = dict(macs)
        while left and not over.wait(0.1):
            for name in left.keys() & set(running()):
                take_lease(left.pop(name))

    with during(lease):
        yield


@contextlib.contextmanager
def during(act: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something in a thread, which is told when it is over; what goes wrong there is raised here."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as worker:
        done = worker.submit(act, over)
        try:
            yield
        finally:
            over.set()
        done.result()


def backing(path: Path) -> str:
    return sh("qemu-img", "info", "-U", "--backing-chain", str(path))


def base() -> Path:
    found = Store().find(IMAGE)
    assert found is not None
    return Path(found.path)

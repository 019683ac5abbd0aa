"""What the pool builds on: many calls at a time, events, and other writers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Conflict, Refused
from corral.guest.model import Guest
from corral.guest.wire import Libvirt
from tests.support.guest_rig import LOGS, OVS_BRIDGE, await_ready, names, restart_libvirtd, sh, virsh

Alter = Callable[[str, str, str], None]
FEW = [f"tguest-{letter}" for letter in "abcdef"]


def small(name: str, **fields: Any) -> Guest:
    return Guest.declare({"name": name, "memory": "32M", "type": "qemu", "tcg_cache": "8M", **fields})


def test_several_guests_at_a_time_on_two_connections(guest_images: Path) -> None:
    events: dict[str, list[str]] = {name: [] for name in FEW}
    with Libvirt(connections=2) as libvirt, ThreadPoolExecutor(len(FEW)) as pool:
        libvirt.read()
        libvirt.watch(lambda name, event, reason: events[name].append(f"{event} {reason}".strip()))
        nics = [{"bridge": OVS_BRIDGE}]
        list(pool.map(lambda name: libvirt.define(small(name, nics=nics), "hv1"), FEW))
        list(pool.map(libvirt.start, FEW))
        found = libvirt.read().guests
        assert {found[name].state for name in FEW} == {"running"}
        assert len({mac for name in FEW for mac in found[name].macs}) == len(FEW)
        assert list(pool.map(libvirt.destroy, FEW)) == [True] * len(FEW)
        assert list(pool.map(libvirt.destroy, FEW)) == [False] * len(FEW)
        list(pool.map(libvirt.undefine, FEW))
        list(pool.map(libvirt.undefine, FEW))
        _await(lambda: all("undefined" in seen for seen in events.values()))
    assert names() == []
    for seen in events.values():
        assert [
            event for event in seen if event in ("defined", "started", "stopped destroyed", "undefined")
        ] == [
            "defined",
            "started",
            "stopped destroyed",
            "undefined",
        ]


def _await(condition: Callable[[], bool]) -> None:
    """Events come by a thread of libvirt's, soon after the calls that cause them."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_guest_that_obeys_is_waited_for_no_longer_than_it_takes(guest_disk: str) -> None:
    log = LOGS / "tguest-a-console.log"
    with Libvirt() as libvirt:
        disks = [{"path": guest_disk, "format": "raw"}]
        libvirt.define(small("tguest-a", disks=disks, console_log=str(log)), "hv1")
        libvirt.start("tguest-a")
        await_ready(log)
        assert libvirt.shutdown("tguest-a", 600) is True
        assert libvirt.read().guests["tguest-a"].reason == "shutdown"


def test_a_saved_guest_is_known_as_such_by_the_next_libvirtd(guest_disk: str) -> None:
    with Libvirt() as libvirt:
        libvirt.define(small("tguest-a", disks=[{"path": guest_disk, "format": "raw"}]), "hv1")
        libvirt.start("tguest-a")
    virsh("managedsave", "tguest-a")
    restart_libvirtd()
    with Libvirt() as libvirt:
        found = libvirt.read().guests["tguest-a"]
        assert (found.state, found.reason) == ("stopped", "saved")


def test_a_guest_that_does_not_is_cut(guest_images: Path) -> None:
    with Libvirt() as libvirt:
        libvirt.define(small("tguest-b"), "hv1")
        libvirt.start("tguest-b")
        assert libvirt.shutdown("tguest-b", 0.5) is False
        assert libvirt.shutdown("tguest-b", 600) is True
        assert libvirt.shutdown("tguest-nosuch", 600) is True


def test_another_writer_is_a_conflict(guest_images: Path, altered: Alter) -> None:
    with Libvirt() as libvirt:
        libvirt.define(small("tguest-c"), "hv1")
        libvirt.read()
        altered("tguest-c", "<vcpu placement='static'>1<", "<vcpu placement='static'>2<")
        with pytest.raises(Conflict):
            libvirt.define(small("tguest-c", memory="64M"))
        libvirt.read()
        libvirt.define(small("tguest-c", memory="64M"))
        fields = libvirt.read().guests["tguest-c"].fields
        assert (fields["memory"], fields["vcpus"]) == ("64M", 2)
        virsh("undefine", "tguest-c")
        with pytest.raises(Conflict):
            libvirt.define(small("tguest-c", memory="32M"))


def test_what_is_as_declared_is_not_written(guest_images: Path) -> None:
    file = Path("/etc/libvirt/qemu/tguest-d.xml")
    with Libvirt() as libvirt:
        libvirt.define(small("tguest-d", autostart=True), "hv1")
        before = file.stat().st_mtime_ns
        libvirt.read()
        libvirt.define(small("tguest-d", autostart=True))
        assert file.stat().st_mtime_ns == before
        libvirt.define(small("tguest-d", autostart=False))
        assert file.stat().st_mtime_ns == before
        assert libvirt.read().guests["tguest-d"].fields["autostart"] is False


def test_passwords_survive_an_edit_and_are_not_read(guest_images: Path, altered: Alter) -> None:
    with Libvirt() as libvirt:
        libvirt.define(small("tguest-e"), "hv1")
        altered("tguest-e", "</devices>", "<graphics type='vnc' port='-1' passwd='s3cret'/></devices>")
        found = libvirt.read().guests["tguest-e"]
        assert "vnc" in found.xml and "s3cret" not in found.xml
        libvirt.define(small("tguest-e", memory="64M"))
    assert "passwd='s3cret'" in virsh("dumpxml", "--inactive", "--security-info", "tguest-e")


def test_the_mark_is_a_piece_of_metadata_that_others_can_read(guest_images: Path) -> None:
    mark = {"id": "hv1", "pool": "webs", "index": 3, "made": 1700000000}
    with Libvirt() as libvirt:
        libvirt.define(small("tguest-f", corral=mark))
        assert libvirt.read().guests["tguest-f"].mark == mark
    assert 'pool="webs"' in virsh("metadata", "tguest-f", "urn:saltext:corral:guest")


def test_a_crash_is_seen(guest_images: Path) -> None:
    """QEMU itself is killed: the reason is in the next look and in the event."""
    crashed = threading.Event()
    with Libvirt() as libvirt:
        libvirt.watch(
            lambda name, event, reason: crashed.set() if event == "stopped" and reason != "shutdown" else None
        )
        libvirt.define(small("tguest-a"), "hv1")
        libvirt.start("tguest-a")
        pid = Path("/run/libvirt/qemu/tguest-a.pid").read_text().strip()
        os.kill(int(pid), signal.SIGKILL)
        assert crashed.wait(10)
        found = libvirt.read().guests["tguest-a"]
        assert (found.state, found.reason) == ("stopped", "crashed")


def test_a_guest_that_is_not_there_cannot_start(guest_images: Path) -> None:
    with (
        Libvirt() as libvirt,
        pytest.raises(Refused, match="tguest-none could not be started:"),
    ):
        libvirt.start("tguest-none")


def test_no_thread_and_no_connection_is_left_when_all_is_closed(guest_images: Path) -> None:
    _await(lambda: not _threads())  # of a test before, whose libvirtd hung
    before = _clients()
    for _ in range(2):
        with Libvirt(connections=2) as libvirt, ThreadPoolExecutor(8) as pool:
            libvirt.read()
            libvirt.watch(lambda *_: None)
            list(pool.map(lambda _: libvirt.read(), range(8)))
            assert len(_clients()) == len(before) + 2
    _await(lambda: not _threads())  # the last answers before it ends
    _await(lambda: _clients() == before)


def _threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name == "libvirt events" or name.startswith("within")]


def _clients() -> list[str]:
    """Return who is connected, as libvirtd sees it."""
    listed = sh("virt-admin", "-c", "libvirtd:///system", "client-list", "libvirtd")
    return [line.split()[0] for line in listed.splitlines()[2:] if line.strip()]

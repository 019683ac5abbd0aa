"""Bad declarations, a libvirtd that is down or hangs: one sentence, and nothing on the host moved."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Refused, Unavailable
from corral.guest import connections
from corral.guest.wire import Libvirt
from tests.support.expect import assert_failed
from tests.support.guest_rig import LINUX_BRIDGE, LINUX_PORT, OVS_BRIDGE, hung, moved, names, seen

State = Callable[..., dict[str, Any]]
SOCKET = Path("/run/libvirt/libvirt-sock")
DAEMON = Path("/usr/sbin/libvirtd")

BAD: list[tuple[dict[str, Any], str]] = [
    ({"memry": "64M"}, "guests.tguest-bad.memry: unknown key"),
    ({"memory": "much"}, "guests.tguest-bad.memory: 'much' is not a size (512M, 10G)"),
    ({"vcpus": "two"}, "guests.tguest-bad.vcpus: 'two' is not valid"),
    (
        {"nics": [{"bridge": OVS_BRIDGE, "vlan": 5000}]},
        "guests.tguest-bad.nics[0].vlan: 5000 is not a VLAN id",
    ),
    ({"nics": {"bridge": OVS_BRIDGE}}, "guests.tguest-bad.nics: a mapping is not valid"),
    (
        {"nics": [{"bridge": OVS_BRIDGE}, {"bridge": "brt-nosuch"}]},
        "guests.tguest-bad.nics[1].bridge: there is no bridge brt-nosuch on this host.",
    ),
    (
        {"nics": [{"bridge": LINUX_BRIDGE}]},
        f"guests.tguest-bad.nics[0].bridge: {LINUX_BRIDGE} is a Linux bridge, not one of Open vSwitch",
    ),
    (
        {"nics": [{"bridge": OVS_BRIDGE, "switch": "linux"}]},
        f"guests.tguest-bad.nics[0].bridge: {OVS_BRIDGE} is not a Linux bridge",
    ),
    (
        {"nics": [{"bridge": LINUX_PORT}]},
        f"guests.tguest-bad.nics[0].bridge: {LINUX_PORT} is a port of {LINUX_BRIDGE}, not a bridge.",
    ),
    ({"nics": [{"bridge": OVS_BRIDGE, "mac": "52:54:00:77:00:01"}]}, "is the MAC address of tguest-other."),
    (
        {"disks": [{"path": "/nowhere/root.qcow2"}]},
        "guests.tguest-bad.disks[0].path: there is no disk image /nowhere/root.qcow2.",
    ),
    (
        {"disks": [{"path": "/etc/passwd", "format": "vmdk"}]},
        "guests.tguest-bad.disks[0].format: 'vmdk' is not valid",
    ),
    ({"console_log": "/nowhere/log"}, "guests.tguest-bad.console_log: there is no folder /nowhere."),
]


@pytest.fixture
def other(state: State, guest_fields: dict[str, Any]) -> None:
    """A guest that is there already, with a known address."""
    nics = [{"bridge": OVS_BRIDGE, "mac": "52:54:00:77:00:01"}]
    assert state("guest.stopped", "tguest-other", **{**guest_fields, "nics": nics})["result"] is True


@pytest.mark.parametrize(("wrong", "sentence"), BAD, ids=[sentence[:50] for _, sentence in BAD])
def test_bad_input(state: State, other: None, wrong: dict[str, Any], sentence: str) -> None:
    before = seen()
    assert_failed(
        state("guest.running", "tguest-bad", **{"memory": "32M", "type": "qemu", **wrong}), sentence
    )
    assert seen() == before


def test_bad_input_for_a_guest_that_exists(state: State, other: None) -> None:
    before = seen()
    for wrong, sentence in (
        (
            {"nics": [{"bridge": "brt-nosuch"}]},
            "guests.tguest-other.nics[0].bridge: there is no bridge brt-nosuch",
        ),
        ({"memory": "0"}, "guests.tguest-other.memory: '0' is not a whole number of mebibytes"),
    ):
        assert_failed(state("guest.running", "tguest-other", **wrong), sentence)
    assert seen() == before


def test_a_preview_says_what_a_run_would_be_refused_for(state: State, guest_images: Path) -> None:
    """The bridge may be made by the same highstate, so that a preview is no failure."""
    answer = state("guest.running", "tguest-bad", test=True, memory="32M", nics=[{"bridge": "brt-nosuch"}])
    assert answer["result"] is None
    assert "A run now would be refused: guests.tguest-bad.nics[0].bridge: there is no" in answer["comment"]


def test_the_disk_of_another_guest(state: State, other: None, guest_disk: str) -> None:
    before = seen()
    answer = state(
        "guest.running",
        "tguest-bad",
        memory="32M",
        type="qemu",
        disks=[{"path": guest_disk, "format": "raw"}],
    )
    assert_failed(answer, f"guests.tguest-bad.disks[0].path: {guest_disk} is a disk of tguest-other.")
    assert seen() == before


def test_what_libvirt_refuses_is_said_in_its_words(state: State, guest_fields: dict[str, Any]) -> None:
    before = seen()
    assert_failed(
        state("guest.running", "tguest-bad", **{**guest_fields, "machine": "pc-nosuch"}),
        "tguest-bad could not be defined: XML error: ",
    )
    assert seen() == before


def test_a_start_that_fails_is_not_shown_as_done(
    state: State, guest_fields: dict[str, Any], guest_disk: str
) -> None:
    """QEMU finds no qcow2 header in the raw image; the definition was made, and is shown."""
    wrong = {**guest_fields, "disks": [{"path": guest_disk, "format": "qcow2"}]}
    answer = state("guest.running", "tguest-bad", **wrong)
    assert answer["result"] is False
    assert list(answer["changes"]) == ["tguest-bad"]
    assert answer["comment"].startswith("tguest-bad could not be started:")
    right = state("guest.running", "tguest-bad", **guest_fields)
    assert right["result"] is True, right


def test_libvirtd_hangs(state: State, guest_fields: dict[str, Any]) -> None:
    before = seen()
    with hung():
        answer = state("guest.running", "tguest-bad", **guest_fields)
    assert_failed(answer, "libvirt (qemu:///system) did not answer within 10 s.")
    assert seen() == before


def test_libvirtd_hangs_in_a_preview(state: State) -> None:
    """What could not be read is not absent."""
    with hung():
        assert_failed(state("guest.absent", "tguest-none", test=True), "did not answer within 10 s")


def test_libvirtd_hangs_while_a_connection_is_open(guest_images: Path) -> None:
    with Libvirt(timeout=1) as libvirt:
        libvirt.read()
        with hung(), pytest.raises(Unavailable, match="within 1 s"):
            libvirt.read()


def test_libvirtd_hangs_while_a_guest_starts(
    state: State, guest_fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start may take minutes; keepalive tells sooner that nobody is there any more."""
    monkeypatch.setattr(connections, "KEEPALIVE", (1, 2))
    assert state("guest.stopped", "tguest-slow", **guest_fields)["result"] is True
    with Libvirt() as libvirt:
        libvirt.read()
        with hung(), pytest.raises(Unavailable, match="does not answer"):
            libvirt.start("tguest-slow")


def test_libvirtd_is_down(state: State, guest_images: Path) -> None:
    with moved(SOCKET):
        for test in (True, False):
            assert_failed(
                state("guest.stopped", "tguest-none", test=test), "libvirt (qemu:///system) does not answer"
            )
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(SOCKET))
        stale.close()
        assert_failed(state("guest.stopped", "tguest-none"), "Connection refused")
        SOCKET.unlink()
    assert state("guest.stopped", "tguest-none")["result"] is True


def test_before_the_installation_a_preview_shows_everything(state: State, guest_images: Path) -> None:
    with moved(SOCKET), moved(DAEMON):
        answer = state("guest.running", "tguest-new", test=True, memory="32M")
        assert answer["result"] is None
        assert list(answer["changes"]) == ["tguest-new", "tguest-new.state"]
        assert "empty host: libvirt is not installed on this host" in answer["comment"]
        assert_failed(
            state("guest.running", "tguest-new", memory="32M"), "libvirt is not installed on this host"
        )


def test_functions_raise_what_they_cannot_do(salt: Any, guest_images: Path) -> None:
    assert "There is no guest tguest-none on this host." in str(_error(salt, "guest.show", "tguest-none"))
    with moved(SOCKET):
        assert "does not answer" in str(_error(salt, "guest.list"))


def _error(salt: Any, function: str, *arguments: str) -> Exception:
    with pytest.raises(Exception) as raised:
        salt.cmd(function, *arguments)
    assert type(raised.value).__name__ == "CommandExecutionError"
    return raised.value


def test_nothing_is_printed_by_the_library(capfd: pytest.CaptureFixture[str], guest_images: Path) -> None:
    with Libvirt() as libvirt, pytest.raises(Refused):
        libvirt.start("tguest-none")
    assert capfd.readouterr() == ("", "")
    assert names() == []

"""Bad declarations and broken hosts: one sentence that names the path, and nothing on the host moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corral.dhcp import paths, process
from corral.image.model import STORE
from corral.pool.lock import locked
from tests.support.expect import assert_failed
from tests.support.guest_rig import hung, moved, sh, virsh
from tests.support.pool_rig import (
    FOLDER,
    NETWORK,
    SUBNET,
    State,
    altered,
    base,
    names,
    pool,
    seen,
)

AT = "pools.tpool-bad"
SOCKET = Path("/run/libvirt/libvirt-sock")

BAD: list[tuple[dict[str, Any], str]] = [
    ({"replicas": "two"}, f"{AT}.replicas: 'two' is not valid"),
    ({"replica": 2}, f"{AT}.replica: unknown key"),
    ({"networks": [{**NETWORK, "vlan": 5000}]}, f"{AT}.networks[0].vlan: 5000 is not a VLAN id (1–4094)"),
    (
        {"replicas": 11},
        f"{AT}.networks[0].addresses: 10.77.0.10-10.77.0.19 holds 10 addresses, but replicas is 11",
    ),
    (
        {"networks": [NETWORK, {**NETWORK, "addresses": "10.77.0.15-10.77.0.29"}]},
        f"{AT}.networks[1].addresses: 10.77.0.15-10.77.0.29 overlaps the addresses of networks[0]",
    ),
    (
        {"networks": [{**NETWORK, "bridge": "brt-nosuch"}]},
        f"{AT}.networks[0].bridge: there is no bridge brt-nosuch on this host.",
    ),
    (
        {"networks": [{**NETWORK, "subnet": "nosuch"}]},
        f"{AT}.networks[0].subnet: there is no DHCP subnet nosuch on this host.",
    ),
    (
        {"networks": [{**NETWORK, "addresses": "10.78.0.10-10.78.0.19"}]},
        f"{AT}.networks[0].addresses[0].address: 10.78.0.10 lies outside 10.77.0.0/24",
    ),
    (
        {"networks": [{**NETWORK, "addresses": "10.77.0.1-10.77.0.9"}]},
        f"{AT}.networks[0].addresses[0].address: 10.77.0.1 is",
    ),
    ({"image": "tpool-nosuch"}, f"{AT}.image: there is no image tpool-nosuch in {STORE}."),
    (
        {"disk": {"directory": str(FOLDER), "size": "1K"}},
        f"{AT}.disk.size: 1K is less than the 1048576 bytes of image tpool-boot.",
    ),
    ({"guest": {"type": "qemu"}}, f"{AT}.guest.memory: is required to create a guest"),
    ({"disk": {"directory": "/etc/passwd"}}, f"{AT}.disk.directory: /etc/passwd is not a folder."),
    (
        {"guest": {"memory": "32M", "console_log": "/nowhere/{guest}.log"}},
        f"{AT}.guest.console_log: there is no folder /nowhere.",
    ),
]


@pytest.mark.parametrize(("wrong", "sentence"), BAD, ids=[sentence[:60] for _, sentence in BAD])
def test_bad_input(state: State, pools: None, wrong: dict[str, Any], sentence: str) -> None:
    before = seen()
    assert_failed(state("guest_pool.running", "tpool-bad", **pool(**wrong)), sentence)
    assert seen() == before


def test_a_preview_says_what_is_still_missing(state: State, pools: None) -> None:
    """Other states of the same highstate may make it, so that a preview is no failure."""
    declared = pool(image="tpool-nosuch", networks=[{"bridge": "brt-nosuch", "subnet": "nosuch"}])
    answer = state("guest_pool.running", "tpool-bad", test=True, **declared)
    assert (answer["result"], len(answer["changes"])) == (None, 4)
    for missing in (
        f"image tpool-nosuch in {STORE}.",
        "bridge brt-nosuch on this host.",
        "DHCP subnet nosuch on this host.",
    ):
        assert f"there is no {missing}" in answer["comment"]


def test_a_guest_of_somebody_else_with_a_name_of_ours(state: State, pools: None) -> None:
    other = {"memory": "32M", "type": "qemu"}
    assert state("guest.stopped", "tpool-bad-001", **other)["result"] is True
    before = seen()
    refused = state("guest_pool.running", "tpool-bad", **pool())
    assert_failed(
        refused, f"{AT}.guests.tpool-bad-001: a guest of this name exists that is not of this pool."
    )
    assert seen() == before


def test_addresses_of_another_pool(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-one", **pool(replicas=1))["result"] is True
    before = seen()
    sentence = "pools.tpool-two.networks[0].addresses[0].address: 10.77.0.10 is already reserved for"
    assert_failed(state("guest_pool.running", "tpool-two", **pool()), sentence)
    assert seen() == before


def test_the_base_image_is_gone_while_disks_need_it(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-base", **pool())["result"] is True
    before, image = seen(), base()
    disk = FOLDER / "tpool-base" / "tpool-base-000.qcow2"
    with moved(image):
        for test in (True, False):
            assert_failed(
                state("guest_pool.running", "tpool-base", test=test, **pool(replicas=3)),
                f"pools.tpool-base.guests.tpool-base-000: its disk {disk} is an overlay of {image},",
                "which does not exist (2 disks of the pool are);",
            )
    assert seen() == before
    refused = state("image.absent", "tpool-boot")
    assert_failed(refused, "images.tpool-boot")
    assert base().exists()


def test_libvirtd_is_down(state: State, pools: None) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [("running", pool()), ("stopped", {}), ("absent", {})]
    with moved(SOCKET):
        for function, arguments in calls:
            for test in (True, False):
                answer = state(f"guest_pool.{function}", "tpool-down", test=test, **arguments)
                assert_failed(answer, "libvirt (qemu:///system) does not answer")
    assert names() == []
    assert not FOLDER.exists()


def test_before_the_installation_a_preview_shows_everything(state: State, pools: None) -> None:
    with moved(SOCKET), moved(Path("/usr/sbin/libvirtd")), moved(Path("/usr/bin/qemu-img")):
        answer = state("guest_pool.running", "tpool-new", test=True, **pool())
        assert answer["result"] is None
        assert len(answer["changes"]) == 4
        assert "empty host: libvirt is not installed on this host" in answer["comment"]
        assert_failed(state("guest_pool.running", "tpool-new", **pool()), "libvirt is not installed")
    assert state("guest_pool.running", "tpool-new", **pool())["changes"] == answer["changes"]


def test_the_dhcp_server_is_down(state: State, pools: None) -> None:
    serving = process.find(SUBNET)
    assert serving is not None
    process.end(serving)
    try:
        assert_failed(
            state("guest_pool.running", "tpool-bad", **pool(boot={"ready": "lease"})),
            f"{AT}.networks[0].subnet: the DHCP server of {SUBNET} does not run",
        )
        assert names() == []
    finally:
        interface = {"interface": NETWORK["bridge"], "network": "10.77.0.0/24", "router": "10.77.0.1"}
        assert state("dhcp.subnet_managed", SUBNET, **interface)["result"] is True


def test_two_runs_at_a_time(state: State, pools: None) -> None:
    before = seen()
    with locked("tpool-two"):
        assert_failed(
            state("guest_pool.running", "tpool-two", **pool()),
            "pools.tpool-two: another run is at work on this pool.",
        )
    assert seen() == before


def test_a_start_that_libvirt_refuses_is_told_and_the_others_run(state: State, pools: None) -> None:
    """QEMU cannot open one disk, which is no disk at all."""
    assert state("guest_pool.running", "tpool-part", **pool(replicas=1))["result"] is True
    folder = FOLDER / "tpool-part"
    sh("qemu-img", "create", "-q", "-f", "qcow2", str(folder / "tpool-part-001.qcow2"), "1M")
    with (folder / "tpool-part-001.qcow2").open("r+b") as disk:
        disk.seek(4)
        disk.write(b"\0\0\0\x63")  # a version of qcow2 that nobody knows
    answer = state("guest_pool.running", "tpool-part", **pool(replicas=3))
    assert answer["result"] is False
    assert (
        "1 guest is not ready, of 2 to be started: tpool-part-001: could not be started: "
        in (answer["comment"])
    )
    at = "tpool-part.guests.tpool-part"
    assert set(answer["changes"]) == {f"{at}-001", f"{at}-002", f"{at}-002.state"}
    assert virsh("domstate", "tpool-part-002").strip() == "running"


def test_a_port_is_no_bridge(state: State, pools: None) -> None:
    before = seen()
    sh("ip", "link", "add", "tpool-master", "type", "bridge")
    sh("ip", "link", "add", "tpool-port", "master", "tpool-master", "type", "veth")
    try:
        answer = state(
            "guest_pool.running", "tpool-bad", **pool(networks=[{**NETWORK, "bridge": "tpool-port"}])
        )
    finally:
        sh("ip", "link", "delete", "tpool-port")
        sh("ip", "link", "delete", "tpool-master")
    assert_failed(answer, f"{AT}.networks[0].bridge: tpool-port is a port of tpool-master, not a bridge.")
    assert seen() == before


def test_a_mark_that_somebody_damaged(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-mark", **pool())["result"] is True
    altered("tpool-mark-001", 'index="1"', 'index="a"')
    before = seen()
    for function, arguments in (("running", pool()), ("stopped", {}), ("absent", {})):
        assert_failed(
            state(f"guest_pool.{function}", "tpool-mark", **arguments),
            "pools.tpool-mark.guests.tpool-mark-001: the mark in its metadata is damaged: corral.index: ",
        )
    assert seen() == before


def test_a_guest_that_another_minion_made(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-moved", **pool())["result"] is True
    altered("tpool-moved-001", 'id="hypervisor"', 'id="hv2"')
    before = seen()
    for function, arguments in (("running", pool(replicas=1)), ("stopped", {}), ("absent", {})):
        assert_failed(
            state(f"guest_pool.{function}", "tpool-moved", **arguments),
            "pools.tpool-moved.guests.tpool-moved-001: it was made by hv2; ",
        )
    assert state("guest_pool.running", "tpool-moved", **pool())["changes"] == {}
    assert seen() == before


def test_libvirtd_hangs(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-hung", **pool(replicas=1))["result"] is True
    before = seen()
    with hung():
        for function, arguments in (("running", pool()), ("absent", {})):
            answer = state(f"guest_pool.{function}", "tpool-hung", **arguments)
            assert_failed(answer, "libvirt (qemu:///system) did not answer within 10 s.")
    assert seen() == before


def test_the_state_of_the_dhcp_server_cannot_be_read(state: State, pools: None) -> None:
    odd = paths.hosts(SUBNET) / "tpool-odd"
    before = seen()
    odd.mkdir(parents=True)
    try:
        answer = state("guest_pool.running", "tpool-bad", **pool())
    finally:
        odd.rmdir()
    assert_failed(answer, f"{odd} cannot be read: Is a directory.")
    assert seen() == before


def test_paused(state: State, pools: None) -> None:
    answer = state("guest_pool.running", "tpool-bad", **pool(paused=True))
    assert (answer["result"], answer["changes"]) == (True, {})
    assert answer["comment"] == "tpool-bad is paused, so it is left alone."
    assert names() == []

"""Pools of real guests: made, grown, shrunk, stopped and taken away."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from corral.dhcp import wire as dhcp
from tests.support.guest_rig import virsh
from tests.support.pool_rig import (
    FOLDER,
    NETWORK,
    State,
    altered,
    backing,
    base,
    disks,
    names,
    pool,
    running,
    seen,
    take_lease,
)

FourWays = Callable[..., dict[str, Any]]


def reserved(name: str) -> dict[str | None, str]:
    return {one.name: one.address for one in dhcp.all_reservations("tpool").get(name, ())}


def test_running(four_ways: FourWays, pools: None) -> None:
    """S0.3: clones with computed names, UUIDs and MAC addresses, on Open vSwitch."""
    changes = four_ways(
        "guest_pool.running",
        "tpool-run",
        look=seen,
        disturb=lambda: altered("tpool-run-001", ">32768</", ">65536</"),
        drift={"tpool-run.guests.tpool-run-001.memory": {"old": "64M", "new": "32M", "takes": "restart"}},
        **pool(replicas=3),
    )
    expected = [f"tpool-run-00{index}" for index in range(3)]
    assert list(changes) == [f"tpool-run.guests.{name}{key}" for name in expected for key in ("", ".state")]
    assert running() == expected
    for index, name in enumerate(expected):
        new = changes[f"tpool-run.guests.{name}"]["new"]
        xml = virsh("dumpxml", "--inactive", name)
        assert (new["uuid"], new["nics"][0]["mac"]) == (
            virsh("domuuid", name).strip(),
            re.findall("<mac address='(.*?)'/>", xml)[0],
        )
        assert new["nics"][0]["mac"].startswith("52:60:2f:")
        assert "<virtualport type='openvswitch'>" in xml
        assert reserved("tpool-run")[name] == f"10.77.0.{10 + index}"
        chain = backing(FOLDER / "tpool-run" / f"{name}.qcow2")
        assert chain.count("\nvirtual size:") == 2  # an overlay of depth 1
        assert f"backing file: {base()}" in chain
        assert "backing file format: raw" in chain


def test_what_went_wrong_behind_our_back_is_mended(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-mend", **pool(replicas=4))["result"] is True
    virsh("destroy", "tpool-mend-000")
    virsh("suspend", "tpool-mend-001")
    virsh("destroy", "tpool-mend-002")
    virsh("undefine", "tpool-mend-002")
    before = disks()
    reservations = dhcp.all_reservations("tpool")["tpool-mend"]
    dhcp.write_reservations(
        "tpool", "tpool-mend", [one for one in reservations if one.name != "tpool-mend-003"]
    )
    mended = state("guest_pool.running", "tpool-mend", **pool(replicas=4))
    assert mended["result"] is True, mended
    at = "tpool-mend.guests.tpool-mend"
    assert mended["changes"][f"{at}-000.state"] == {"old": "stopped", "new": "running"}
    assert mended["changes"][f"{at}-001.state"] == {"old": "paused", "new": "running"}
    assert mended["changes"][f"{at}-002"]["new"]["disk"] == "kept"
    (again,) = mended["changes"][f"{at}-003.reservations"]["new"]
    assert again["address"] == "10.77.0.13"
    assert len(mended["changes"]) == 5
    assert (len(running()), disks(), len(reserved("tpool-mend"))) == (4, before, 4)


def test_growing_and_shrinking(state: State, pools: None) -> None:
    def to(replicas: int, **scale_in: Any) -> dict[str, Any]:
        answer = state("guest_pool.running", "tpool-size", **pool(replicas=replicas, scale_in=scale_in))
        assert answer["result"] is True, answer
        assert len(running()) == len(names()) == len(reserved("tpool-size")) == replicas
        return answer["changes"]

    to(3)
    before = disks()
    (gone,) = to(2, shutdown_timeout="20s").items()
    assert gone[0] == "tpool-size.guests.tpool-size-002"
    assert (gone[1]["old"]["state"], gone[1]["new"]) == ("running", None)
    assert disks() == before, "disks are kept unless it is declared otherwise"
    back = to(3)
    assert back["tpool-size.guests.tpool-size-002"]["new"]["disk"] == "kept"
    assert disks() == before
    (lowest,) = to(2, policy="lowest_index", shutdown_timeout=0)
    assert lowest == "tpool-size.guests.tpool-size-000"
    lost = to(1, disks="delete")
    path = str(FOLDER / "tpool-size" / "tpool-size-000.qcow2")
    assert lost["tpool-size.guests.tpool-size-002"]["takes"] == "data loss"
    assert lost[f"tpool-size.disks.{path}"] == {"old": "kept", "new": None, "takes": "data loss"}
    assert [name for name in disks() if name.endswith(".qcow2")] == [path.replace("-000.", "-001.")]


def test_another_network_and_another_memory(state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-update", **pool())["result"] is True
    before = {name: virsh("domid", name) for name in names()}
    second = {"bridge": NETWORK["bridge"], "vlan": 7}
    answer = state(
        "guest_pool.running",
        "tpool-update",
        **pool(guest={"memory": "64M", "autostart": True}, networks=[NETWORK, second]),
    )
    assert answer["result"] is True, answer
    kinds = {key.split(".", 3)[3].split(".")[0] for key in answer["changes"]}
    assert kinds == {"memory", "autostart", "nics"}
    assert len(answer["changes"]) == 6
    assert {name: virsh("domid", name) for name in names()} == before, "nothing is restarted for it"


def test_stopped(four_ways: FourWays, state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-stop", **pool())["result"] is True
    changes = four_ways(
        "guest_pool.stopped",
        "tpool-stop",
        look=seen,
        disturb=lambda: virsh("start", "tpool-stop-001"),
        drift={"tpool-stop.guests.tpool-stop-001.state": {"old": "running", "new": "stopped"}},
    )
    assert len(changes) == 2
    assert len(names()) == 2
    for name in names():
        assert virsh("domstate", "--reason", name).split() == ["shut", "off", "(shutdown)"], "it was cut"


def test_absent_keeps_disks(four_ways: FourWays, state: State, pools: None) -> None:
    assert state("guest_pool.running", "tpool-gone", **pool())["result"] is True
    before, definition = disks(), virsh("dumpxml", "--inactive", "tpool-gone-001")
    copy = FOLDER / "copy.xml"

    def define_again() -> None:
        copy.write_text(definition)
        virsh("define", str(copy))
        copy.unlink()

    uuid = virsh("domuuid", "tpool-gone-001").strip()
    four_ways(
        "guest_pool.absent",
        "tpool-gone",
        look=seen,
        disturb=define_again,
        drift={
            "tpool-gone.guests.tpool-gone-001": {"old": {"uuid": uuid, "state": "stopped"}, "new": None},
        },
        shutdown_timeout=0,
    )
    assert (names(), reserved("tpool-gone"), disks()) == ([], {}, before)
    deleted = state("guest_pool.absent", "tpool-gone", disks="delete", directory=str(FOLDER))
    assert deleted["result"] is True
    assert {change["takes"] for change in deleted["changes"].values()} == {"data loss"}
    assert disks() == {}


def test_functions(state: State, salt: Any, pools: None) -> None:
    declared = pool(names="{host}{letter}")
    planned = salt.cmd("guest_pool.plan", "tpool-fun", **pool(replicas=1))
    assert list(planned) == ["tpool-fun.guests.tpool-fun-000", "tpool-fun.guests.tpool-fun-000.state"]
    computed = salt.cmd("guest_pool.identity", "tpool-fun", **pool())
    assert state("guest_pool.running", "tpool-fun", **pool())["result"] is True
    found = salt.cmd("guest_pool.identity", "tpool-fun")
    assert found == {name: {**one, "exists": True} for name, one in computed.items()}
    assert [one["address"] for one in found.values()] == ["10.77.0.10", "10.77.0.11"]
    shown = salt.cmd("guest_pool.show", "tpool-fun")
    assert (shown["replicas"], shown["running"]) == (2, 2)
    guest = shown["guests"]["tpool-fun-001"]
    assert {key: guest[key] for key in ("index", "state", "memory", "address")} == {
        "index": 1,
        "state": "running",
        "memory": "32M",
        "address": "10.77.0.11",
    }
    assert (
        list(salt.cmd("guest_pool.plan", "tpool-fun", **declared)) == []
    )  # those that exist keep their names


def test_the_address_that_a_guest_holds_is_the_one_that_is_shown(
    state: State, salt: Any, pools: None
) -> None:
    assert state("guest_pool.running", "tpool-held", **pool(replicas=1))["result"] is True
    (one,) = dhcp.all_reservations("tpool")["tpool-held"]
    take_lease(one.mac)
    dhcp.write_reservations("tpool", "tpool-held", [one.model_copy(update={"address": "10.77.0.19"})])
    shown = salt.cmd("guest_pool.show", "tpool-held")["guests"]["tpool-held-000"]
    assert shown["address"] == one.address == "10.77.0.10"


def test_functions_say_what_they_cannot_do(salt: Any, pools: None) -> None:
    for function in ("show", "identity", "readout"):
        with pytest.raises(Exception, match="There is no guest of a pool tpool-none on this host"):
            salt.cmd(f"guest_pool.{function}", "tpool-none")
    with pytest.raises(Exception, match=r"pools\.tpool-none\.replicas: is required"):
        salt.cmd("guest_pool.plan", "tpool-none", image="x")
    with pytest.raises(Exception, match=r"readout\.timeout: 'soon' is not a duration"):
        salt.cmd("guest_pool.readout", "tpool-none", timeout="soon")

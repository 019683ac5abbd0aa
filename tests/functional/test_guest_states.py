"""The states of a single guest, with a real libvirtd and QEMU."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.guest_rig import LINUX_BRIDGE, LOGS, OVS_BRIDGE, await_ready, names, seen, sh, virsh

State = Callable[..., dict[str, Any]]
Alter = Callable[[str, str, str], None]
GOLDEN = Path(__file__).parents[1] / "unit" / "cases" / "guest" / "render" / "every_field.yaml"
OTHER_UUID = "6f1c4e8e-3a52-5b5e-9d0c-3f8f2e4b7a11"


def uuid(name: str) -> str:
    return virsh("domuuid", name).strip()


def macs(name: str) -> list[str]:
    return re.findall(r"<mac address='(.*?)'/>", virsh("dumpxml", "--inactive", name))


def test_running(
    four_ways: Callable[..., dict[str, Any]], guest_fields: dict[str, Any], altered: Alter
) -> None:
    changes = four_ways(
        "guest.running",
        "tguest-run",
        look=seen,
        disturb=lambda: altered("tguest-run", ">32768<", ">65536<"),  # the memory, and all of it
        drift={"tguest-run.memory": {"old": "64M", "new": "32M", "takes": "restart"}},
        **guest_fields,
    )
    made = changes["tguest-run"]["new"]
    assert (uuid("tguest-run"), macs("tguest-run")) == (made["uuid"], [made["nics"][0]["mac"]])
    assert changes["tguest-run.state"] == {"old": None, "new": "running"}
    assert "tguest-run" in virsh("list", "--name")
    await_ready(Path(guest_fields["console_log"]))


def test_running_again_when_it_was_stopped(
    four_ways: Callable[..., dict[str, Any]], state: State, guest_fields: dict[str, Any]
) -> None:
    assert state("guest.stopped", "tguest-again", **guest_fields)["result"] is True
    changes = four_ways(
        "guest.running",
        "tguest-again",
        look=seen,
        disturb=lambda: virsh("suspend", "tguest-again"),
        drift={"tguest-again.state": {"old": "paused", "new": "running"}},
    )
    assert changes == {"tguest-again.state": {"old": "stopped", "new": "running"}}


def test_stopped(
    four_ways: Callable[..., dict[str, Any]], state: State, guest_fields: dict[str, Any]
) -> None:
    """The guest obeys its power button, so nobody waits for the time it has."""
    assert state("guest.running", "tguest-stop", **guest_fields)["result"] is True
    await_ready(Path(guest_fields["console_log"]))

    def start() -> None:
        Path(guest_fields["console_log"]).write_text("")
        virsh("start", "tguest-stop")
        await_ready(Path(guest_fields["console_log"]))

    changes = four_ways(
        "guest.stopped",
        "tguest-stop",
        look=seen,
        disturb=start,
        drift={"tguest-stop.state": {"old": "running", "new": "stopped"}},
        shutdown_timeout="10m",
    )
    assert changes == {"tguest-stop.state": {"old": "running", "new": "stopped"}}
    assert "(shutdown)" in virsh("domstate", "--reason", "tguest-stop")


def test_stopped_by_force_when_it_does_not_listen(state: State, guest_fields: dict[str, Any]) -> None:
    deaf = {**guest_fields, "disks": [], "boot": ["network"], "nics": []}
    assert state("guest.running", "tguest-deaf", **deaf)["result"] is True
    assert state("guest.stopped", "tguest-deaf", shutdown_timeout=1)["result"] is True
    assert "(destroyed)" in virsh("domstate", "--reason", "tguest-deaf")


def test_stopped_at_once_when_it_cannot_listen(state: State, guest_fields: dict[str, Any]) -> None:
    assert state("guest.running", "tguest-pause", **guest_fields)["result"] is True
    virsh("suspend", "tguest-pause")
    done = state("guest.stopped", "tguest-pause", shutdown_timeout="10m")
    assert (done["result"], done["changes"]) == (
        True,
        {"tguest-pause.state": {"old": "paused", "new": "stopped"}},
    )
    assert "(destroyed)" in virsh("domstate", "--reason", "tguest-pause")


def test_stopped_of_nothing_is_fine(state: State, guest_images: Path) -> None:
    for test in (True, False):
        answer = state("guest.stopped", "tguest-none", test=test)
        assert (answer["result"], answer["changes"]) == (True, {})
    assert names() == []


def test_absent(
    four_ways: Callable[..., dict[str, Any]], state: State, guest_fields: dict[str, Any], guest_disk: str
) -> None:
    assert state("guest.running", "tguest-gone", **guest_fields)["result"] is True
    known: dict[str, Any] = {}

    def again() -> None:
        assert state("guest.stopped", "tguest-gone", **guest_fields)["result"] is True

    def remember(changes: dict[str, Any]) -> dict[str, Any]:
        return {"tguest-gone": changes["tguest-gone"]}

    preview = state("guest.absent", "tguest-gone", test=True, shutdown_timeout=0)
    known.update(remember(preview["changes"]))
    changes = four_ways(
        "guest.absent", "tguest-gone", look=seen, disturb=again, drift=known, shutdown_timeout=0
    )
    assert list(changes) == ["tguest-gone.state", "tguest-gone"]
    assert Path(guest_disk).exists()
    assert names() == []


def test_absent_with_its_disks(state: State, guest_fields: dict[str, Any], guest_disk: str) -> None:
    assert state("guest.running", "tguest-wipe", **guest_fields)["result"] is True
    preview = state("guest.absent", "tguest-wipe", test=True, disks="delete", shutdown_timeout=0)
    assert preview["changes"][f"tguest-wipe.disks.{guest_disk}"]["takes"] == "data loss"
    assert Path(guest_disk).exists()
    done = state("guest.absent", "tguest-wipe", disks="delete", shutdown_timeout=0)
    assert (done["result"], done["changes"]) == (True, preview["changes"])
    assert not Path(guest_disk).exists()
    assert names() == []


def test_absent_with_snapshots_saved_memory_and_a_disk_that_is_gone(
    state: State, guest_fields: dict[str, Any], guest_images: Path
) -> None:
    sh("qemu-img", "create", "-q", "-f", "qcow2", str(guest_images / "s.qcow2"), "1M")
    declared = {**guest_fields, "disks": [{"path": str(guest_images / "s.qcow2")}]}
    assert state("guest.running", "tguest-snap", **declared)["result"] is True
    virsh("snapshot-create-as", "tguest-snap", "one")
    virsh("managedsave", "tguest-snap")
    (guest_images / "s.qcow2").unlink()
    assert state("guest.absent", "tguest-snap", disks="delete")["result"] is True
    assert names() == []


def test_every_field_settles(state: State, guest_disk: str, guest_images: Path) -> None:
    """What libvirt makes of each field is what we say of it: no second run finds a difference."""
    every = yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))
    sh("qemu-img", "create", "-q", "-f", "qcow2", str(guest_images / "<a> & 'b'.qcow2"), "1M")
    every |= {
        "name": "tguest-every",
        "autostart": True,
        "cpu": "qemu64",
        "console_log": str(LOGS / "tguest-every-console.log"),
        "disks": [
            {"path": guest_disk, "format": "raw", "bus": "virtio"},
            {"path": str(guest_images / "<a> & 'b'.qcow2"), "format": "qcow2", "bus": "sata"},
        ],
        "nics": [
            {"bridge": OVS_BRIDGE, "mac": "52:54:00:00:00:01", "vlan": 7, "switch": "ovs", "model": "e1000"},
            {
                "bridge": LINUX_BRIDGE,
                "mac": "52:54:00:00:00:02",
                "switch": "linux",
                "model": "virtio",
                "offload": False,
            },
        ],
    }
    name = every.pop("name")
    every.pop("corral")
    run = state("guest.running", name, **every)
    assert run["result"] is True, run
    before = seen()
    again = state("guest.running", name, **every)
    assert (again["result"], again["changes"]) == (True, {}), again
    assert seen() == before
    assert "tag: 7" in sh("ovs-vsctl", "show")
    changed = {
        **every,
        "cpu": "maximum",
        "boot": ["hd"],
        "rng": False,
        "tcg_cache": None,
        "console_log": None,
    }
    run = state("guest.running", name, **changed, test=True)
    assert {key: change["new"] for key, change in run["changes"].items()} == {
        f"{name}.cpu": "maximum",
        f"{name}.boot": ["hd"],
        f"{name}.rng": False,
        f"{name}.tcg_cache": None,
        f"{name}.console_log": None,
    }
    run = state("guest.running", name, **changed)
    assert run["result"] is True, run


def test_autostart_is_previewed_and_set_without_touching_the_definition(
    four_ways: Callable[..., dict[str, Any]], state: State, guest_fields: dict[str, Any]
) -> None:
    """Salt's own virt states set it in test mode and said so in neither."""
    assert state("guest.stopped", "tguest-auto", **guest_fields)["result"] is True
    definition = Path("/etc/libvirt/qemu/tguest-auto.xml").stat().st_mtime_ns
    changes = four_ways(
        "guest.stopped",
        "tguest-auto",
        look=seen,
        disturb=lambda: virsh("autostart", "--disable", "tguest-auto"),
        drift={"tguest-auto.autostart": {"old": False, "new": True}},
        autostart=True,
    )
    assert changes == {"tguest-auto.autostart": {"old": False, "new": True}}
    assert Path("/etc/libvirt/qemu/tguest-auto.xml").stat().st_mtime_ns == definition


def test_identity_is_adopted_and_never_changed(
    state: State, guest_fields: dict[str, Any], guest_images: Path
) -> None:
    """Somebody made the guest by hand: it keeps what it has, and what we do not know of."""
    xml = guest_images / "by-hand.xml"
    xml.write_text(
        f"""<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
          <name>tguest-hand</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
          <metadata>
            <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
              <libosinfo:os id="http://debian.org/debian/12"/></libosinfo:libosinfo>
            <app xmlns="http://example.org/app"><x>1</x></app>
          </metadata>
          <os><type>hvm</type></os>
          <devices>
            <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
            <interface type='bridge'><source bridge='{OVS_BRIDGE}'/><virtualport type='openvswitch'/>
              <bandwidth><inbound average='1000'/></bandwidth></interface>
            <interface type='user'/>
            <graphics type='vnc' port='-1' passwd='s3cret'/>
          </devices>
          <qemu:commandline><qemu:env name='FOO' value='bar'/></qemu:commandline>
        </domain>"""
    )
    virsh("define", str(xml))
    before = virsh("dumpxml", "--inactive", "--security-info", "tguest-hand").splitlines()
    run = state("guest.stopped", "tguest-hand", memory="64M", nics=[{"bridge": OVS_BRIDGE, "vlan": 5}])
    assert run["result"] is True, run
    assert "s3cret" not in str(run)
    after = virsh("dumpxml", "--inactive", "--security-info", "tguest-hand").splitlines()
    assert [line.strip() for line in before if line not in after] == [
        "<memory unit='KiB'>32768</memory>",
        "<currentMemory unit='KiB'>32768</currentMemory>",
    ]
    assert [line.strip() for line in after if line not in before] == [
        "<memory unit='KiB'>65536</memory>",
        "<currentMemory unit='KiB'>65536</currentMemory>",
        "<vlan>",
        "<tag id='5'/>",
        "</vlan>",
    ]


def test_another_mac_is_an_update_and_another_uuid_is_refused(
    state: State, guest_fields: dict[str, Any]
) -> None:
    assert state("guest.stopped", "tguest-id", **guest_fields)["result"] is True
    was, (old,) = uuid("tguest-id"), macs("tguest-id")
    new = "52:54:00:12:34:56"
    run = state("guest.stopped", "tguest-id", nics=[{"bridge": OVS_BRIDGE, "mac": new}])
    assert run["changes"] == {f"tguest-id.nics.{old}.mac": {"old": old, "new": new}}, run
    assert (uuid("tguest-id"), macs("tguest-id")) == (was, [new])
    before = seen()
    run = state("guest.stopped", "tguest-id", uuid=OTHER_UUID)
    assert (run["result"], run["changes"]) == (False, {})
    assert f"guests.tguest-id.uuid: the guest has {was}" in run["comment"]
    assert seen() == before


def test_a_console_log_moves_and_goes(state: State, guest_fields: dict[str, Any]) -> None:
    """libvirt shows the serial port twice; both must follow."""
    assert state("guest.stopped", "tguest-log", **guest_fields)["result"] is True
    for log in (str(LOGS / "tguest-other.log"), None):
        run = state("guest.stopped", "tguest-log", console_log=log)
        assert (run["result"], run["changes"]["tguest-log.console_log"]["new"]) == (True, log), run
        text = virsh("dumpxml", "--inactive", "tguest-log")
        assert text.count("<log ") == (2 if log else 0)
        assert "tguest-console.log" not in text


def test_a_transient_guest_is_kept(state: State, guest_fields: dict[str, Any], guest_images: Path) -> None:
    assert state("guest.running", "tguest-trans", **guest_fields)["result"] is True
    virsh("undefine", "tguest-trans")
    run = state("guest.running", "tguest-trans", **guest_fields)
    assert run["result"] is True, run
    assert run["changes"] == {"tguest-trans.persistent": {"old": False, "new": True}}
    assert "tguest-trans" in virsh("list", "--persistent", "--name")


def test_a_run_that_was_killed_is_finished_by_the_next(
    state: State, guest_fields: dict[str, Any], repo: Path
) -> None:
    program = (
        "import sys, yaml\n"
        "from corral.guest.model import Wanted\n"
        "from corral.guest.wire import Libvirt\n"
        "wanted = Wanted.running('tguest-kill', yaml.safe_load(sys.stdin.read()), owner='hypervisor')\n"
        "with Libvirt() as libvirt:\n"
        "    libvirt.read()\n"
        "    libvirt.watch(lambda name, event, _: print(event, flush=True))\n"
        "    libvirt.define(wanted.guest, 'hypervisor')\n"
        "    libvirt.start('tguest-kill')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(repo / "_utils")},
    ) as run:
        assert run.stdin and run.stdout
        run.stdin.write(yaml.safe_dump(guest_fields))
        run.stdin.close()
        assert run.stdout.readline().strip() == "defined"
        run.kill()
    assert names() == ["tguest-kill"]
    done = state("guest.running", "tguest-kill", **guest_fields)
    assert done["result"] is True, done
    assert "tguest-kill" in virsh("list", "--name")


@pytest.mark.parametrize(
    ("field", "had", "has", "drift"),
    [
        ("memory", "<currentMemory unit='KiB'>32768<", "<currentMemory unit='KiB'>16384<", "16M of 32M"),
        ("vcpus", "<vcpu placement='static'>2<", "<vcpu placement='static' current='1'>2<", "1 of 2"),
    ],
)
def test_less_than_it_could_have_is_drift(
    four_ways: Callable[..., dict[str, Any]],
    guest_fields: dict[str, Any],
    altered: Alter,
    field: str,
    had: str,
    has: str,
    drift: str,
) -> None:
    declared = {**guest_fields, "vcpus": 2}
    four_ways(
        "guest.stopped",
        "tguest-less",
        look=seen,
        disturb=lambda: altered("tguest-less", had, has),
        drift={f"tguest-less.{field}": {"old": drift, "new": declared[field]}},
        **declared,
    )


@pytest.mark.parametrize("test", [True, False])
def test_show_and_list_speak_as_declarations_do(
    salt: Any, state: State, guest_fields: dict[str, Any], test: bool
) -> None:
    assert state("guest.running", "tguest-show", **guest_fields)["result"] is True
    assert state("guest.running", "tguest-show", memory="64M")["result"] is True
    shown = salt.cmd("guest.show", "tguest-show")
    assert shown.pop("pending") == {"memory": {"now": "32M", "next": "64M"}}
    assert shown["nics"][0]["offload"] is True
    assert (shown.pop("state"), shown.pop("name")) == ("running", "tguest-show")
    run = state("guest.running", "tguest-show", test=test, **shown)
    assert (run["result"], run["changes"]) == (True, {}), run
    listed = salt.cmd("guest.list")["tguest-show"]
    assert (listed["state"], listed["memory"], listed["macs"]) == ("running", "64M", macs("tguest-show"))

"""What may not be declared about a guest, and the sentence that says so."""

from __future__ import annotations

from typing import Any

import pytest

from corral.errors import Invalid
from corral.guest.identity import guest_mac, guest_uuid
from corral.guest.model import Guest, Wanted

WRONG = [
    ({"name": "my guest"}, "guests.web.name: 'my guest' is not a name"),
    ({"memry": "1G"}, "guests.web.memry: unknown key"),
    ({"memory": "lots"}, "guests.web.memory: 'lots' is not a size (512M, 10G)"),
    ({"memory": "1000000"}, "guests.web.memory: '1000000' is not a whole number of mebibytes (512M, 4G)"),
    ({"memory": "0"}, "guests.web.memory: '0' is not a whole number of mebibytes (512M, 4G)"),
    ({"memory": None}, "guests.web.memory: None is not a size"),
    ({"vcpus": 0}, "guests.web.vcpus: 0 is not valid"),
    ({"vcpus": "2"}, "guests.web.vcpus: '2' is not valid"),
    ({"type": "xen"}, "guests.web.type: 'xen' is not valid"),
    ({"machine": "q35;rm"}, "guests.web.machine: 'q35;rm' is not a machine type"),
    ({"cpu": "\x07"}, "guests.web.cpu: '\\x07' holds a character that cannot be printed"),
    ({"type": "kvm", "tcg_cache": "16M"}, "guests.web: tcg_cache is for QEMU's own emulation"),
    ({"boot": []}, "guests.web.boot: a list is not valid"),
    ({"boot": ["usb"]}, "guests.web.boot[0]: 'usb' is not valid"),
    ({"console_log": "console.log"}, "guests.web.console_log: 'console.log' is not an absolute path"),
    (
        {"console_log": "/var/log/libvirt/qemu/web.log"},
        "guests.web: console_log /var/log/libvirt/qemu/web.log is where libvirt writes QEMU's own log",
    ),
    ({"rng": "yes"}, "guests.web.rng: 'yes' is not valid"),
    ({"on_crash": "explode"}, "guests.web.on_crash: 'explode' is not valid"),
    ({"uuid": "123"}, "guests.web.uuid: '123' is not a UUID"),
    ({"disks": [{"format": "raw"}]}, "guests.web.disks[0].path: is required"),
    ({"disks": [{"path": "/a", "format": "vmdk"}]}, "guests.web.disks[0].format: 'vmdk' is not valid"),
    (
        {"disks": [{"path": "/a\n"}]},
        "guests.web.disks[0].path: '/a\\n' holds a character that cannot be printed",
    ),
    ({"disks": [{"path": "/a"}, {"path": "/a"}]}, "guests.web: disk /a is declared twice"),
    ({"nics": [{"mac": "52:54:00:00:00:01"}]}, "guests.web.nics[0].bridge: is required"),
    ({"nics": [{"bridge": "br0", "mac": "5254"}]}, "guests.web.nics[0].mac: '5254' is not a MAC address"),
    (
        {"nics": [{"bridge": "br0", "mac": "01:00:00:00:00:01"}]},
        "guests.web.nics[0].mac: '01:00:00:00:00:01' is a multi",
    ),
    ({"nics": [{"bridge": "br0", "vlan": 5000}]}, "guests.web.nics[0].vlan: 5000 is not a VLAN id (1–4094)"),
    (
        {"nics": [{"bridge": "br0", "vlan": 5, "switch": "linux"}]},
        "guests.web.nics[0]: vlan is for Open vSwitch bridges",
    ),
    (
        {"nics": [{"bridge": "br0", "model": "e1000", "offload": False}]},
        "guests.web.nics[0]: offload is for virtio NICs, not for e1000",
    ),
    (
        {"nics": [{"bridge": "b", "mac": "52-54-00-00-00-01"}, {"bridge": "b", "mac": "52:54:00:00:00:01"}]},
        "guests.web: MAC address 52:54:00:00:00:01 is declared twice",
    ),
]


@pytest.mark.parametrize(("fields", "sentence"), WRONG, ids=[sentence[:40] for _, sentence in WRONG])
def test_a_wrong_value_is_named_by_its_path(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        Guest.declare({"name": "web", **fields}, at="guests.web")
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"disks": "shred"}, "guests.web.disks: 'shred' is not valid"),
        ({"shutdown_timeout": "soon"}, "guests.web.shutdown_timeout: 'soon' is not a duration"),
        ({"memory": "1G"}, "guests.web.memory: unknown key"),
    ],
)
def test_absent_takes_its_own_arguments_only(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        Wanted.absent("web", options)
    assert str(raised.value).startswith(sentence)


def test_stopped_takes_a_time_beside_the_fields() -> None:
    wanted = Wanted.stopped("web", {"memory": "1G", "shutdown_timeout": "2m"}, owner="hv1")
    assert (wanted.shutdown_timeout, wanted.guest.declared()) == (120, {"name": "web", "memory": "1G"})


def test_identity_is_computed_and_steps_aside_for_others() -> None:
    uuid, mac = guest_uuid("hv1", "web"), guest_mac("hv1", "web", 0, prefix="52:60:2f")
    assert (uuid, mac) == (guest_uuid("hv1", "web"), guest_mac("hv1", "web", 0, prefix="52:60:2f"))
    assert mac.startswith("52:60:2f:")
    assert uuid not in (guest_uuid("hv2", "web"), guest_uuid("hv1", "web", taken={uuid}))
    assert mac not in (guest_mac("hv1", "web", 1), guest_mac("hv1", "web", 0, prefix="52:60:2f", taken={mac}))

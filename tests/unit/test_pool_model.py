"""What a pool's declaration may say, and the sentence for each thing that it may not."""

from __future__ import annotations

from typing import Any

import pytest

from corral.errors import Invalid
from corral.pool.model import Readout, absent, declare, stopped

POOL: dict[str, Any] = {
    "replicas": 3,
    "image": "small",
    "guest": {"memory": "64M"},
    "boot": {"ready": "none"},
}
NETWORK: dict[str, Any] = {"bridge": "ovsbr0", "subnet": "one", "addresses": "10.0.0.10-10.0.0.12"}


def network(**fields: Any) -> dict[str, Any]:
    return {"networks": [{**NETWORK, **fields}]}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"replicas": "3"}, "replicas: '3' is not valid, input should be a valid integer"),
    ({"replicas": -1}, "replicas: -1 is not a number of guests (0–1000)"),
    ({"replicas": True}, "replicas: True is not valid, input should be a valid integer"),
    ({"replica": 3}, "replica: unknown key"),
    (
        {"image": None},
        "image: None is not a name (letters, digits, '.', '_' and '-', at most 63, no '-' at an end)",
    ),
    ({"guest": {"memory": "64M", "name": "a"}}, "guest.name: unknown key"),
    ({"guest": {"memory": "much"}}, "guest.memory: 'much' is not a size (512M, 10G)"),
    (
        {"guest": {"memory": "64M", "console_log": "/var/log/one.log"}},
        "guest.console_log: /var/log/one.log is one file for all;"
        " write {guest} where a guest's name is to be",
    ),
    (network(vlan=5000), "networks[0].vlan: 5000 is not a VLAN id (1–4094)"),
    (network(mac="52:54:00:00:00:01"), "networks[0].mac: unknown key"),
    (
        network(mac_prefix="52:54"),
        "networks[0].mac_prefix: '52:54' is not a MAC prefix of three octets (52:54:00)",
    ),
    (
        network(mac_prefix="53:54:00"),
        "networks[0].mac_prefix: '53:54:00' is a prefix of multicast addresses, which no NIC may have",
    ),
    (
        network(vlan=7, switch="linux"),
        "networks[0]: vlan is for Open vSwitch bridges; libvirt sets none on a Linux bridge",
    ),
    (
        network(addresses="10.0.0.10-10.0.0.11"),
        "networks[0].addresses: 10.0.0.10-10.0.0.11 holds 2 addresses, but replicas is 3",
    ),
    (network(subnet=None), "networks[0].addresses: needs a subnet, whose DHCP server reserves the addresses"),
    (
        {"networks": [NETWORK, {**NETWORK, "subnet": "two", "addresses": "10.0.0.12-10.0.0.20"}]},
        "networks[1].addresses: 10.0.0.12-10.0.0.20 overlaps the addresses of networks[0]",
    ),
    ({"names": "{pool}"}, "names: '{pool}' gives 'web' to index 0 and to index 1"),
    (
        {"names": "{pool}/{index}"},
        "names: '{pool}/{index}' gives index 0 a name that no guest may have, 'web/0'",
    ),
    (
        {"names": "{pool}-{number}"},
        "names: '{pool}-{number}' has {number}, but a name template knows {pool}, {host}, {index}, {letter}",
    ),
    (
        {"names": "{index.__class__}"},
        "names: '{index.__class__}' has {index.__class__},"
        " but a name template knows {pool}, {host}, {index}, {letter}",
    ),
    (
        {"names": "{index:999d}"},
        "names: '{index:999d}': '999d' is not a format of index (03d, of the index only)",
    ),
    ({"names": "{index"}, "names: '{index' is not a name template: expected '}' before end of string"),
    ({"boot": {"ready": "up"}}, "boot.ready: 'up' is not a sign of readiness (lease, ssh, port:N or none)"),
    (
        {"boot": {"ready": "port:0"}},
        "boot.ready: 'port:0' is not a sign of readiness (lease, ssh, port:N or none)",
    ),
    ({"boot": {}}, "boot.ready: lease needs a network with a subnet; without one only none can be seen"),
    (
        {"boot": {"ready": "none", "width": {"start": 8, "max": 4}}},
        "boot.width.start: 8 is more than max, 4",
    ),
    (
        {"boot": {"ready": "none", "width": {"max": 0}}},
        "boot.width.max: 0 is not a number of guests at a time (1–1000)",
    ),
    ({"boot": {"ready": "none", "timeout": 0}}, "boot.timeout: 0 is no time to wait for (1 s or more)"),
    (
        {"guest": {"memory": "64M", "console_log": "/var/log/libvirt/qemu/{guest}.log"}},
        "guest.console_log: /var/log/libvirt/qemu/{guest}.log is where libvirt writes QEMU's own log",
    ),
    ({"scale_in": {"policy": "random"}}, "scale_in.policy: "),
    ({"disk": {"directory": "images"}}, "disk.directory: 'images' is not an absolute path"),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG, ids=[sentence[:40] for _, sentence in WRONG])
def test_what_is_wrong_is_told_with_its_path(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        declare("hv1", "web", {**POOL, **wrong})
    assert str(raised.value).startswith(f"pools.web.{sentence}")


@pytest.mark.parametrize("key", ["replicas", "image"])
def test_what_is_required(key: str) -> None:
    with pytest.raises(Invalid, match=rf"^pools\.web\.{key}: is required$"):
        declare("hv1", "web", {k: value for k, value in POOL.items() if k != key})


@pytest.mark.parametrize("name", ["web/1", "", "-web", 5])
def test_names_that_no_pool_may_have(name: Any) -> None:
    with pytest.raises(Invalid, match=rf"^pools\.{name}: "):
        declare("hv1", name, POOL)
    with pytest.raises(Invalid, match=rf"^pools\.{name}: "):
        stopped("hv1", name, {})
    with pytest.raises(Invalid, match=rf"^pools\.{name}: "):
        absent("hv1", name, {})


def test_several_faults_are_told_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        declare("hv1", "web", {**POOL, "names": "one", **network(addresses="10.0.0.10-10.0.0.10")})
    assert str(raised.value).count("pools.web.") == 2


def test_only_what_was_mentioned_is_a_part_of_the_guests() -> None:
    assert declare("hv1", "web", {**POOL, **network()}).pool.networks[0].nic == {"bridge": "ovsbr0"}


def test_disks_that_are_neither_kept_nor_deleted() -> None:
    with pytest.raises(Invalid, match=r"^pools\.web\.disks: "):
        absent("hv1", "web", {"disks": "wipe"})


@pytest.mark.parametrize("key", ["disks", "directory"])
def test_what_is_only_stopped_keeps_its_disks(key: str) -> None:
    with pytest.raises(Invalid, match=rf"^pools\.web\.{key}: unknown key$"):
        stopped("hv1", "web", {key: "/srv"})


def test_how_a_command_is_run() -> None:
    asked = Readout.declare({"command": "uptime", "timeout": "2m"}, at="readout")
    assert (asked.timeout, asked.concurrency, asked.user) == (120, 16, "root")
    wrong = {"command": "uptime", "timeout": "soon", "concurrency": 0, "key": "id_ed25519"}
    with pytest.raises(Invalid) as raised:
        Readout.declare(wrong, at="readout")
    for path in ("readout.timeout: 'soon' is not a duration", "readout.concurrency: ", "readout.key: "):
        assert path in str(raised.value)

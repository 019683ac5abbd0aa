"""Uplinks that are refused, each in one sentence and before anything is touched."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.functional.test_ovs_broken import rundir, uninstalled  # noqa: F401  (fixtures)
from tests.functional.test_ovs_uplink import BRIDGE, CARD, look
from tests.support import guard_net as net
from tests.support.expect import assert_failed
from tests.support.guard_net import NEAR, ip

State = Callable[..., dict[str, Any]]
AT = f"bridges.{BRIDGE}.ports.{NEAR}"


@pytest.fixture(autouse=True)
def card(switch: ModuleType) -> Iterator[None]:
    with net.peer():
        net.settle(NEAR)
        yield


def refused(state: State, sentence: str, **declared: Any) -> None:
    """Assert that a run fails with a sentence and that neither it nor its preview moved anything."""
    before = look()
    said = {**CARD, "guard": False, **declared}
    preview = state("ovs.uplink_managed", BRIDGE, test=True, **said)
    assert sentence in preview["comment"], preview["comment"]
    assert_failed(state("ovs.uplink_managed", BRIDGE, **said), sentence)
    assert look() == before
    assert net.reached()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ports": {}}, f"bridges.{BRIDGE}.ports: no network card is named"),
    ({"ports": {"web0": {"type": "internal"}}}, f"bridges.{BRIDGE}.ports: no network card is named"),
    ({"ports": [NEAR]}, f"bridges.{BRIDGE}.ports: a list is not valid"),
    ({"ports": {"lo": {}}}, f"bridges.{BRIDGE}.ports.lo: lo leads nowhere"),
    ({"ports": {NEAR: {"tag": 5000}}}, f"{AT}.tag: 5000 is not a VLAN id"),
    (
        {"addresses": ["192.0.2.10"]},
        f"links.{BRIDGE}.addresses[0]: '192.0.2.10' is not an address with prefix",
    ),
    ({"gateway": "router"}, f"links.{BRIDGE}.gateway: 'router' is not an IP address"),
    ({"gateway": "203.0.113.1"}, f"links.{BRIDGE}.gateway: 203.0.113.1 is in no network that {BRIDGE} has"),
    ({"routes": [{"to": "everywhere"}]}, f"links.{BRIDGE}.routes[0].to: 'everywhere' is not a network"),
    ({"mtu": 40}, f"links.{BRIDGE}.mtu: 40 is not an MTU (68–65535)"),
    ({"mtu": 9000}, f"links.{BRIDGE}.mtu: 9000 is more than the 1500 of {NEAR}."),
    ({"mtu": 1400, "ports": {NEAR: {}, BRIDGE: {"mtu": 1300}}}, f"ports.{BRIDGE}.mtu: is declared as mtu of"),
    ({"persist": "netplan"}, f"links.{BRIDGE}.persist: 'netplan' is not valid"),
    ({"persist": "ifcfg"}, f"links.{BRIDGE}.persist: ifcfg is not on this host."),
    ({"datapath": "netdev"}, f"bridges.{BRIDGE}.datapath: unknown key"),
    ({"guard": {"within": "1s"}}, "guard.within: 1 s is not between 3 s and 60 m"),
    (
        {"guard": {"probes": [{"ping": "203.0.113.9"}]}},
        "guard.probes[0].ping: 203.0.113.9 does not answer before",
    ),
    (
        {"ports": {NEAR: {}, "eth77": {}}},
        f"bridges.{BRIDGE}.ports.eth77: there is no network interface eth77",
    ),
    (
        {"ports": {}, "bonds": {"bond0": {"members": [NEAR, "eth77"]}}},
        f"bridges.{BRIDGE}.bonds.bond0.members: there is no network interface eth77",
    ),
]


@pytest.mark.parametrize("declared, sentence", WRONG, ids=[sentence.split(":")[0] for _, sentence in WRONG])
def test_a_wrong_declaration(state: State, declared: dict[str, Any], sentence: str) -> None:
    refused(state, sentence, **declared)


def test_a_fake_bridge(state: State) -> None:
    before = look()
    answer = state("ovs.uplink_managed", BRIDGE, ports={NEAR: {}}, parent="br9", vlan=7)
    assert_failed(answer, f"bridges.{BRIDGE}.parent: a fake bridge leads out by its parent; declare that one")
    assert look() == before


def test_routes_that_the_declared_addresses_do_not_bear(state: State) -> None:
    """No way out is given up without a word."""
    sentence = f"links.{BRIDGE}.routes.::/0: {net.THERE6} is in no network that {BRIDGE} has an address of."
    refused(state, sentence, addresses=[f"{net.HERE}/24"])


def test_a_card_of_another_bridge(state: State, switch: ModuleType) -> None:
    switch.vsctl("add-br", "brt-ovs-v", "--", "set", "bridge", "brt-ovs-v", "datapath_type=netdev")
    switch.vsctl("add-port", "brt-ovs-v", "eth1")
    refused(
        state,
        f"bridges.{BRIDGE}.ports.eth1: eth1 is on the bridge brt-ovs-v already; take it off there first.",
        ports={NEAR: {}, "eth1": {}},
    )


def test_a_port_that_is_no_card(state: State, switch: ModuleType) -> None:
    switch.vsctl("add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
    switch.vsctl("add-port", BRIDGE, "brt-in0", "--", "set", "interface", "brt-in0", "type=internal")
    refused(
        state,
        f"bridges.{BRIDGE}.ports.brt-in0: in Open vSwitch brt-in0 is of type internal; say so",
        ports={NEAR: {}, "brt-in0": {}},
    )


def test_a_card_of_a_bridge_of_linux(state: State) -> None:
    ip("link", "add", "brt-linux", "type", "bridge")
    ip("link", "set", "eth1", "master", "brt-linux")
    try:
        refused(
            state,
            f"bridges.{BRIDGE}.ports.eth1: eth1 is a port of brt-linux already; take it off there first.",
            ports={NEAR: {}, "eth1": {}},
        )
    finally:
        ip("link", "delete", "brt-linux")


def test_a_card_with_devices_on_top(state: State) -> None:
    ip("link", "add", "link", NEAR, "name", "brt-mac0", "type", "macvlan")
    try:
        refused(state, f"{AT}: brt-mac0 would get no frames any more")
    finally:
        ip("link", "delete", "brt-mac0")


def test_a_name_that_is_taken(state: State) -> None:
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        refused(
            state,
            f"there is already a network interface {BRIDGE} on this host that Open vSwitch did not make",
        )
    finally:
        ip("link", "delete", BRIDGE)


def test_an_address_that_is_lent(state: State) -> None:
    """It is not the host's own, unless it is said to be."""
    ip("address", "replace", f"{net.HERE}/24", "dev", NEAR, "valid_lft", "900", "preferred_lft", "900")
    refused(state, f"{AT}: {net.HERE}/24 of {NEAR} is lent by DHCP for a time; declare it under addresses")
    declared = {"addresses": [f"{net.HERE}/24", f"{net.HERE6}/64"], "guard": False}
    answer = state("ovs.uplink_managed", BRIDGE, **CARD, **declared)
    assert answer["result"] is True, answer
    (link,) = json.loads(ip("-json", "address", "show", "dev", BRIDGE))
    assert [one["valid_life_time"] for one in link["addr_info"] if one["local"] == net.HERE] == [2**32 - 1]
    assert net.reached()


def test_a_dhcp_client_on_the_card(state: State, tmp_path: Path) -> None:
    """A program by that name, which waits."""
    client = tmp_path / "dhclient"
    client.symlink_to("/bin/sh")
    waiting = "read line; exit"
    with subprocess.Popen([client, "-c", waiting, "-v", NEAR], stdin=subprocess.PIPE) as running:
        try:
            refused(state, f"{AT}: dhclient (process {running.pid}) would give {NEAR} its address again")
        finally:
            running.kill()


@pytest.mark.parametrize(
    "file, text, who",
    [
        ("/run/systemd/netif/leases/{index}", "ADDRESS=192.0.2.1\n", "systemd-networkd"),
        ("/run/NetworkManager/devices/{index}", "[device]\nmanaged=true\n", "NetworkManager"),
    ],
)
def test_a_manager_that_holds_on_to_the_card(state: State, file: str, text: str, who: str) -> None:
    (link,) = json.loads(ip("-json", "link", "show", "dev", NEAR))
    path = Path(file.format(index=link["ifindex"]))
    folders = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    try:
        refused(state, f"{AT}: {who}")
    finally:
        path.unlink()
        for folder in folders:
            folder.rmdir()


@pytest.mark.usefixtures("uninstalled")
def test_without_open_vswitch_it_is_previewed_and_refused(state: State) -> None:
    declared = {**CARD, "guard": False}
    preview = state("ovs.uplink_managed", BRIDGE, test=True, **declared)
    assert preview["result"] is None
    assert f"{BRIDGE}.addresses.{net.HERE}/24" in preview["changes"]
    assert "Previewed against an empty host: Open vSwitch is not installed" in preview["comment"]
    assert_failed(state("ovs.uplink_managed", BRIDGE, **declared), "Open vSwitch is not installed")
    assert net.reached()

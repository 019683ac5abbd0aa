"""What hangs together on a real host, and the way of a frame through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from salt.exceptions import CommandExecutionError

from tests.support.guest_rig import OVS_BRIDGE, hung, virsh
from tests.support.ovs import stopped

INT, EX, TUN = "brt-ovs-int", "brt-ovs-ex", "brt-ovs-tun"
BLUE = "tt-blue"  # a network namespace
WEB, FAR, OTHER = "tt-web", "tt-far", "tt-other"  # internal ports: on the host, and two in the namespace
VETH = ("tt-qvo", "tt-qvb")
QBR, TAP = "tt-qbr", "tt-tap"
TAP_MAC = "02:00:00:00:aa:01"


def patched(ovs: ModuleType, *ends: tuple[str, str]) -> None:
    """Join two bridges; an end is a bridge and the name of its port."""
    for (bridge, name), (_, peer) in (ends, ends[::-1]):
        options = ("type=patch", f"options:peer={peer}")
        ovs.vsctl("add-port", bridge, name, "--", "set", "interface", name, *options)


def internal(ovs: ModuleType, bridge: str, name: str, vlan: int, address: str, namespace: str = "") -> None:
    ovs.vsctl("add-port", bridge, name, f"tag={vlan}", "--", "set", "interface", name, "type=internal")
    inside = ("ip", "-n", namespace) if namespace else ("ip",)
    if namespace:
        ovs.run("ip", "link", "set", name, "netns", namespace)
    ovs.run(*inside, "address", "add", f"{address}/24", "dev", name)
    ovs.run(*inside, "link", "set", name, "up")


@pytest.fixture
def planted(switch: ModuleType) -> Iterator[ModuleType]:
    """Three bridges joined by patch ports, a bond, a tunnel, and ports of two VLANs, two in a namespace."""
    switch.run("ip", "netns", "add", BLUE)
    try:
        for bridge in (INT, EX, TUN):
            switch.vsctl("add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        patched(switch, (INT, "tt-int-ex"), (EX, "tt-ex-int"))
        patched(switch, (INT, "tt-int-tun"), (TUN, "tt-tun-int"))
        switch.vsctl("add-bond", EX, "tt-bond", "eth1", "eth2", "bond_mode=active-backup")
        tunnel = (
            "type=vxlan",
            "options:remote_ip=192.0.2.2",
            "options:local_ip=192.0.2.1",
            "options:key=5001",
        )
        switch.vsctl("add-port", TUN, "tt-vx", "--", "set", "interface", "tt-vx", *tunnel)
        internal(switch, INT, WEB, 10, "10.77.0.1")
        internal(switch, INT, FAR, 10, "10.77.0.2", BLUE)
        internal(switch, INT, OTHER, 20, "10.77.0.3", BLUE)
        yield switch
    finally:
        switch.clean()
        switch.run("ip", "netns", "delete", BLUE)


@pytest.fixture
def hybrid(planted: ModuleType) -> Iterator[ModuleType]:
    """Also a tap on a Linux bridge that a veth pair joins to the switch."""
    commands = [
        f"link add {VETH[0]} type veth peer name {VETH[1]}",
        f"link add {QBR} type bridge",
        f"tuntap add {TAP} mode tap",
        f"link set {TAP} address {TAP_MAC} master {QBR} up",
        f"link set {VETH[1]} master {QBR} up",
        f"link set {VETH[0]} up",
        f"link set {QBR} up",
    ]
    for command in commands:
        planted.run("ip", *command.split())
    planted.vsctl("add-port", INT, VETH[0], "tag=10")
    try:
        yield planted
    finally:
        for name in (VETH[0], QBR, TAP):
            planted.run("ip", "link", "delete", name)


def devices(found: dict[str, Any]) -> list[str]:
    return [step["device"] for step in found["steps"]]


def edges(found: dict[str, Any], kind: str) -> set[tuple[str, str]]:
    return {(edge["from"], edge["to"]) for edge in found["edges"] if edge["kind"] == kind}


def mac_of(ovs: ModuleType, name: str) -> str:
    (one,) = json.loads(ovs.run("ip", "-n", BLUE, "-json", "link", "show", name))
    return str(one["address"])


def test_structure_of_a_switch(salt: Any, planted: ModuleType) -> None:
    found = salt.cmd("ovs.topology")
    nodes = found["nodes"]
    assert (found["host"], found["notes"]) == ("hypervisor", [])
    assert {
        name: nodes[name]["kind"] for name in (INT, "bond:tt-bond", "tt-vx", WEB, "tt-int-ex", "eth1")
    } == {
        INT: "bridge",
        "bond:tt-bond": "bond",
        "tt-vx": "tunnel",
        WEB: "internal",
        "tt-int-ex": "patch",
        "eth1": "veth",
    }
    assert nodes[INT]["datapath_type"] == "netdev"
    bond = nodes["bond:tt-bond"]
    assert (bond["mode"], bond["healthy"], bond["state"]) == ("active-backup", True, "up")
    tunnel = {key: nodes["tt-vx"][key] for key in ("type", "remote", "local", "key")}
    assert tunnel == {"type": "vxlan", "remote": "192.0.2.2", "local": "192.0.2.1", "key": "5001"}
    assert nodes[WEB]["addresses"] == ["10.77.0.1/24"] and "namespace" not in nodes[WEB]
    assert {(INT, WEB), (INT, FAR), (EX, "bond:tt-bond"), (TUN, "tt-vx")} <= edges(found, "port")
    assert edges(found, "member") == {("bond:tt-bond", "eth1"), ("bond:tt-bond", "eth2")}
    assert edges(found, "patch") == {("tt-ex-int", "tt-int-ex"), ("tt-int-tun", "tt-tun-int")}
    assert {edge.get("vlan") for edge in found["edges"] if edge["to"] in (WEB, FAR)} == {10}


def test_a_port_is_found_in_its_namespace(salt: Any, planted: ModuleType) -> None:
    """The database has such a port as down; it is up where it is."""
    assert planted.vsctl("get", "interface", FAR, "link_state") == "down"
    far = salt.cmd("ovs.topology")["nodes"][FAR]
    assert far == {
        "kind": "internal",
        "name": FAR,
        "state": "up",
        "namespace": BLUE,
        "mac": mac_of(planted, FAR),
        "mtu": 1500,
        "addresses": ["10.77.0.2/24"],
    }
    planted.run("ip", "-n", BLUE, "link", "set", FAR, "down")
    far = salt.cmd("ovs.topology")["nodes"][FAR]
    assert (far["state"], far["reason"]) == ("down", "it is switched off")


def test_mirrors_and_fake_bridges(salt: Any, planted: ModuleType) -> None:
    planted.vsctl("add-br", "brt-ovs-fake", INT, "30")
    mirror = ("create", "mirror", "name=tt-mirror", "select-dst-port=@web", "output-port=@web")
    get = ("--", "--id=@web", "get", "port", WEB, "--", "--id=@mirror", *mirror)
    planted.vsctl(*get, "--", "set", "bridge", INT, "mirrors=@mirror")
    found = salt.cmd("ovs.topology")
    assert found["nodes"]["brt-ovs-fake"]["kind"] == "fake_bridge"
    assert [edge["vlan"] for edge in found["edges"] if edge["kind"] == "fake"] == [30]
    assert found["nodes"]["mirror:tt-mirror"]["select_dst_port"] == [WEB]
    assert (edges(found, "mirror"), edges(found, "output")) == (
        {(INT, "mirror:tt-mirror")},
        {("mirror:tt-mirror", WEB)},
    )


def test_devices_between_a_tap_and_the_switch(salt: Any, hybrid: ModuleType) -> None:
    found = salt.cmd("ovs.topology")
    assert {found["nodes"][name]["kind"] for name in VETH} == {"veth"}
    assert (found["nodes"][QBR]["kind"], found["nodes"][TAP]["kind"]) == ("linux_bridge", "tap")
    assert {(QBR, TAP), (QBR, VETH[1]), (INT, VETH[0])} <= edges(found, "port")
    assert tuple(sorted(VETH)) in edges(found, "veth")


def test_the_way_into_a_namespace(salt: Any, planted: ModuleType) -> None:
    found = salt.cmd("ovs.path", WEB, to="10.77.0.2")
    assert devices(found) == [WEB, INT, FAR]
    assert (found["steps"][1]["vlan"], found["steps"][2]["namespace"]) == (10, BLUE)
    assert (found["delivered"], found["sentence"]) == (True, f"{WEB} reaches 10.77.0.2 on hypervisor.")


def test_the_way_out_by_patch_ports_and_a_bond(salt: Any, planted: ModuleType) -> None:
    """S4.8: from a port to the card; eth1 and eth3 are the ends of one cable, and eth3 is on no switch."""
    active = planted.run("ovs-appctl", "bond/show", "tt-bond")
    member = "eth1" if "(eth1)" in active else "eth2"
    found = salt.cmd("ovs.path", WEB)
    peer = {"eth1": "eth3", "eth2": "eth4"}[member]
    assert devices(found) == [WEB, INT, "tt-int-ex", "tt-ex-int", EX, "tt-bond", member, peer]
    bond, card = found["steps"][5:7]
    assert (bond["mode"], bond["vlan"], card["chosen"], card["vlan"]) == (
        "active-backup",
        10,
        "the active member",
        10,
    )
    assert {step["host"] for step in found["steps"]} == {"hypervisor"}


def test_the_way_over_a_linux_bridge(salt: Any, hybrid: ModuleType) -> None:
    found = salt.cmd("ovs.path", FAR, to=TAP_MAC)
    assert devices(found) == [FAR, INT, *VETH, QBR, TAP]
    assert (found["delivered"], found["steps"][-1]["reason"]) == (False, "it has no carrier")
    assert found["sentence"].endswith(f"But {TAP} on hypervisor is down: it has no carrier.")
    back = salt.cmd("ovs.path", TAP_MAC, to=FAR)
    assert devices(back) == [TAP, QBR, VETH[1], VETH[0], INT, FAR]


def test_a_flow_that_drops_is_named(salt: Any, planted: ModuleType) -> None:
    mac = mac_of(planted, FAR)
    planted.run("ovs-ofctl", "add-flow", INT, f"cookie=0x7,priority=9,dl_dst={mac},actions=drop")
    found = salt.cmd("ovs.path", WEB, to=mac)
    assert (devices(found), found["delivered"]) == ([WEB, INT], False)
    dropped = found["steps"][-1]["dropped_by"]
    assert (dropped["bridge"], dropped["table"], dropped["cookie"]) == (INT, 0, "0x7")
    assert f"dl_dst={mac}" in dropped["match"]
    assert f"{INT} drops it: the flow " in found["sentence"] and f"dl_dst={mac}" in found["sentence"]


def test_a_wrong_vlan_is_named(salt: Any, planted: ModuleType) -> None:
    """S3.5: guest and server in different VLANs."""
    found = salt.cmd("ovs.path", WEB, to="10.77.0.3")
    assert found["delivered"] is False
    assert found["sentence"].endswith(f"but {OTHER} is in VLAN 20 and {WEB} in VLAN 10.")
    tagged = salt.cmd("ovs.path", WEB, vlan=7)
    assert tagged["delivered"] is False
    assert "dropping VLAN 7 tagged packet" in tagged["sentence"]


def test_the_way_through_a_tunnel(salt: Any, planted: ModuleType) -> None:
    """The underlay is a bridge of this host; the far end need not be there to know the way to it."""
    planted.vsctl("add-br", "brt-ovs-phy", "--", "set", "bridge", "brt-ovs-phy", "datapath_type=netdev")
    planted.run("ip", "address", "add", "192.0.2.1/24", "dev", "brt-ovs-phy")
    planted.run("ip", "link", "set", "brt-ovs-phy", "up")
    planted.vsctl("del-port", "tt-bond")
    found = salt.cmd("ovs.path", WEB)
    assert devices(found) == [WEB, INT, "tt-int-tun", "tt-tun-int", TUN, "tt-vx", "brt-ovs-phy"]
    assert (found["steps"][-2]["kind"], found["steps"][-2]["key"]) == ("vxlan", "5001")
    assert (found["delivered"], found["sentence"]) == (
        True,
        f"{WEB} leaves hypervisor by the tunnel tt-vx to 192.0.2.2. Its packets leave by brt-ovs-phy.",
    )


def test_nobody_of_the_name(salt: Any, planted: ModuleType) -> None:
    with pytest.raises(CommandExecutionError, match="no guest, port or MAC address nobody on this host"):
        salt.cmd("ovs.path", "nobody")
    with pytest.raises(
        CommandExecutionError, match="to: there is no guest or port nobody, and it is no address"
    ):
        salt.cmd("ovs.path", WEB, to="nobody")
    with pytest.raises(CommandExecutionError, match=r"vlan: 5000 is not a VLAN id \(1–4094\)"):
        salt.cmd("ovs.path", WEB, vlan=5000)
    with pytest.raises(
        CommandExecutionError, match="nic: 'first' is not a number of a network card, from 0 on"
    ):
        salt.cmd("ovs.path", WEB, nic="first")


def test_drawings(salt: Any, planted: ModuleType) -> None:
    drawn = salt.cmd("ovs.topology", format="svg")
    shown = "\n".join(ElementTree.fromstring(drawn).itertext())
    assert all(name in shown for name in (INT, EX, "tt-vx", "tt-bond", f"in namespace {BLUE}"))
    assert ElementTree.fromstring(salt.cmd("ovs.topology", format="html")).tag == "html"
    chart = salt.cmd("ovs.topology", format="mermaid")
    assert chart.startswith("flowchart LR\n") and f'["{INT.replace("_", "")}"]' in chart
    with pytest.raises(CommandExecutionError, match="format: 'png' is not one of data, mermaid, svg, html"):
        salt.cmd("ovs.topology", format="png")


def test_of_the_fleet(salt: Any, planted: ModuleType) -> None:
    """A masterless minion's mine has its own data."""
    with pytest.raises(CommandExecutionError, match="Nobody has told the Salt mine"):
        salt.cmd("ovs.topology", fleet="no-such-*")
    salt.cmd("mine.send", "ovs.topology")
    found = salt.cmd("ovs.topology", fleet="*")
    assert found["hosts"] == ["hypervisor"]
    assert found["nodes"][f"hypervisor/{WEB}"]["host"] == "hypervisor"
    assert salt.cmd("ovs.path", WEB, to=FAR, fleet="*")["delivered"] is True


def test_a_switch_that_does_not_answer(salt: Any, planted: ModuleType) -> None:
    with (
        stopped("ovsdb-server"),
        pytest.raises(CommandExecutionError, match=r"ovsdb-server does not answer .*: no answer within 1 s"),
    ):
        salt.cmd("ovs.topology", timeout=1)
    with stopped("ovs-vswitchd"):
        found = salt.cmd("ovs.topology", timeout=1)
        with pytest.raises(CommandExecutionError, match="ovs-vswitchd does not answer"):
            salt.cmd("ovs.path", WEB, timeout=1)
    assert [note[:34] for note in found["notes"]] == ["The bonds could not be looked at: "]
    assert found["nodes"]["bond:tt-bond"]["state"] == "unknown"


@pytest.fixture
def guest(state: Any, guest_fields: dict[str, Any], switch: ModuleType) -> Iterator[str]:
    """A guest that runs, on a bridge where the host has an address."""
    nics = [{"bridge": OVS_BRIDGE, "vlan": 10}]
    made = state("guest.running", "tguest-way", **{**guest_fields, "nics": nics})
    assert made["result"] is True, made
    internal(switch, OVS_BRIDGE, "tt-gate", 10, "10.78.0.1")
    yield "tguest-way"
    switch.vsctl("del-port", OVS_BRIDGE, "tt-gate")


def test_the_way_of_a_real_guest(salt: Any, guest: str, switch: ModuleType) -> None:
    (row,) = json.loads(virsh_nics(guest))
    found = salt.cmd("ovs.topology")
    node = found["nodes"][f"guest:{guest}"]
    assert (node["kind"], node["state"], node["nics"]) == (
        "guest",
        "up",
        [{"mac": row["mac"], "device": row["device"]}],
    )
    assert (f"guest:{guest}", row["device"]) in edges(found, "nic")
    way = salt.cmd("ovs.path", guest, to="10.78.0.1")
    assert devices(way) == [guest, row["device"], OVS_BRIDGE, "tt-gate"]
    assert (way["delivered"], way["steps"][2]["vlan"]) == (True, 10)
    back = salt.cmd("ovs.path", "tt-gate", to=guest)
    assert devices(back) == ["tt-gate", OVS_BRIDGE, row["device"], guest]
    assert (back["delivered"], back["sentence"]) == (True, f"tt-gate reaches {guest} on hypervisor.")
    assert devices(salt.cmd("ovs.path", row["mac"], to="10.78.0.1")) == devices(way)
    with pytest.raises(
        CommandExecutionError, match=f"nic: the guest {guest} has no network card 1, it has 1"
    ):
        salt.cmd("ovs.path", guest, nic=1)


def virsh_nics(guest: str) -> str:
    found = [line.split() for line in virsh("domiflist", guest).splitlines() if line.strip()]
    return json.dumps([{"device": words[0], "mac": words[4]} for words in found])


def test_a_guest_while_libvirt_hangs(salt: Any, guest: str) -> None:
    """Open vSwitch's own rows know the guest's UUID, card and port."""
    uuid = virsh("domuuid", guest).strip()
    with hung():
        found = salt.cmd("ovs.topology", timeout=2)
    assert found["nodes"][f"guest:{uuid}"]["state"] == "unknown"
    assert found["notes"] and "did not answer within 2 s" in found["notes"][0]
    assert {start for start, _ in edges(found, "nic")} == {f"guest:{uuid}"}


def test_a_guest_that_does_not_run(salt: Any, guest: str) -> None:
    virsh("destroy", guest)
    assert f"guest:{guest}" not in salt.cmd("ovs.topology")["nodes"]
    with pytest.raises(CommandExecutionError, match=f"The guest {guest} does not run, so it is on no switch"):
        salt.cmd("ovs.path", guest)

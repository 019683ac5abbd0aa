"""SLS and calls written for Salt's own Open vSwitch modules, up to 3007, on a real Open vSwitch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.support import ovs, ovs_second, salt_here
from tests.support.expect import assert_failed

A, B, FAKE = "brt-ovs-a", "brt-ovs-b", "brt-mgmt0"


@pytest.fixture
def bridges(switch: ModuleType) -> ModuleType:
    """Two bridges with a fake one that somebody else made."""
    for name in (A, B):
        switch.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
    switch.vsctl("add-br", FAKE, A, "123")
    return switch


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A second Open vSwitch, whose default datapath works where the kernel has none: the old states have no
    word for another one."""
    monkeypatch.setenv("OVS_RUNDIR", str(tmp_path))
    with ovs_second.started(tmp_path):
        yield ovs


# Bridges


def test_a_bridge(four_ways: Any, kernel: ModuleType) -> None:
    four_ways(
        "openvswitch_bridge.present",
        A,
        look=kernel.configuration,
        disturb=lambda: kernel.vsctl("del-br", A),
        drift={A: {"old": None, "new": {"datapath_type": "system"}}},
    )
    assert kernel.vsctl("get", "bridge", A, "external_ids") == "{corral=openvswitch_bridge.present}"


def test_a_bridge_that_is_there_stays_as_it_is(state: Any, bridges: ModuleType) -> None:
    before = bridges.configuration()
    for name, place in ((A, {}), (FAKE, {"parent": A, "vlan": 123})):
        run = state("openvswitch_bridge.present", name, **place)
        assert (run["result"], run["changes"]) == (True, {}), run
    assert bridges.configuration() == before


def test_a_fake_bridge_on_another_vlan_is_changed(four_ways: Any, bridges: ModuleType) -> None:
    bridges.vsctl("add-port", FAKE, "vnet94", "--", "set", "interface", "vnet94", "type=internal")
    changed = four_ways(
        "openvswitch_bridge.present",
        FAKE,
        parent=A,
        vlan=124,
        look=bridges.configuration,
        disturb=lambda: bridges.vsctl("set", "port", FAKE, "tag=9"),
        drift={f"{A}.ports.{FAKE}.tag": {"old": 9, "new": 124}},
    )
    assert set(changed) == {f"{A}.ports.{FAKE}.tag", f"{A}.ports.vnet94.tag"}
    assert bridges.vsctl("list-ports", FAKE) == "vnet94"


def test_a_new_fake_bridge(state: Any, bridges: ModuleType) -> None:
    run = state("openvswitch_bridge.present", "brt-mgmt1", parent=A, vlan=7)
    assert run["result"] is True, run
    assert bridges.vsctl("br-to-vlan", "brt-mgmt1") == "7"


@pytest.mark.parametrize(
    ("name", "place", "sentence"),
    [
        (FAKE, {}, f"{FAKE} is a fake bridge of {A} on VLAN 123: give its parent and vlan"),
        (B, {"parent": A, "vlan": 5}, f"{B} is a bridge on this host"),
        ("brt-x", {"parent": A}, "bridges.brt-x.vlan: is required"),
        ("brt-x", {"vlan": 5}, "bridges.brt-x.parent: is required"),
        ("brt-x", {"parent": "brt-none", "vlan": 5}, "there is no bridge brt-none on this host"),
    ],
)
def test_a_wrong_bridge(state: Any, bridges: ModuleType, name: str, place: Any, sentence: str) -> None:
    before = bridges.configuration()
    assert_failed(state("openvswitch_bridge.present", name, **place), sentence)
    assert bridges.configuration() == before


@pytest.mark.parametrize("name", [A, FAKE])
def test_no_bridge(state: Any, bridges: ModuleType, name: str) -> None:
    preview = state("openvswitch_bridge.absent", name, test=True)
    assert preview["result"] is None
    run = state("openvswitch_bridge.absent", name)
    assert (run["result"], run["changes"]) == (True, preview["changes"]), run
    assert name not in bridges.vsctl("list-br").split()
    again = state("openvswitch_bridge.absent", name)
    assert (again["result"], again["changes"]) == (True, {}), again


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("openvswitch_bridge.present", {}),
        ("openvswitch_bridge.absent", {}),
        ("openvswitch_port.present", {"bridge": A, "internal": True}),
        ("openvswitch_port.absent", {}),
        ("openvswitch_db.managed", {"table": "Port", "data": {"tag": 1}}),
    ],
)
@pytest.mark.parametrize("daemon", ["ovsdb-server", "ovs-vswitchd"])
def test_what_does_not_answer_is_not_absent(
    state: Any, bridges: ModuleType, function: str, arguments: Any, daemon: str
) -> None:
    with bridges.stopped(daemon):
        for test in (True, False):
            run = state(function, "brt-web0", test=test, timeout=1, **arguments)
            assert_failed(run, f"{daemon} does not answer", "no answer within 1 s")


# The database


def test_columns(four_ways: Any, bridges: ModuleType) -> None:
    """Scalars, sets in any order, maps; names as ovs-vsctl takes them."""

    def look() -> Any:
        columns = "name,mac,external_ids,other_config,lacp_current,ingress_policing_rate"
        port = bridges.vsctl("--columns=tag,trunks,vlan_mode,other_config", "list", "port", A)
        return bridges.configuration(), bridges.vsctl(f"--columns={columns}", "list", "interface", A), port

    changes = four_ways(
        "openvswitch_db.managed",
        "the port of the bridge",
        table="port",
        record=A,
        data={"Trunks": [30, 10], "vlan_mode": "trunk", "other-config": {"rstp-path-cost": 7}, "tag": []},
        look=look,
        disturb=lambda: bridges.vsctl("set", "port", A, "trunks=10", "other_config:theirs=1"),
        drift={f"Port.{A}.trunks": {"old": [10], "new": [10, 30]}},
    )
    assert changes == {
        f"Port.{A}.trunks": {"old": [], "new": [10, 30]},
        f"Port.{A}.vlan_mode": {"old": None, "new": "trunk"},
        f"Port.{A}.other_config.rstp-path-cost": {"old": None, "new": "7"},
    }
    assert bridges.vsctl("get", "port", A, "other_config") == '{rstp-path-cost="7", theirs="1"}'


def test_a_record_is_called_by_what_it_belongs_to(four_ways: Any, bridges: ModuleType, salt: Any) -> None:
    bridges.vsctl("set-controller", A, "tcp:127.0.0.1:6653")
    bridges.vsctl("set-controller", B, "tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654")
    four_ways(
        "openvswitch_db.managed",
        A,
        table="Controller",
        data={"connection_mode": "out-of-band"},
        look=lambda: bridges.vsctl("--columns=target,connection_mode", "list", "controller"),
        disturb=lambda: bridges.vsctl("set", "controller", A, "connection_mode=in-band"),
        drift={f"Controller.{A}.connection_mode": {"old": "in-band", "new": "out-of-band"}},
    )
    assert bridges.vsctl("get", "controller", A, "connection_mode") == "out-of-band"
    assert salt.cmd("openvswitch.db_get", "Controller", A, "connection_mode") == "out-of-band"
    several = salt.cmd("openvswitch.db_set", "Controller", B, "connection_mode", "in-band")
    assert several == f"db.Controller.{B}: are 2 records: call one by its target or UUID."
    bridges.vsctl("del-controller", A)
    assert salt.cmd("openvswitch.db_get", "Controller", A, "connection_mode", if_exists=True) is None
    none = salt.cmd("openvswitch.db_set", "Controller", A, "connection_mode", "in-band")
    assert none == f"db.Controller.{A}: there is no such record."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"table": "Ports", "data": {}}, "table: 'Ports' is no table of the Open vSwitch database"),
        ({"table": "Port", "data": ["tag"]}, "data: is no mapping of values by column"),
        ({"table": "Port", "data": {"tagg": 5}}, "data.tagg: the table Port has no such column"),
        ({"table": "Port", "data": {"tag": "x"}}, f"db.Port.{A}.tag: 'x' is not of type integer"),
        ({"table": "Port", "record": "brt-none", "data": {"tag": 5}}, "there is no such record"),
        (
            {"table": "Port", "data": {"vlan_mode": "trunk", "other_config": "rstp-path-cost=7"}},
            f"db.Port.{A}.other_config: is a map",
        ),
    ],
)
def test_wrong_columns(state: Any, bridges: ModuleType, arguments: Any, sentence: str) -> None:
    before = bridges.configuration()
    assert_failed(state("openvswitch_db.managed", A, **arguments), sentence)
    assert bridges.configuration() == before


# A whole SLS

OLD_SLS = """
br-old:
  openvswitch_bridge.present: []

br-old-mgmt:
  openvswitch_bridge.present:
    - parent: br-old
    - vlan: 123
    - require:
      - openvswitch_bridge: br-old

eth1:
  openvswitch_port.present:
    - bridge: br-old

old-int0:
  openvswitch_port.present:
    - bridge: br-old-mgmt
    - internal: True

old-vlan0:
  openvswitch_port.present:
    - bridge: br-old
    - tunnel_type: vlan
    - id: 10
    - internal: True

old-gre0:
  openvswitch_port.present:
    - bridge: br-old
    - tunnel_type: gre
    - id: 5001
    - remote: 192.0.2.7

old-vx0:
  openvswitch_port.present:
    - bridge: br-old
    - tunnel_type: vxlan
    - id: 5002
    - remote: 192.0.2.8
    - dst_port: 8472

a mac of its own:
  openvswitch_db.managed:
    - table: Interface
    - record: br-old-mgmt
    - data:
        mac: 02:03:04:05:06:07
    - require:
      - openvswitch_bridge: br-old-mgmt

old-gone0:
  openvswitch_port.absent:
    - bridge: br-old
"""


def test_an_sls_of_then(tmp_path: Path, kernel: ModuleType) -> None:
    (tmp_path / "then.sls").write_text(OLD_SLS)
    salt = salt_here.caller(tmp_path / "salt", file_roots={"base": [str(tmp_path)]})
    empty = kernel.configuration()
    preview = salt.cmd("state.apply", "then", test=True)
    assert [one["result"] for one in preview.values()].count(None) == 8, preview
    assert kernel.configuration() == empty
    first = salt.cmd("state.apply", "then")
    assert {one["result"] for one in first.values()} == {True}, first
    assert sum(bool(one["changes"]) for one in first.values()) == 8
    again = salt.cmd("state.apply", "then")
    assert {(one["result"], bool(one["changes"])) for one in again.values()} == {(True, False)}, again
    assert kernel.vsctl("list-ports", "br-old").split() == ["eth1", "old-gre0", "old-vlan0", "old-vx0"]
    assert kernel.vsctl("list-ports", "br-old-mgmt") == "old-int0"
    assert kernel.vsctl("get", "interface", "br-old-mgmt", "mac") == '"02:03:04:05:06:07"'


# Functions


def test_functions_that_ask(salt: Any, bridges: ModuleType) -> None:
    """They return what the old ones made of the output of ovs-vsctl."""
    bridges.vsctl(
        *("add-port", A, "brt-vx0", "tag=10", "--", "set", "interface", "brt-vx0", "type=vxlan"),
        *("options:remote_ip=192.0.2.7", "options:key=flow", "options:psk=secret"),
        *("--", "add-port", A, "eth1", "--", "add-bond", A, "brt-bond0", "eth2", "eth3"),
        *("--", "add-port", FAKE, "vnet95", "--", "set", "interface", "vnet95", "type=internal"),
    )
    call = salt.cmd
    assert call("openvswitch.bridge_list") == bridges.vsctl("list-br").split()
    assert [call("openvswitch.bridge_exists", br) for br in (A, FAKE, "brt-none")] == [True, True, False]
    assert [call("openvswitch.bridge_to_parent", br) for br in (A, FAKE, "brt-none")] == [A, A, False]
    assert [call("openvswitch.bridge_to_vlan", br) for br in (A, FAKE, "brt-none")] == [0, 123, False]
    for bridge in (A, FAKE, B):
        assert call("openvswitch.port_list", bridge) == bridges.vsctl("list-ports", bridge).split()
    assert call("openvswitch.port_list", "brt-none") is False
    for port in ("brt-vx0", "eth1"):
        assert call("openvswitch.port_get_tag", port) == [bridges.vsctl("get", "port", port, "tag")]
        assert call("openvswitch.interface_get_type", port) == [
            bridges.vsctl("get", "interface", port, "type")
        ]
    options = bridges.vsctl("get", "interface", "brt-vx0", "options")
    assert call("openvswitch.interface_get_options", "brt-vx0") == [options.replace("secret", '"(hidden)"')]
    for function in ("port_get_tag", "interface_get_type", "interface_get_options"):
        assert call(f"openvswitch.{function}", "brt-none") is False


def test_functions_that_make_and_remove(salt: Any, kernel: ModuleType) -> None:
    call = salt.cmd
    assert call("openvswitch.bridge_create", A) is True
    assert call("openvswitch.bridge_create", A) is True
    assert call("openvswitch.bridge_create", A, may_exist=False) is False
    assert call("openvswitch.bridge_create", FAKE, parent=A, vlan=7) is True
    assert call("openvswitch.port_add", A, "eth1") is True
    assert call("openvswitch.port_add", A, "eth1") is False
    assert call("openvswitch.port_add", A, "brt-i0", internal=True) is True
    assert call("openvswitch.port_create_vlan", A, "eth1", 10) is True
    assert call("openvswitch.port_create_gre", A, "brt-gre0", 1, "192.0.2.7") is True
    assert call("openvswitch.port_create_vxlan", A, "brt-vx0", 2, "192.0.2.8") is True
    assert kernel.vsctl("list-ports", A).split() == ["brt-gre0", "brt-i0", "brt-vx0", "eth1"]
    assert kernel.vsctl("get", "port", "eth1", "tag") == "10"
    assert call("openvswitch.port_remove", FAKE, "eth1") is False, "it is on another bridge"
    assert call("openvswitch.port_remove", FAKE, "brt-none") is True
    assert call("openvswitch.port_remove", FAKE, "brt-none", if_exists=False) is False
    assert call("openvswitch.port_remove", A, "eth1", if_exists=False) is True
    assert call("openvswitch.port_remove", None, "brt-i0", if_exists=False) is True
    assert call("openvswitch.port_remove", None, "brt-i0", if_exists=False) is False
    assert kernel.vsctl("list-ports", A).split() == ["brt-gre0", "brt-vx0"]
    assert call("openvswitch.bridge_delete", A) is True
    assert call("openvswitch.bridge_delete", A) is True
    assert call("openvswitch.bridge_delete", A, if_exists=False) is False
    assert kernel.vsctl("list-br") == ""


def test_what_cannot_be_made_is_said(salt: Any, bridges: ModuleType) -> None:
    before = bridges.configuration()
    for function, arguments, sentence in (
        ("port_add", (A, "eth77"), "there is no network interface eth77 on this host"),
        ("port_create_vlan", (A, "eth1", 4096), "id: 4096 is not a VLAN id"),
        ("port_create_vlan", ("brt-none", "eth1", 4), "there is no bridge brt-none on this host"),
        ("port_create_vxlan", (A, "brt-vx0", 1, "far.example"), "remote: 'far.example' is neither an IP"),
        ("bridge_create", ("brt-x", True, A), "bridges.brt-x.vlan: is required"),
    ):
        with pytest.raises(CommandExecutionError, match=sentence):
            salt.cmd(f"openvswitch.{function}", *arguments)
    with bridges.stopped("ovsdb-server"), pytest.raises(CommandExecutionError, match="does not answer"):
        salt.cmd("openvswitch.bridge_exists", A, timeout=1)
    assert bridges.configuration() == before


def test_functions_of_the_database(salt: Any, bridges: ModuleType) -> None:
    call = salt.cmd
    bridges.vsctl(
        "set", "port", A, "trunks=20,10", "tag=3", "external_ids:role=up", "vlan_mode=native-tagged"
    )
    for column in ("trunks", "tag", "external_ids", "name", "protected", "lacp", "cvlans", "interfaces"):
        listed = json.loads(bridges.vsctl("--format=json", f"--columns={column}", "list", "port", A))
        got = call("openvswitch.db_get", "Port", A, column)
        value = listed["data"][0][0]
        if isinstance(value, list) and value[0] == "map":
            value = dict(value[1])
        elif isinstance(value, list) and value[0] == "set":
            value = value[1]
        assert got == value, column
    assert call("openvswitch.db_get", "Port", "brt-none", "tag", if_exists=True) is None
    with pytest.raises(CommandExecutionError, match="There is no brt-none in the table Port"):
        call("openvswitch.db_get", "Port", "brt-none", "tag")
    assert call("openvswitch.db_set", "Interface", A, "mac", "02:03:04:05:06:07") is None
    assert call("openvswitch.db_set", "bridge", A, "other-config:hwaddr", "02:03:04:05:06:08") is None
    assert call("openvswitch.db_set", "Port", "brt-none", "tag", 4, if_exists=True) is None
    assert "there is no such record" in call("openvswitch.db_set", "Port", "brt-none", "tag", 4)
    assert "is not of type integer" in call("openvswitch.db_set", "Port", A, "tag", "x")
    assert bridges.vsctl("get", "interface", A, "mac") == '"02:03:04:05:06:07"'
    assert bridges.vsctl("get", "bridge", A, "other_config:hwaddr") == '"02:03:04:05:06:08"'

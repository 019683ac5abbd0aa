"""What hangs on the switch, a bridge or a port, on a real Open vSwitch, each noun four ways."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.expect import assert_failed
from tests.support.ovs_parts import NETDEV, A


def test_controllers_and_protocols(four_ways: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    at = f"{A}.controllers.tcp:127.0.0.1:6653"
    made = four_ways(
        "ovs.bridge_present",
        A,
        protocols=["OpenFlow13", "OpenFlow10"],
        controllers={"tcp:127.0.0.1:6653": {"inactivity_probe": 0, "connection_mode": "out-of-band"}},
        look=parts,
        disturb=lambda: switch.vsctl("set", "controller", A, "connection_mode=in-band", "max_backoff=9000"),
        drift={f"{at}.connection_mode": {"old": "in-band", "new": "out-of-band"}},
    )
    assert made == {
        f"{A}.protocols": {"old": None, "new": ["OpenFlow10", "OpenFlow13"]},
        at: {"old": None, "new": {"inactivity_probe": 0, "connection_mode": "out-of-band"}},
    }
    assert switch.vsctl("get-controller", A) == "tcp:127.0.0.1:6653"


def test_only_our_controllers_are_purged(state: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    declare = {A: {**NETDEV, "controllers": {"ptcp:6701": {}, "ptcp:6702": {}}}}
    assert state("ovs.switch_managed", "switch", bridges=declare)["result"] is True
    switch.vsctl(
        "--",
        "--id=@c",
        "create",
        "controller",
        "target=ptcp\\:6703",
        "--",
        "add",
        "bridge",
        A,
        "controller",
        "@c",
    )
    declare[A]["controllers"] = {"ptcp:6701": {}}
    run = state("ovs.switch_managed", "switch", bridges=declare)
    assert run["changes"] == {f"{A}.controllers.ptcp:6702": {"old": {}, "new": None}}, run
    assert sorted(switch.vsctl("get-controller", A).split()) == ["ptcp:6701", "ptcp:6703"]
    gone = state("ovs.bridge_present", A, controllers={"ptcp:6703": None})
    assert gone["changes"] == {f"{A}.controllers.ptcp:6703": {"old": {}, "new": None}}


def test_mirrors(four_ways: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    """A mirror and the port that it copies to may be new in the same declaration."""
    made = four_ways(
        "ovs.bridge_present",
        A,
        ports={"brt-span": {"type": "internal"}},
        mirrors={
            "m0": {"select_src_port": ["brt-p2", "brt-p1"], "output_port": "brt-span", "snaplen": 100},
            "m1": {"select_all": True, "output_vlan": 77},
        },
        look=parts,
        disturb=lambda: switch.vsctl("clear", "mirror", "m0", "select_src_port", "snaplen"),
        drift={
            f"{A}.mirrors.m0.select_src_port": {"old": None, "new": ["brt-p1", "brt-p2"]},
            f"{A}.mirrors.m0.snaplen": {"old": None, "new": 100},
        },
    )
    assert made[f"{A}.mirrors.m1"] == {"old": None, "new": {"select_all": True, "output_vlan": 77}}
    span = switch.uuid("Port", "brt-span")
    assert switch.vsctl("get", "mirror", "m0", "output_port") == span


def test_a_mirror_of_a_port_that_is_not_there(state: Any, parts: Callable[[], Any]) -> None:
    before = parts()
    declared = {"m0": {"select_all": True, "output_port": "brt-none"}}
    sentence = f"bridges.{A}.mirrors.m0.output_port: there is no port brt-none on {A}"
    assert_failed(state("ovs.bridge_present", A, mirrors=declared), sentence)
    assert parts() == before


EXPORTERS = [
    (
        "netflow",
        {"targets": ["127.0.0.1:2055"], "active_timeout": 60, "engine_id": 0},
        "active_timeout=5",
        {"active_timeout": {"old": 5, "new": 60}},
    ),
    (
        "sflow",
        {"targets": ["127.0.0.1:6343"], "agent": "lo", "sampling": 64, "polling": 10},
        "sampling=400",
        {"sampling": {"old": 400, "new": 64}},
    ),
    (
        "ipfix",
        {"targets": ["127.0.0.1:4739"], "obs_domain_id": 0, "other_config": {"enable-tunnel-sampling": True}},
        "obs_domain_id=9",
        {"obs_domain_id": {"old": 9, "new": 0}},
    ),
]


@pytest.mark.parametrize(
    ("noun", "settings", "altered", "drift"), EXPORTERS, ids=[one[0] for one in EXPORTERS]
)
def test_exporters(
    four_ways: Any,
    state: Any,
    parts: Callable[[], Any],
    switch: ModuleType,
    noun: str,
    settings: dict[str, Any],
    altered: str,
    drift: dict[str, Any],
) -> None:
    four_ways(
        "ovs.bridge_present",
        A,
        **{noun: settings},
        look=parts,
        disturb=lambda: switch.vsctl("set", noun, switch.vsctl("get", "bridge", A, noun), altered),
        drift={f"{A}.{noun}.{key}": change for key, change in drift.items()},
    )
    gone = state("ovs.bridge_present", A, **{noun: None})
    assert (gone["result"], list(gone["changes"])) == (True, [f"{A}.{noun}"]), gone
    assert switch.vsctl("get", "bridge", A, noun) == "[]"


def test_qos_and_its_queues(four_ways: Any, state: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    """QoS and Queue rows stay in the database until somebody deletes them: ours go with the declaration."""
    at = f"{A}.ports.brt-p1.qos"
    four_ways(
        "ovs.port_present",
        "brt-p1",
        bridge=A,
        qos={
            "type": "linux-htb",
            "other_config": {"max-rate": 1000000},
            "queues": {0: {"other_config": {"max-rate": 500000}}, 7: {"dscp": 10}},
        },
        look=parts,
        disturb=lambda: switch.vsctl(
            "set",
            "queue",
            switch.vsctl("get", "qos", switch.vsctl("get", "port", "brt-p1", "qos"), "queues:7"),
            "dscp=12",
        ),
        drift={f"{at}.queues.7.dscp": {"old": 12, "new": 10}},
    )
    fewer = state("ovs.port_present", "brt-p1", bridge=A, qos={"queues": {7: None}})
    assert list(fewer["changes"]) == [f"{at}.queues.7"], fewer
    assert len(switch.vsctl("--columns=_uuid", "list", "queue").split("\n")) == 1
    gone = state("ovs.port_present", "brt-p1", bridge=A, qos=None)
    assert (gone["result"], list(gone["changes"])) == (True, [at]), gone
    assert switch.vsctl("list", "qos") + switch.vsctl("list", "queue") == ""


def test_qos_that_two_ports_share_is_not_changed_for_the_other(
    state: Any, parts: Callable[[], Any], switch: ModuleType
) -> None:
    shared = switch.vsctl("create", "qos", "type=linux-htb", "other_config:max-rate=5")
    for port in ("brt-p1", "brt-p2"):
        switch.vsctl("set", "port", port, f"qos={shared}")
    run = state("ovs.port_present", "brt-p1", bridge=A, qos={"other_config": {"max-rate": 6}})
    assert run["result"] is True, run
    assert switch.vsctl("get", "port", "brt-p2", "qos") == shared
    assert switch.vsctl("get", "qos", shared, "other_config:max-rate") == '"5"'
    own = switch.vsctl("get", "port", "brt-p1", "qos")
    assert switch.vsctl("get", "qos", own, "type", "other_config:max-rate") == 'linux-htb\n"6"'


def test_what_watches_over_a_port(four_ways: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    at = f"{A}.ports.brt-p1"
    four_ways(
        "ovs.port_present",
        "brt-p1",
        bridge=A,
        bfd={"enable": True, "min_rx": 500},
        cfm={"mpid": 5, "interval": 1000, "extended": True},
        lldp={"enable": True},
        ingress_policing_rate=1000,
        ingress_policing_burst=100,
        protected=True,
        mac="52:54:00:12:34:56",
        look=parts,
        disturb=lambda: switch.vsctl(
            "set", "interface", "brt-p1", "cfm_mpid=6", "other_config:cfm_interval=10", "bfd:min_rx=1"
        ),
        drift={
            f"{at}.bfd.min_rx": {"old": "1", "new": "500"},
            f"{at}.cfm.mpid": {"old": "6", "new": "5"},
            f"{at}.cfm.interval": {"old": "10", "new": "1000"},
        },
    )
    assert "MPID 5" in switch.run("ovs-appctl", "cfm/show", "brt-p1")
    assert switch.run("cat", "/sys/class/net/brt-p1/address") == "52:54:00:12:34:56"


def test_managers_and_settings_of_the_switch(
    four_ways: Any, parts: Callable[[], Any], switch: ModuleType
) -> None:
    made = four_ways(
        "ovs.switch_managed",
        "switch",
        managers={"ptcp:6640:127.0.0.1": {"inactivity_probe": 0}},
        other_config={"max-idle": 20000},
        external_ids={"rack": "b7"},
        look=parts,
        disturb=lambda: switch.vsctl(
            "set",
            "Open_vSwitch",
            ".",
            "other_config:max-idle=1",
            "--",
            "set",
            "manager",
            "ptcp:6640:127.0.0.1",
            "inactivity_probe=7",
        ),
        drift={
            "Open_vSwitch.managers.ptcp:6640:127.0.0.1.inactivity_probe": {"old": 7, "new": 0},
            "Open_vSwitch.other_config.max-idle": {"old": "1", "new": "20000"},
        },
    )
    assert made["Open_vSwitch.external_ids.rack"] == {"old": None, "new": "b7"}
    assert switch.vsctl("get-manager") == "ptcp:6640:127.0.0.1"
    switch.vsctl(
        "remove",
        "Open_vSwitch",
        ".",
        "other_config",
        "max-idle",
        "--",
        "remove",
        "Open_vSwitch",
        ".",
        "external_ids",
        "rack",
    )


def test_ssl(
    four_ways: Any, state: Any, parts: Callable[[], Any], switch: ModuleType, tmp_path: Path
) -> None:
    files = {name: str(tmp_path / f"{name}.pem") for name in ("private_key", "certificate", "ca_cert")}
    four_ways(
        "ovs.switch_managed",
        "switch",
        ssl={**files, "bootstrap_ca_cert": True},
        look=parts,
        disturb=lambda: switch.vsctl("set", "ssl", ".", "bootstrap_ca_cert=false"),
        drift={"Open_vSwitch.ssl.bootstrap_ca_cert": {"old": None, "new": True}},
    )
    gone = state("ovs.switch_managed", "switch", ssl=None)
    assert (gone["result"], list(gone["changes"])) == (True, ["Open_vSwitch.ssl"]), gone


def test_a_tunnel_with_its_options(four_ways: Any, parts: Callable[[], Any], switch: ModuleType) -> None:
    at = f"{A}.ports.brt-vx"
    made = four_ways(
        "ovs.tunnel_present",
        "brt-vx",
        bridge=A,
        type="vxlan",
        remote_ip="192.0.2.7",
        key="flow",
        tos="inherit",
        df_default=False,
        tag=5,
        look=parts,
        disturb=lambda: switch.vsctl("set", "interface", "brt-vx", "options:tos=4"),
        drift={f"{at}.options.tos": {"old": "4", "new": "inherit"}},
    )
    options = {"remote_ip": "192.0.2.7", "key": "flow", "tos": "inherit", "df_default": "false"}
    assert made == {at: {"old": None, "new": {"type": "vxlan", "options": options, "tag": 5}}}


def test_what_is_shown_can_be_declared(
    state: Any, salt: Any, parts: Callable[[], Any], switch: ModuleType
) -> None:
    """Whoever made it: a switch that people have built by hand is taken into pillar as it is."""
    commands = [
        ["set-controller", A, "ptcp:6704"],
        [
            "add",
            "bridge",
            A,
            "mirrors",
            "@m",
            "--",
            "--id=@m",
            "create",
            "mirror",
            "name=m0",
            "output_vlan=9",
        ],
        ["set-manager", "ptcp:6705:127.0.0.1"],
        [
            "set",
            "port",
            "brt-p1",
            "qos=@q",
            "--",
            "--id=@q",
            "create",
            "qos",
            "type=linux-htb",
            "queues:3=@u",
        ],
        ["add-br", "brt-mgmt0", A, "77"],
        ["set", "interface", "brt-p2", "bfd:enable=true", "ingress_policing_rate=100"],
        [
            "add-port",
            A,
            "brt-gre",
            "--",
            "set",
            "interface",
            "brt-gre",
            "type=gre",
            "options:remote_ip=192.0.2.9",
        ],
    ]
    commands[3] += ["--", "--id=@u", "create", "queue", "dscp=5"]
    for command in commands:
        switch.vsctl(*command)
    shown = salt.cmd("ovs.show")
    assert shown["bridges"][A]["ports"]["brt-mgmt0"]["fake_bridge"] is True
    assert shown["bridges"][A]["ports"]["brt-p1"]["qos"] == {
        "type": "linux-htb",
        "queues": {"3": {"dscp": 5}},
    }
    again = state("ovs.switch_managed", "switch", **shown)
    assert (again["result"], again["changes"]) == (True, {}), again

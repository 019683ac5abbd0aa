"""What was declared for Salt's own Open vSwitch modules, up to 3007, in the words of Corral."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corral.errors import Invalid
from corral.ovs import compat
from corral.ovs.host import Host
from tests.support import salt_here

FAR = {"remote_ip": "192.0.2.7", "key": "7"}


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        ({}, {}),
        ({"internal": True, "id": 5, "remote": "x", "dst_port": 1}, {"type": "internal"}),
        ({"tunnel_type": "vlan", "id": 5, "remote": "x"}, {"tag": 5}),
        ({"tunnel_type": "vlan", "id": "5", "internal": True}, {"type": "internal", "tag": 5}),
        (
            {"tunnel_type": "gre", "id": 7, "remote": "192.0.2.7", "dst_port": 4789},
            {"type": "gre", "options": FAR},
        ),
        (
            {"tunnel_type": "vxlan", "id": 7, "remote": "192.0.2.7", "internal": True},
            {"type": "vxlan", "options": FAR},
        ),
        (
            {"tunnel_type": "vxlan", "id": 7, "remote": "192.0.2.7", "dst_port": 8472},
            {"type": "vxlan", "options": {**FAR, "dst_port": "8472"}},
        ),
    ],
)
def test_a_port(arguments: dict[str, Any], port: dict[str, Any]) -> None:
    assert compat.port("p0", "br0", **arguments).declared() == {"bridges": {"br0": {"ports": {"p0": port}}}}


@pytest.mark.parametrize("vlan", [0, 4095])
def test_a_vlan_of_which_the_model_says_that_it_is_none(vlan: int) -> None:
    declared = compat.port("p0", "br0", "vlan", vlan).declared()
    assert declared == {"bridges": {"br0": {"ports": {"p0": {}}}}, "db": {"Port": {"p0": {"tag": vlan}}}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tunnel_type": "geneve"}, "tunnel_type: 'geneve' is not vlan, vxlan or gre"),
        ({"tunnel_type": "vlan"}, "id: None is not a VLAN id (0–4095)"),
        ({"tunnel_type": "vlan", "id": 4096}, "id: 4096 is not a VLAN id (0–4095)"),
        ({"tunnel_type": "vlan", "id": True}, "id: True is not a VLAN id (0–4095)"),
        ({"tunnel_type": "gre", "id": 7}, "remote: is required for tunnel_type gre"),
        ({"tunnel_type": "gre", "remote": "192.0.2.7"}, "id: is required for tunnel_type gre"),
        ({"tunnel_type": "gre", "remote": "192.0.2.7", "id": 1 << 32}, "id: '4294967296' is not a number"),
        ({"tunnel_type": "vxlan", "remote": "192.0.2.7", "id": 1 << 24}, "id: '16777216' is not a number"),
        (
            {"tunnel_type": "vxlan", "remote": "far.example", "id": 7},
            "remote: 'far.example' is neither an IP address nor 'flow'",
        ),
        (
            {"tunnel_type": "vxlan", "remote": "192.0.2.7", "id": 7, "dst_port": 70000},
            "dst_port: '70000' is not a number from 0 to 65535",
        ),
    ],
)
def test_a_wrong_argument_is_called_by_its_name(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as error:
        compat.port("p0", "br0", **arguments)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("given", "table"),
    [
        ("Port", "Port"),
        ("port", "Port"),
        ("interface", "Interface"),
        ("open-vswitch", "Open_vSwitch"),
        ("net", "NetFlow"),
        ("flow_table", "Flow_Table"),
        ("flow", None),
        ("", None),
        ("ports", None),
    ],
)
def test_tables_are_called_as_ovs_vsctl_takes_them(given: str, table: str | None) -> None:
    if table is None:
        with pytest.raises(Invalid, match=f"^table: {given!r} is no table"):
            compat.record(given, "x", {})
    else:
        assert list(compat.record(given, "x", {}).db) == [table]


def _host() -> Host:
    fake = {"type": "internal", "fake_bridge": True, "tag": 5}
    ports = {"br0": {}, "mgmt0": fake, "p0": {"tag": 5}, "p1": {"tag": 6}, "p2": {}}
    return Host({"br0": {"ports": ports, "bonds": {"b0": {"members": ["x", "y"]}}}})


def test_bridges_and_ports_are_told_as_ovs_vsctl_does() -> None:
    assert compat.bridges(_host()) == {"br0": ("br0", 0), "mgmt0": ("br0", 5)}
    assert compat.ports(_host(), "br0") == ["b0", "p1", "p2"]
    assert compat.ports(_host(), "mgmt0") == ["p0"]
    assert compat.is_on(_host(), "p0", "mgmt0")
    assert not compat.is_on(_host(), "p0", "br0")
    assert compat.is_on(_host(), "b0", None)
    assert not compat.is_on(_host(), "p9", None)


@pytest.mark.parametrize(
    ("sent", "text", "shown"),
    [
        (["set", []], "[]", []),
        (["set", [10, 20]], "[10, 20]", [10, 20]),
        (10, "10", 10),
        (1.5, "1.5", 1.5),
        (True, "true", True),
        ("", '""', ""),
        ("internal", "internal", "internal"),
        ("true", '"true"', "true"),
        ("5001", '"5001"', "5001"),
        ('say "ä"', '"say \\"ä\\""', 'say "ä"'),
        (["map", []], "{}", {}),
        (
            ["map", [["remote_ip", "192.0.2.7"], ["key", "flow"]]],
            '{key=flow, remote_ip="192.0.2.7"}',
            {"remote_ip": "192.0.2.7", "key": "flow"},
        ),
        (["map", [["psk", "secret"]]], '{psk="(hidden)"}', {"psk": "(hidden)"}),
        (["uuid", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"], "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", None),
        ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", '"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"', None),
    ],
)
def test_values_are_told_as_ovs_vsctl_does(sent: Any, text: str, shown: Any) -> None:
    assert compat.text(sent) == text
    assert compat.shown(sent) == (sent if shown is None else shown)


# Who has the name


def test_salt_itself_comes_first() -> None:
    assert compat.provided("modules", "bridge") == "bridge is Salt's own here."
    assert compat.provided("modules", "openvswitch") == "", (
        "Salt 3008 has none, and ours is not taken for one"
    )


def test_an_extension_that_has_the_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "saltext_switch-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: saltext.switch\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[salt.loader]\nswitch = saltext.switch\n")
    (about / "RECORD").write_text("saltext/switch/states/openvswitch_port.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert compat.provided("states", "openvswitch_port") == (
        "openvswitch_port is that of the Salt extension saltext.switch."
    )
    assert compat.provided("modules", "openvswitch_port") == ""


@pytest.mark.parametrize("answer", ["True", "(False, 'not here')"])
def test_a_file_of_the_name_is_not_hidden(tmp_path: Path, answer: str) -> None:
    """The loader takes one file of a name, and no other where that one says no: ours must have another."""
    theirs = tmp_path / "theirs" / "_modules"
    theirs.mkdir(parents=True)
    (theirs / "openvswitch.py").write_text(
        f"def __virtual__():\n    return {answer}\n\n\ndef bridge_list():\n    return 'theirs'\n"
    )
    salt = salt_here.caller(tmp_path / "salt", module_dirs=[str(salt_here.REPO), str(tmp_path / "theirs")])
    function = salt.sminion.functions["openvswitch.bridge_list"]
    assert (function.__module__.endswith("openvswitch_compat")) is (answer != "True")

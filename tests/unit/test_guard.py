"""The guard as far as it needs no host: what is declared, what the kernel's tables say, journal and unit."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Invalid, Unavailable
from corral.guard import Undo, choice, journal, netlink, network, pending, probes, unit, way
from corral.guard.journal import Journal, Step
from corral.guard.model import Guard, guard
from corral.guard.probes import Target
from corral.guard.process import Process


@pytest.mark.parametrize(
    ("declared", "normal"),
    [
        (True, {}),
        ({}, {}),
        ({"within": "1m"}, {"within": 60}),
        ({"probes": None}, {"probes": None}),
        ({"hold": True}, {"hold": True}),
        (
            {"probes": ["gateway", {"tcp": "[2001:DB8::9]:022"}, {"ping": "2001:db8:0::9"}]},
            {"probes": [{"word": "gateway"}, {"tcp": "[2001:db8::9]:22"}, {"ping": "2001:db8::9"}]},
        ),
    ],
)
def test_what_may_be_declared(declared: Any, normal: dict[str, Any]) -> None:
    assert guard(declared).declared() == normal


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ("yes", "guard: is none of true, false and a mapping with the keys within and probes"),
        (["gateway"], "guard: is none of true, false and a mapping with the keys within and probes"),
        ({"within": "1s"}, "guard.within: 1 s is not between 3 s and 60 m"),
        ({"within": "2h"}, "guard.within: 7200 s is not between 3 s and 60 m"),
        ({"within": "soon"}, "guard.within: 'soon' is not a duration (30s, 5m, 2h)"),
        ({"wait": 3}, "guard.wait: unknown key"),
        ({"hold": "yes"}, "guard.hold: 'yes' is not valid, input should be a valid boolean"),
        ({"probes": []}, "guard.probes: name at least one probe, or leave probes out for the default ones"),
        ({"probes": "gateway"}, "guard.probes: a text is not valid, input should be a valid tuple"),
        (
            {"probes": ["gateway", "router"]},
            "guard.probes[1]: is none of gateway, salt_master, {ping: ADDRESS} and {tcp: 'ADDRESS:PORT'}",
        ),
        (
            {"probes": [{"ping": "192.0.2.9", "tcp": "192.0.2.9:22"}]},
            "guard.probes[0]: is none of gateway, salt_master, {ping: ADDRESS} and {tcp: 'ADDRESS:PORT'}",
        ),
        ({"probes": ["gateway", {"ping": "host"}]}, "guard.probes[1].ping: 'host' is not an IP address"),
        ({"probes": [{"ping": None}]}, "guard.probes[0].ping: None is not an IP address"),
        *(
            (
                {"probes": [{"tcp": wrong}]},
                f"guard.probes[0].tcp: {wrong!r} is not an address with a TCP port (192.0.2.9:22,"
                f" '[2001:db8::9]:22')",
            )
            for wrong in ("192.0.2.9", "192.0.2.9:0", "2001:db8::9:22", "[192.0.2.9]:22", "host:22", 22)
        ),
    ],
)
def test_a_wrong_guard_is_one_sentence(declared: Any, sentence: str) -> None:
    with pytest.raises(Invalid) as raised:
        guard(declared)
    assert str(raised.value) == sentence


def test_what_is_not_guarded_needs_nothing() -> None:
    for declared in (None, False):
        plain = way("switch", declared, {})
        assert (plain.note, plain.guards, plain.lacks(None, (), None, None)) == ("", False, ())


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t0902000A\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth0\t00000000\t090200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
ppp0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0
eth0\t00000A0A\t090200C0\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ZERO = "0" * 32
ROUTES6 = f"""\
{ZERO} 00 {ZERO} 00 fe800000000000000000000000000009 00000400 00000001 00000000 00450003     eth0
{ZERO} 00 {ZERO} 00 20010db8000000000000000000000009 00000800 00000001 00000000 00000003     eth1
{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo
20010db8000000000000000000000000 40 {ZERO} 00 {ZERO} 00000100 00000001 00000000 00000001     eth0
"""


def test_gateways_are_those_of_default_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("ROUTES", ROUTES), ("ROUTES6", ROUTES6)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(probes, name, tmp_path / name)
    found = {way.address: way.device for way in probes.gateways().values()}
    assert found == {
        "10.0.2.9": "eth1",
        "192.0.2.9": "eth0",
        "fe80::9%eth0": "eth0",
        "2001:db8::9": "eth1",
    }
    best = [way.address for version in (4, 6) for way in probes.preferred(version)]
    assert best == ["192.0.2.9", "fe80::9%eth0"], "those with the least metric"
    monkeypatch.setattr(probes, "ROUTES6", tmp_path / "none")
    assert probes.preferred(6) == []


@pytest.mark.parametrize(
    ("opts", "masters"),
    [
        ({"master": "192.0.2.1"}, ["salt_master 192.0.2.1:4506"]),
        ({"master": "192.0.2.1:4600"}, ["salt_master 192.0.2.1:4600"]),
        ({"master": "192.0.2.1", "master_port": 4700}, ["salt_master 192.0.2.1:4700"]),
        ({"master": "2001:db8::1"}, ["salt_master [2001:db8::1]:4506"]),
        ({"master": "[2001:db8::1]:4600"}, ["salt_master [2001:db8::1]:4600"]),
        (
            {"master": ["192.0.2.1", "192.0.2.2"]},
            ["salt_master 192.0.2.1:4506", "salt_master 192.0.2.2:4506"],
        ),
        ({"master": "no-such-host.invalid"}, []),
        ({"master": "192.0.2.1", "local": True}, []),
        ({"master": "192.0.2.1", "file_client": "local"}, []),
        ({"master": "192.0.2.1", "master_type": "disable"}, []),
        ({}, []),
    ],
)
def test_the_masters_of_a_minion(opts: dict[str, Any], masters: list[str]) -> None:
    assert [str(one) for one in choice.masters(opts)] == masters


def test_this_host_answers_for_nobody() -> None:
    """An address that the change gave to this very host would answer at once."""
    with subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True) as listener:
        assert listener.stdout is not None
        try:
            here = Target("tcp", "127.0.0.1", int(listener.stdout.readline()))
            assert probes.ASK["tcp"](here, 5) is True
            assert here.answers() is False
        finally:
            listener.kill()


LISTENER = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    server.accept()
"""


def test_asking_ends_when_nobody_waits_any_more_or_time_is_up() -> None:
    silent = (Target("tcp", "127.0.0.1", 9),)
    assert probes.unanswered(silent, lambda: 9.0, lambda: True) == silent
    assert probes.unanswered(silent, lambda: 0.0, lambda: False) == silent
    assert probes.unanswered((), lambda: 9.0, lambda: False) == ()


def test_checksum() -> None:
    """RFC 1071, 3: the numerical example."""
    assert probes.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_a_process_is_known_by_its_start() -> None:
    assert Process.own().alive() and not Process.own().ended(0)
    assert not Process(os.getpid(), 1).alive()
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            stat = Path(f"/proc/{child.pid}/stat").read_text()
            process = Process(child.pid, int(stat.rpartition(")")[2].split()[19]))
            assert process.alive() and not process.ended(0)
        finally:
            os.kill(child.pid, signal.SIGKILL)
        assert process.ended(60)
        assert not process.alive(), "one that only waits to be reaped does not live"
    assert process.ended(0)


def armed(**other: Any) -> Journal:
    given: dict[str, Any] = {
        "identity": "0a1b",
        "name": "switch",
        "steps": (Step("ovs", {"bridges": {"br0": None}}, {"devices": {}, "addresses": [], "routes": []}),),
        "probes": (Target("ping", "192.0.2.1", word="gateway"),),
        "within": 30,
        "until": journal.now() + 30,
        "run": Process.own(),
        "paths": ("/a", "/b"),
    }
    return Journal(**{**given, **other})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(journal, "FOLDER", tmp_path / "corral/guard")
    monkeypatch.setattr("corral.guard.FOLDER", tmp_path / "corral/guard")
    return tmp_path / "corral/guard"


def test_a_journal_is_read_as_it_was_written(folder: Path) -> None:
    one = armed()
    with journal.locked():
        assert (journal.read(), journal.last()) == (None, None)
        journal.write(one)
        assert journal.read() == one
        assert (folder.stat().st_mode & 0o777, (folder / "journal.json").stat().st_mode & 0o777) == (
            0o700,
            0o600,
        )
        marked = journal.mark_reverted(one, "why")
        assert journal.read() == marked != one
        journal.close(one, "kept")
    assert journal.read() is None
    assert {key: journal.last()[key] for key in ("name", "outcome", "why")} == {  # type: ignore[index]
        "name": "switch",
        "outcome": "kept",
        "why": "",
    }


def test_who_armed_it_lives_only_in_the_boot_it_was_armed_in() -> None:
    assert armed().running and not armed().rebooted
    other = armed(boot="another")
    assert other.rebooted and not other.running


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "0a1b"}'])
def test_what_is_no_journal_is_told(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "journal.json").write_text(text)
    with pytest.raises(Unavailable, match=r"journal\.json is "):
        pending(True, False)


def test_one_at_a_time(folder: Path) -> None:
    taken = pytest.raises(Unavailable, match="has been held by another process for 0 s")
    with journal.locked(), taken, journal.locked(0):
        raise AssertionError("taken twice")
    with journal.watching():
        assert journal.watchdog() == os.getpid()
    assert journal.watchdog() == 0


def test_what_a_killed_writer_left_is_swept_by_the_next_run(folder: Path) -> None:
    pending(True, False)
    assert not folder.exists(), "a host that never had a guard keeps none of its files"
    folder.mkdir(parents=True)
    (folder / ".journal.json.new").write_text("{")
    pending(True, False)
    assert os.listdir(folder) == ["lock"]


def test_the_undo_of_a_plan_is_a_value_that_json_holds() -> None:
    undo = Undo("link", {"name": "br0"}, ("br0",))
    assert (undo.devices, undo.environment) == (("br0",), {})


def route(*attributes: tuple[int, bytes], protocol: int = 4, flags: int = 0) -> bytes:
    body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, protocol, 0, 1, flags)
    return body + b"".join(netlink.attribute(kind, value) for kind, value in attributes)


def number(value: int) -> bytes:
    return struct.pack("=i", value)


def test_a_route_comes_back_by_the_numbers_that_devices_have_now() -> None:
    hops = b"".join(
        struct.pack("=HBBi", 16, 0, 0, index) + netlink.attribute(5, bytes([10, 0, 0, index]))
        for index in (7, 8)
    )
    was = route((4, number(7)), (9, hops), (12, bytes(32)), flags=0x10 | 0x4)
    now = network.route_of(was, {7: 70})
    assert now == route((4, number(70)), (9, hops.replace(number(7), number(70))), flags=0x4)


def test_what_a_maker_added_is_told_from_what_was_there() -> None:
    def snapshot(*bodies: bytes) -> dict[str, Any]:
        return {"routes": [body.hex() for body in bodies]}

    ours, others = route((4, number(7)), protocol=67), route((4, number(8)))
    counted = route((4, number(7)), (12, bytes([1] * 32)), protocol=67, flags=0x10)
    assert network.routes_beyond(snapshot(others), snapshot(ours, others), 67) == [ours.hex()]
    assert network.routes_beyond(snapshot(ours), snapshot(counted, others), 67) == []


def test_the_unit_does_nothing_without_a_journal() -> None:
    for text in unit.texts().values():
        assert f"ConditionPathExists={journal.FOLDER / journal.JOURNAL}\n" in text
        assert f"ExecStart={sys.executable} -I {Path(unit.__file__).with_name('program.py')} boot" in text


def test_defaults() -> None:
    assert (Guard().within, Guard().probes) == (30, None)

"""What guests are given, and what pools use of it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from corral.dhcp import paths, process, wire
from corral.dhcp.model import Reservation
from corral.errors import Refused, Unavailable
from tests.support.dhcp_net import DECLARED, NET, ONE, TWO, Ask, seen, serving
from tests.support.expect import assert_failed

pytest_plugins = ["tests.support.dhcp_clients"]

State = Callable[..., dict[str, Any]]
STRANGER = "52:60:2f:71:00:99"
RESERVED = tuple(map(Reservation.declare, (ONE, TWO)))


@pytest.fixture
def served(state: State, ask: Ask) -> Iterator[Ask]:
    """A served subnet with the guest ``ONE`` reserved in it, and the means to ask for leases."""
    answer = state(
        "dhcp.subnet_managed", NET, **DECLARED, options={"ntp-server": "10.71.0.5"}, reservations=[ONE]
    )
    assert answer["result"] is True, answer
    yield ask


def by_mac() -> dict[str, str]:
    return {lease.mac: lease.address for lease in wire.leases(NET)}


def test_a_guest_gets_what_is_declared(served: Ask, salt: Any) -> None:
    assert served(ONE["mac"]) == {
        "ip": ONE["address"],
        "router": "10.71.0.1",
        "domain": "herd.test",
        "broadcast": "10.71.0.255",
        "ntp": "10.71.0.5",
        "mtu": "",
        "lease": "3600",
    }
    other = served(STRANGER)["ip"]
    assert 100 <= int(other.rpartition(".")[2]) <= 199
    leases = salt.cmd("dhcp.leases", NET)
    assert [(one["mac"], one["address"], one["name"]) for one in leases] == [
        (ONE["mac"], ONE["address"], "one"),
        (STRANGER, other, None),
    ]
    assert 3500 < leases[0]["expires"] - time.time() < 3700


def test_no_router_is_announced_when_none_is_declared(state: State, ask: Ask) -> None:
    assert state("dhcp.subnet_managed", NET, **{**DECLARED, "router": None})["result"] is True
    assert ask(ONE["mac"])["router"] == ""


def test_clones_with_one_client_id_and_one_host_name_stay_apart(served: Ask) -> None:
    same = ("-x", "0x3d:01aabbccddeeff", "-x", "hostname:one")
    assert served(ONE["mac"], *same)["ip"] == ONE["address"]
    assert served(TWO["mac"], *same)["ip"] != served(STRANGER, *same)["ip"]
    assert len(set(by_mac().values())) == 3
    assert [lease.name for lease in wire.leases(NET)] == ["one", None, None]


def test_a_changed_reservation_takes_effect_and_drops_no_other_lease(state: State, served: Ask) -> None:
    served(ONE["mac"])
    kept = served(STRANGER)["ip"]
    before = serving()
    moved = {**ONE, "address": "10.71.0.33"}
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[moved, TWO])["result"] is True
    assert by_mac()[STRANGER] == kept
    assert served(ONE["mac"])["ip"] == "10.71.0.33"
    assert served(TWO["mac"])["ip"] == TWO["address"]
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[TWO])["result"] is True
    assert served(ONE["mac"])["ip"] not in (ONE["address"], "10.71.0.33")
    assert served(STRANGER)["ip"] == kept
    assert serving() == before


def test_a_restart_keeps_leases(state: State, served: Ask) -> None:
    addresses = [served(mac)["ip"] for mac in (ONE["mac"], STRANGER)]
    before, leases = serving(), wire.leases(NET)
    assert state("dhcp.subnet_managed", NET, **DECLARED, lease_time="2h")["result"] is True
    assert serving() != before
    assert wire.leases(NET) == leases
    assert [served(mac)["ip"] for mac in (ONE["mac"], STRANGER)] == addresses


def test_a_pool_reserves_beside_the_subnet(served: Ask, state: State) -> None:
    before = serving()
    wire.write_reservations(NET, "web", [RESERVED[1]])
    assert served(TWO["mac"])["ip"] == TWO["address"]
    assert wire.all_reservations(NET) == {"_declared": RESERVED[:1], "web": RESERVED[1:]}
    assert wire.read_reservations(NET, "web") == RESERVED[1:]
    again = state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])
    assert again["changes"] == {}
    settled = seen()
    wire.write_reservations(NET, "web", [RESERVED[1]])
    assert seen() == settled, "the same again wrote something"
    wire.write_reservations(NET, "web", [])
    assert wire.read_reservations(NET, "web") == ()
    assert served(TWO["mac"])["ip"] != TWO["address"]
    assert serving() == before


def test_a_pool_is_refused_what_another_has(served: Ask) -> None:
    wire.write_reservations(NET, "web", [RESERVED[1]])
    before = seen()
    wrong = [{**TWO, "mac": STRANGER, "name": "x"}, {"mac": STRANGER, "address": "10.9.9.9"}]
    with pytest.raises(Refused) as refused:
        wire.write_reservations(NET, "db", [Reservation.declare(one) for one in wrong])
    assert str(refused.value) == (
        "dhcp.tdhcp.reservations.db[0].address: 10.71.0.12 is already reserved for 52:60:2f:71:00:02 "
        "by 'web'; "
        "dhcp.tdhcp.reservations.db[1].address: 10.9.9.9 lies outside 10.71.0.0/24; "
        "dhcp.tdhcp.reservations.db[1].mac: 52:60:2f:71:00:99 is already reserved by "
        "dhcp.tdhcp.reservations.db[0]"
    )
    assert seen() == before
    with pytest.raises(Refused, match=r"dhcp\.nosuch: there is no such subnet on this host"):
        wire.write_reservations("nosuch", "web", RESERVED)


def test_reservations_written_while_dnsmasq_is_down_hold_when_it_is_back(served: Ask, state: State) -> None:
    process.end(serving())
    wire.write_reservations(NET, "web", [RESERVED[1]])
    assert state("dhcp.subnet_managed", NET, **DECLARED)["changes"] == {
        f"{NET}.running": {"old": False, "new": True}
    }
    assert served(TWO["mac"])["ip"] == TWO["address"]


def test_the_watch_tells_of_a_lease(served: Ask) -> None:
    with wire.watch(NET) as changed:
        assert changed.wait(0.05) is False
        asking = threading.Thread(target=served, args=(ONE["mac"],))
        asking.start()
        assert select.select([changed], [], [], 10)[0]
        while ONE["mac"] not in by_mac():
            assert changed.wait(10)
        asking.join()
        assert by_mac()[ONE["mac"]] == ONE["address"]
    with pytest.raises(Unavailable, match="nosuch cannot be watched"):
        wire.watch("nosuch")


def test_a_released_address_is_free_at_once(served: Ask, state: State) -> None:
    served(ONE["mac"])
    kept = served(STRANGER)["ip"]
    heir = {"mac": TWO["mac"], "address": ONE["address"], "name": "heir"}
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[heir])["result"] is True
    assert served(TWO["mac"])["ip"] != ONE["address"], "dnsmasq took the address from a guest that has it"
    wire.release(NET, [ONE["mac"], TWO["mac"], "52:60:2f:71:77:77"])
    assert by_mac() == {STRANGER: kept}
    assert served(TWO["mac"])["ip"] == ONE["address"]


def test_leases_are_struck_off_while_dnsmasq_is_down(served: Ask, state: State) -> None:
    served(ONE["mac"])
    kept = served(STRANGER)["ip"]
    process.end(serving())
    wire.release(NET, [ONE["mac"]])
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    assert by_mac() == {STRANGER: kept}
    assert served(TWO["mac"])["ip"] != kept


def test_release(served: Ask, salt: Any) -> None:
    """As an operator gives leases back, in any writing of a MAC."""
    digits = "52:54:00:12:34:56"
    addresses = [served(mac)["ip"] for mac in (ONE["mac"], digits, STRANGER)]
    with pytest.raises(
        CommandExecutionError, match=r"dhcp\.release\.macs\[1\]: 'nonsense' is not a MAC address"
    ):
        salt.cmd("dhcp.release", NET, [ONE["mac"], "nonsense"])
    assert len(by_mac()) == 3
    assert salt.cmd("dhcp.release", NET, [ONE["mac"].upper().replace(":", "-"), TWO["mac"]]) == addresses[:1]
    with pytest.raises(CommandExecutionError, match=r"dhcp\.release\.macs\[0\]: 41135085296 is "):
        salt.cmd("dhcp.release", NET, 41135085296)  # what YAML, and so a command line, takes the digits for
    assert salt.cmd("dhcp.release", NET, digits.replace(":", "-")) == addresses[1:2]
    assert by_mac() == {STRANGER: addresses[2]}
    assert salt.cmd("dhcp.release", NET, [digits]) == []


WRITER = """
import os, sys, time
file, whole = sys.argv[1], "".join(
    f"2000000000 52:60:2f:71:01:{n:02x} 10.71.0.{n} * *\\n" for n in range(2, 200)
)
def busy(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
with open(file, "r+") as leases:
    while True:
        leases.seek(0)
        leases.truncate()
        busy(0.01)
        leases.write(whole[:3000])
        leases.flush()
        busy(0.01)
        leases.write(whole[3000:])
        leases.flush()
        print(flush=True)
        time.sleep(0.005)
"""


def test_no_reader_sees_half_of_the_lease_file(served: Ask) -> None:
    """dnsmasq empties it and writes it in place, without an end: no lease may go missing in between.

    What writes here is as busy as dnsmasq under many guests, but dwells in the moments that matter.
    """
    process.end(serving())
    words = ["dnsmasq", "-c", WRITER, str(paths.leases(NET)), f"--conf-file={paths.started(NET)}"]
    with subprocess.Popen(words, executable=sys.executable, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        try:
            writer.stdout.readline()
            assert process.find(NET), "it does not pass for a dnsmasq"
            assert {len(wire.leases(NET)) for _ in range(40)} == {198}
        finally:
            writer.kill()


def test_leases_of_a_dnsmasq_that_never_rests_cannot_be_read(
    served: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it may be in the midst of the file."""
    monkeypatch.setattr("corral.dhcp.leases.REST_SECONDS", 0.0)
    os.kill(serving().pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match=r"dhcp\.tdhcp: dnsmasq has not been at rest"):
            wire.leases(NET)
    finally:
        os.kill(serving().pid, signal.SIGCONT)


def test_files_that_cannot_be_read_are_not_empty_ones(served: Ask, state: State, salt: Any) -> None:
    wire.write_reservations(NET, "web", [RESERVED[1]])
    for file in (paths.leases(NET), paths.hosts(NET) / "web"):
        file.unlink()
        file.mkdir()
    with pytest.raises(CommandExecutionError, match="leases cannot be read: Is a directory"):
        salt.cmd("dhcp.leases", NET)
    with pytest.raises(CommandExecutionError, match="leases cannot be read: Is a directory"):
        salt.cmd("dhcp.release", NET, ONE["mac"])
    with pytest.raises(CommandExecutionError, match="web cannot be read: Is a directory"):
        salt.cmd("dhcp.show", NET)
    assert_failed(state("dhcp.subnet_managed", NET, **DECLARED), "web cannot be read: Is a directory")
    assert_failed(state("dhcp.subnet_absent", NET), "web cannot be read: Is a directory")
    with pytest.raises(Unavailable, match="web cannot be read: Is a directory"):
        wire.write_reservations(NET, "db", [])

"""The wire to libvirt, by libvirt's own driver for tests: one guest, ``test``, runs, in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import libvirt
import pytest

from corral.errors import Unavailable
from corral.guest import connections, wire
from corral.guest.connections import CALLS_PER_CONNECTION, Connections
from corral.guest.model import Guest
from corral.guest.wire import Libvirt

URI = "test:///default"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Libvirt]:
    monkeypatch.setattr(libvirt.virConnect, "setKeepAlive", lambda *_: 0)  # this driver has none
    with Libvirt(URI) as opened:
        opened.read()
        yield opened


@pytest.fixture
def guest(driver: Libvirt) -> Iterator[Any]:
    """The guest itself, past Corral."""
    connection = libvirt.open(URI)
    yield connection.lookupByName("test")
    connection.close()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connections]:
    monkeypatch.setattr(libvirt.virConnect, "setKeepAlive", lambda *_: 0)
    opened = Connections(URI, 60, 1)
    yield opened
    opened.close()


@pytest.mark.parametrize(("step", "seconds"), [("shutdown", 600), ("destroy", 0)])
def test_a_guest_that_goes_off_just_before_it_is_told_to(
    driver: Libvirt, monkeypatch: pytest.MonkeyPatch, step: str, seconds: int
) -> None:
    destroy, told = libvirt.virDomain.destroy, getattr(libvirt.virDomain, step)

    def late(domain: Any) -> Any:
        destroy(domain)
        return told(domain)

    monkeypatch.setattr(libvirt.virDomain, step, late)
    assert driver.shutdown("test", seconds) is True
    assert driver.read().guests["test"].state == "stopped"


def test_a_guest_that_cannot_hear_its_power_button_is_cut_at_once(driver: Libvirt, guest: Any) -> None:
    guest.suspend()
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(driver.shutdown, "test", 600)
        try:
            assert cut.result(60) is False
        finally:
            if guest.isActive():
                guest.destroy()  # what is waited for


def test_a_guest_that_libvirt_paused_for_a_moment_is_not_cut(
    driver: Libvirt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ASK_AGAIN_SECONDS", 0.05)
    real = libvirt.virDomain.state
    once = iter([[libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT]])
    monkeypatch.setattr(libvirt.virDomain, "state", lambda domain: next(once, None) or real(domain))
    assert driver.shutdown("test", 600) is True
    assert driver.read().guests["test"].reason == "shutdown"


def test_a_lost_connection_does_not_mean_that_there_is_no_kvm(
    driver: Libvirt, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = libvirt.libvirtError("")
    error.err = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, "End of file while reading data")
    monkeypatch.setattr(libvirt.virConnect, "getDomainCapabilities", _raises(error))
    with pytest.raises(Unavailable, match="does not answer: End of file while reading data"):
        driver.define(Guest.declare({"name": "web", "memory": "32M"}), "hv1")


def _raises(error: Exception) -> Callable[..., None]:
    def call(*_: Any) -> None:
        raise error

    return call


def test_whatever_a_call_raises_its_place_is_free_again(
    line: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WORK_SECONDS", 1)
    for _ in range(CALLS_PER_CONNECTION + 1):
        with pytest.raises(ZeroDivisionError):
            line.call("It could not be divided", lambda _: 1 // 0)


def test_a_call_that_hangs_takes_its_place_until_it_ends(
    line: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "WORK_SECONDS", 1)
    goes_on = threading.Event()
    for _ in range(CALLS_PER_CONNECTION):
        with pytest.raises(Unavailable, match=r"within 0\.05 s"):
            line.call("It could not go on", lambda _: goes_on.wait(), 0.05)
    with pytest.raises(Unavailable, match="within 1 s"):
        line.call("It could not be asked", lambda connection: connection.getURI())
    goes_on.set()
    monkeypatch.setattr(connections, "WORK_SECONDS", 60)
    assert line.call("It could not be asked", lambda connection: connection.getURI()) == URI


def test_a_watcher_that_comes_during_an_event_sees_the_next(driver: Libvirt, guest: Any) -> None:
    late: list[str] = []
    resumed = threading.Event()

    def second(_name: str, event: str, _reason: str) -> None:
        late.append(event)
        resumed.set()

    def first(_name: str, event: str, _reason: str) -> None:
        if event == "paused":
            driver.watch(second)

    driver.watch(first)
    guest.suspend()
    guest.resume()
    assert resumed.wait(60)
    assert late == ["resumed"]

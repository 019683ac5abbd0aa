"""A host whose address is on a bridge comes back so, by the distribution's own files (S2.2, S4.2).

A reboot is, for a device, that it is made anew, and for Open vSwitch, that it starts with its database.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from corral.guard import hand
from corral.link import persist
from corral.link.keeper import HEAD
from tests.functional.test_ovs_uplink import ADDRESSES, BARE, BRIDGE, CARD, GUARD, WAYS, held
from tests.support import guard_net as net
from tests.support import guard_runs as runs
from tests.support import link_keepers
from tests.support.expect import assert_failed
from tests.support.guard_net import FAR, NEAR, SPACE, ip, there
from tests.support.link_keepers import Networkd, texts

State = Callable[..., dict[str, Any]]
DEFAULT = {key: value for key, value in CARD.items() if key != "persist"}
DECLARED = {**DEFAULT, "guard": GUARD}
CTL = ("/usr/share/openvswitch/scripts/ovs-ctl", "--no-mlockall", "--no-full-hostname")


@pytest.fixture(autouse=True)
def card(switch: ModuleType) -> Iterator[str]:
    there_before = texts()
    with net.peer():
        net.settle(NEAR)
        yield NEAR
        runs.watchdog_ended()
        hand.recover(False)
        for path in texts().keys() - there_before.keys():
            Path(path).unlink()


@pytest.fixture
def networkd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Networkd]:
    monkeypatch.setattr(link_keepers, "LINK", NEAR)
    one = Networkd(tmp_path / "networkd")
    yield one
    one.stop()


THEIRS = f"""[Match]
Name={NEAR}
[Network]
Address={net.HERE}/24
Address={net.HERE6}/64
[Route]
Gateway={net.THERE}
Metric=42
[Route]
Gateway={net.THERE6}
"""


def reboot(switch: ModuleType, networkd: Networkd) -> None:
    identity = switch.vsctl("get", "Open_vSwitch", ".", "external_ids:system-id").strip('"')
    switch.run(*CTL, "stop")
    networkd.stop()
    was = json.loads(ip("-json", "link", "show", "dev", NEAR))[0]["address"]
    ip("link", "delete", NEAR)
    ip("link", "add", NEAR, "address", was, "type", "veth", "peer", "name", FAR, "netns", SPACE)
    there("address", "add", f"{net.THERE}/24", "dev", FAR)
    there("address", "add", f"{net.THERE6}/64", "dev", FAR, "nodad")
    there("link", "set", FAR, "up")
    switch.run(*CTL, f"--system-id={identity}", "start")
    networkd.start()
    networkd.wait(BRIDGE, "routable")


def test_comes_back_by_networkd(state: State, switch: ModuleType, networkd: Networkd) -> None:
    """The file that somebody else has for the card is out of force."""
    theirs = Path("/etc/systemd/network/10-theirs.network")
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text(THEIRS)
    ip("address", "flush", "dev", NEAR, "scope", "global")
    networkd.start()
    networkd.wait(NEAR, "routable")
    assert held(NEAR)[:2] == (ADDRESSES, WAYS)
    assert state("ovs.uplink_managed", BRIDGE, **DECLARED)["result"] is True
    ours = {path for path in texts() if "corral" in path}
    assert ours == {f"/etc/systemd/network/00-corral-{name}.network" for name in (BRIDGE, NEAR)}
    reboot(switch, networkd)
    assert held(NEAR) == BARE
    assert held(BRIDGE)[:2] == (ADDRESSES, WAYS)
    again = state("ovs.uplink_managed", BRIDGE, test=True, **DECLARED)
    assert (again["result"], again["changes"]) == (True, {}), again
    assert net.reached() and net.reached(net.THERE6)


STANZA = f"""source /etc/network/interfaces.d/*
auto lo {NEAR}
iface {NEAR} inet static
    address {net.HERE}/24
"""


@pytest.fixture
def ifupdown() -> Iterator[Path]:
    """A host with ifupdown, as far as a look at its files tells."""
    program = Path("/usr/local/sbin/ifup")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    persist.MAIN.parent.mkdir(exist_ok=True)
    persist.MAIN.write_text(STANZA)
    yield persist.MAIN
    program.unlink()


def of(name: str) -> str:
    return Path(f"/etc/network/interfaces.d/corral-{name}").read_text()


def test_files_of_ifupdown(state: State, ifupdown: Path) -> None:
    preview = state("ovs.uplink_managed", BRIDGE, test=True, **DECLARED)
    assert ifupdown.read_text() == STANZA
    answer = state("ovs.uplink_managed", BRIDGE, **DECLARED)
    assert (answer["result"], answer["changes"]) == (True, preview["changes"]), answer
    lines = [line for line in ifupdown.read_text().splitlines() if not line.startswith("#")]
    assert lines == ["source /etc/network/interfaces.d/*", "auto lo"]
    for line in (
        f"address {net.HERE}/24",
        f"address {net.HERE6}/64",
        f"via {net.THERE} dev {BRIDGE} metric 42",
    ):
        assert line in of(BRIDGE)
    assert of(NEAR).startswith(HEAD)
    assert f"iface {NEAR} inet manual\n" in of(NEAR) and "    address" not in of(NEAR)
    again = state("ovs.uplink_managed", BRIDGE, **DECLARED)
    assert (again["result"], again["changes"]) == (True, {}), again


def test_files_lead_back_with_the_change(state: State, ifupdown: Path) -> None:
    before = texts()
    answer = state("ovs.uplink_managed", BRIDGE, **{**DECLARED, "ports": {NEAR: {"tag": 7}}})
    assert_failed(answer, "The change was reverted: ping")
    assert texts() == before
    assert net.reached()


def test_files_lead_back_after_a_reboot(
    state: State, switch: ModuleType, ifupdown: Path, tmp_path: Path
) -> None:
    """The host has come up as declared meanwhile, and the address goes back to its card."""
    before = texts()
    long = {"within": "5m", "probes": [{"ping": net.THERE}]}
    with runs.run("uplink", BRIDGE, DEFAULT, long, held=True) as child:
        runs.applied(child)
        assert texts() != before
        os.kill(runs.watched(), signal.SIGKILL)
        runs.watchdog_ended()
        child.kill()
    with runs.rebooted(switch, tmp_path):
        ip("address", "replace", f"{net.HERE}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        assert runs.at_boot("corral-guard.service") == ""
    assert texts() == before
    assert held(NEAR)[:2] == (ADDRESSES, WAYS)
    assert net.reached()
    runs.nothing_is_armed()

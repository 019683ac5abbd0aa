"""dnsmasq kept running by systemd: a unit for each subnet, from one template.

No systemd runs in the throw-away host, so ``tests.support.dhcp_systemctl`` stands for it on PATH; dnsmasq is
the real one, and so is what judges the template.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral import netns
from corral.converge import converge
from corral.dhcp import paths, process, wire
from corral.dhcp.model import Subnet
from corral.dhcp.plan import plan
from corral.dhcp.service import DROP_IN, UNIT, UNITS, Systemd
from tests.support import dhcp_systemctl
from tests.support.dhcp_kills import killed_at
from tests.support.dhcp_net import (
    DECLARED,
    NET,
    ONE,
    OTHER,
    OTHER_BRIDGE,
    OTHERS,
    Ask,
    kill,
    make_bridge,
    seen,
    serving,
    sh,
)
from tests.support.expect import assert_failed

pytest_plugins = ["tests.support.dhcp_clients"]

State = Callable[..., dict[str, Any]]
PROGRAMS = [Path("/usr/local/sbin") / name for name in ("systemctl", "journalctl")]
WANTS = UNITS / "multi-user.target.wants"
BOOTED = Path("/run/systemd/system")  # sd_booted(3)
SERVICE = f"corral-dhcp@{NET}.service"


@pytest.fixture(autouse=True)
def systemd(bridge: str) -> Iterator[None]:
    """A host that systemd has booted."""
    BOOTED.mkdir(parents=True)
    for program in PROGRAMS:
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {dhcp_systemctl.__file__} "$@"\n')
        program.chmod(0o755)
    systemctl("daemon-reload")
    yield
    BOOTED.rmdir()
    for file in (*PROGRAMS, UNIT, *WANTS.glob("corral-dhcp@*")):
        file.unlink(missing_ok=True)
    shutil.rmtree(dhcp_systemctl.MEMORY)


def systemctl(*words: str) -> None:
    sh(str(PROGRAMS[0]), *words)


def calls() -> list[str]:
    return dhcp_systemctl.CALLS.read_text().splitlines()


def all_seen() -> Any:
    units = {str(file): file.read_text() for file in (UNIT, *WANTS.glob("corral-dhcp@*")) if file.exists()}
    return seen(), units, calls()


def older(*subnets: str) -> str:
    """Serve subnets from a template as another version of Corral may have written it; return the new one."""
    new = UNIT.read_text()
    old = "".join(line for line in new.splitlines(keepends=True) if "CORRAL_UNIT" not in line)
    UNIT.write_text(old.replace("RestartSec=2", "RestartSec=3"))
    systemctl("daemon-reload")
    for subnet in subnets:
        systemctl("restart", f"corral-dhcp@{subnet}.service")
    return new


def managed() -> dict[str, Any]:
    def declare() -> Subnet:
        return Subnet.declare({**DECLARED, "name": NET}, f"dhcp.{NET}")

    return converge(NET, {}, declare=declare, wire=wire.Dnsmasq, plan=plan)


ENDS: list[Callable[[], object]] = [lambda: kill(serving()), lambda: systemctl("stop", SERVICE)]


@pytest.mark.parametrize("disturb", ENDS)
def test_four_ways(four_ways: State, ask: Ask, disturb: Callable[[], object]) -> None:
    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=all_seen,
        disturb=disturb,
        drift={f"{NET}.running": {"old": False, "new": True}},
        **DECLARED,
        reservations=[ONE],
    )
    assert calls()[1:3] == [f"enable --quiet {SERVICE}", f"restart {SERVICE}"]
    assert ask(ONE["mac"])["ip"] == ONE["address"]


def test_not_started_at_boot(four_ways: State) -> None:
    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=all_seen,
        disturb=(WANTS / SERVICE).unlink,
        drift={f"{NET}.running": {"old": "but not started at boot", "new": True}},
        **DECLARED,
    )


def test_absent_four_ways(state: State, four_ways: State) -> None:
    def again() -> None:
        assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True

    again()
    four_ways(
        "dhcp.subnet_absent",
        NET,
        look=all_seen,
        disturb=again,
        drift={NET: {"old": {**DECLARED, "lease_time": 3600}, "new": None}},
    )
    assert_gone()


def assert_gone() -> None:
    assert process.find(NET) is None
    assert not any(place(NET).exists() for place in (paths.config, paths.state, paths.run))
    assert not (WANTS / SERVICE).is_symlink()


def test_in_a_network_namespace(four_ways: State, state: State) -> None:
    """What systemd is told of it is in a file of its own, beside what an administrator may add."""
    sh("ip", "netns", "add", "tdhcp-blue")
    make_bridge(within="tdhcp-blue")
    file = UNITS / f"{SERVICE}.d" / "namespace.conf"
    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=all_seen,
        disturb=file.unlink,
        drift={f"{NET}.running": {"old": "but in another network namespace after a restart", "new": True}},
        **DECLARED,
        namespace="tdhcp-blue",
    )
    assert "NetworkNamespacePath=/run/netns/tdhcp-blue" in file.read_text()
    assert process.namespace(serving()) == netns.identity("tdhcp-blue")
    assert state("dhcp.subnet_managed", NET, **DECLARED, namespace=None)["result"] is True
    assert process.namespace(serving()) == netns.identity(None)
    assert not file.parent.exists()
    sh("ip", "netns", "delete", "tdhcp-blue")


def reloaded() -> None:
    systemctl("daemon-reload")


def stopped_and_reloaded() -> None:
    systemctl("stop", SERVICE)
    systemctl("daemon-reload")


@pytest.mark.parametrize("then", [lambda: None, reloaded, stopped_and_reloaded])
def test_absent_after_the_template_was_removed_by_hand(state: State, then: Callable[[], None]) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED)["result"] is True
    UNIT.unlink()
    then()
    gone = state("dhcp.subnet_absent", NET)
    assert gone["result"] is True, gone
    assert_gone()


def test_managed_after_the_template_was_removed_by_hand(four_ways: State) -> None:
    four_ways(
        "dhcp.subnet_managed",
        NET,
        look=all_seen,
        disturb=UNIT.unlink,
        drift={f"{NET}.running": {"old": "from an older unit", "new": True}},
        **DECLARED,
    )


def test_a_newer_template_reaches_every_subnet(state: State) -> None:
    """The file is one for all; what each of them runs from is its own."""
    make_bridge(OTHER_BRIDGE, "10.72.0.1/24")
    both = {NET: DECLARED, OTHER: OTHERS}
    for name, subnet in both.items():
        assert state("dhcp.subnet_managed", name, **subnet)["result"] is True
    older(*both)
    drift = {name: {f"{name}.running": {"old": "from an older unit", "new": True}} for name in both}
    for name, subnet in both.items():
        assert state("dhcp.subnet_managed", name, test=True, **subnet)["changes"] == drift[name]
    for name, subnet in both.items():
        before = process.find(name)
        run = state("dhcp.subnet_managed", name, **subnet)
        assert (run["result"], run["changes"]) == (True, drift[name]), run
        assert process.find(name) != before
    for name, subnet in both.items():
        assert state("dhcp.subnet_managed", name, **subnet)["changes"] == {}


def test_killed_while_it_brings_a_newer_template(state: State) -> None:
    step = 1
    while True:
        assert managed()["result"] is True
        new = older(NET)
        if not killed_at(step, managed):
            break
        answer = managed()
        assert (answer["result"], wire.look(NET).running) == (True, True), (step, answer)
        assert UNIT.read_text() == new
        assert managed()["changes"] == {}, step
        step += 1
    assert step > 5, "the hook saw hardly a write"


def test_a_restart_that_is_refused_puts_back_what_was(state: State, ask: Ask) -> None:
    assert state("dhcp.subnet_managed", NET, **DECLARED, reservations=[ONE])["result"] is True
    texts = seen()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("10.71.0.1", 53))
        failed = state("dhcp.subnet_managed", NET, **DECLARED, dns=True)
    assert_failed(failed, "systemctl restart fails: failed to create listening socket for 10.71.0.1")
    assert seen()[0] == texts
    assert wire.look(NET).running is True
    assert ask(ONE["mac"])["ip"] == ONE["address"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd to judge the template")
def test_systemd_takes_the_template(tmp_path: Path) -> None:
    (tmp_path / UNIT.name).write_text(Systemd(wire.run, wire.dnsmasq()).template)
    inside = tmp_path / f"{SERVICE}.d" / "namespace.conf"
    inside.parent.mkdir()
    inside.write_text(DROP_IN.format(path="/run/netns/blue"))
    judged = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / SERVICE],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (judged.returncode, judged.stderr) == (0, "")

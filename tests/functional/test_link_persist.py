"""Links that come back after a reboot by the distribution's own files, read by its own programs (S0.5, S2.2).

A reboot is, for a device, that it is made anew; what reads the files is real.
"""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from corral.link import persist
from corral.link.keeper import HEAD
from tests.support.expect import assert_failed
from tests.support.link_keepers import (
    DECLARED,
    FILE,
    LINK,
    Networkd,
    State,
    booted_by_ifupdown,
    made_anew,
    path_of,
    run,
    seen,
    texts,
)

pytest_plugins = ["tests.support.link_hosts"]


def edit(path: str) -> None:
    file = Path(path)
    file.write_text(file.read_text().replace("10.78.8.2", "10.78.8.3"))


@pytest.mark.parametrize("asked", ["auto", "named"])
def test_four_ways(four_ways: State, link: str, manager: str, asked: str) -> None:
    path = path_of(manager)
    made = four_ways(
        "link.managed",
        link,
        look=seen,
        disturb=lambda: Path(path).unlink(),
        drift={f"{link}.persist.{path}": {"old": None, "new": _text(path)}},
        **DECLARED,
        persist="auto" if asked == "auto" else manager,
    )
    assert list(made)[-1].startswith(f"{link}.persist.")
    assert Path(path).read_text().startswith(HEAD)
    assert Path(path).stat().st_mode & 0o777 == (0o600 if manager == "networkmanager" else 0o644)


class _text:
    """Equal to the text that a file has when it is asked."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith(HEAD) and "10.78.8.2" in other

    __hash__ = object.__hash__


def test_a_file_that_was_edited(state: State, link: str, manager: str) -> None:
    state("link.managed", link, **DECLARED, persist=manager)
    right = texts()
    path = path_of(manager)
    edit(path)
    preview = state("link.managed", link, test=True, **DECLARED, persist=manager)
    (change,) = preview["changes"].values()
    assert "10.78.8.3" in change["old"] and "10.78.8.3" not in change["new"]
    assert state("link.managed", link, **DECLARED, persist=manager)["result"] is True
    assert texts() == right


def test_null_takes_our_files_away(state: State, link: str, manager: str) -> None:
    before = texts()
    state("link.managed", link, **DECLARED, persist=manager)
    assert state("link.managed", link, **DECLARED)["changes"] == {}
    answer = state("link.managed", link, **DECLARED, persist=None)
    assert answer["result"] is True and answer["changes"], answer
    assert all(change["new"] is None for change in answer["changes"].values())
    assert texts() == before


def as_declared(state: State, **declared: Any) -> None:
    again = state("link.managed", LINK, test=True, **declared)
    assert (again["result"], again["changes"]) == (True, {}), again


def test_comes_back_by_networkd(state: State, networkd: Networkd) -> None:
    networkd.start()
    assert state("link.managed", LINK, **DECLARED, persist="auto")["result"] is True
    assert FILE.exists()
    networkd.reboot()
    as_declared(state, **DECLARED, persist="auto")
    assert_what_goes(state)


def assert_what_goes(state: State) -> None:
    """What the distribution has brought up bears no mark, and is ours all the same."""
    less = {**DECLARED, "addresses": DECLARED["addresses"][:1], "routes": []}
    answer = state("link.managed", LINK, **less, persist="auto")
    assert answer["result"] is True, answer
    gone = {path for path, change in answer["changes"].items() if change["new"] is None}
    assert gone == {
        f"{LINK}.{what}"
        for what in (
            "addresses.10.78.8.2/24",
            "addresses.fd78::2/64",
            "routes.10.79.0.0/16 metric 50",
            "routes.10.80.0.0/16",
            "routes.fd79::/64",
        )
    }


def test_beside_a_file_of_somebody_else(state: State, networkd: Networkd) -> None:
    """networkd takes one file for a device: a second one would put the first out of force."""
    theirs = Path("/etc/systemd/network/10-theirs.network")
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text(f"[Match]\nName={LINK}\n[Network]\nAddress=10.70.0.9/24\nConfigureWithoutCarrier=yes\n")
    networkd.start()
    assert state("link.managed", LINK, **DECLARED, persist="auto")["result"] is True
    drop_in = theirs.with_name("10-theirs.network.d") / f"corral-{LINK}.conf"
    assert drop_in.exists() and not FILE.exists()
    networkd.reboot()
    as_declared(state, **DECLARED, persist="auto")
    assert "10.70.0.9" in seen()[-1]
    assert state("link.managed", LINK, persist=None)["result"] is True
    assert not drop_in.parent.exists() and theirs.exists()


AT = f"links.{LINK}.persist"


def test_nothing_that_could_keep_it(state: State, link: str) -> None:
    known = "networkd, ifupdown, NetworkManager, network-scripts"
    nobody = f"{AT}: nothing on this host brings links up ({known})."
    before = seen()
    assert_failed(state("link.managed", link, mtu=1400, persist="auto"), nobody)
    assert_failed(state("link.managed", link, persist="auto"), nobody)
    assert_failed(state("link.managed", link, persist="ifupdown"), f"{AT}: ifupdown is not on this host.")
    assert_failed(state("link.managed", link, persist="netplan"), f"{AT}: 'netplan' is not valid")
    assert_failed(
        state("link.managed", "vt*", persist="auto"),
        "links.vt*.persist: in 'vt*' is what has a meaning in the distribution's files",
    )
    assert_failed(
        state("link.managed", link, persist="auto", namespace="blue"),
        f"{AT}: the distribution's files know of no network namespace",
    )
    assert seen() == before


IN_THE_WAY = {
    "ifupdown": (
        persist.MAIN,
        f"source /etc/network/interfaces.d/*\niface {LINK} inet dhcp\n",
        f"{AT}: /etc/network/interfaces has a stanza of {LINK} already.",
    ),
    "networkmanager": (
        Path("/etc/NetworkManager/system-connections/Wired.nmconnection"),
        f"[connection]\ninterface-name={LINK}\n",
        f"{AT}: /etc/NetworkManager/system-connections/Wired.nmconnection is a profile of {LINK} already.",
    ),
    "ifcfg": (
        Path(f"/etc/sysconfig/network-scripts/ifcfg-{LINK}"),
        f"DEVICE={LINK}\n",
        f"{AT}: /etc/sysconfig/network-scripts/ifcfg-{LINK} is there already.",
    ),
}


@pytest.mark.parametrize("manager", IN_THE_WAY, indirect=True)
def test_what_somebody_else_wrote_of_the_device(state: State, link: str, manager: str) -> None:
    file, text, sentence = IN_THE_WAY[manager]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    before = seen()
    assert_failed(state("link.managed", link, mtu=1400, persist=manager), sentence)
    assert seen() == before


@pytest.mark.parametrize("manager", ["networkmanager"], indirect=True)
def test_what_networkmanager_does_not_keep(state: State, link: str, manager: str) -> None:
    run("ip", "link", "set", link, "up")
    assert_failed(
        state("link.managed", link, routes=[{"to": "10.1.0.0/16"}], persist=manager),
        f"{AT}: NetworkManager keeps no routes of IPv4 without an address of it.",
    )


@pytest.mark.parametrize("manager", ["ifupdown"], indirect=True)
def test_interfaces_that_do_not_read_the_folder(state: State, link: str, manager: str) -> None:
    persist.MAIN.write_text("auto lo\niface lo inet loopback\n")
    sentence = f"{AT}: /etc/network/interfaces does not read /etc/network/interfaces.d"
    assert_failed(state("link.managed", link, mtu=1400, persist=manager), sentence)


@pytest.mark.parametrize("udev", [True, False])
def test_comes_back_by_ifupdown(state: State, link: str, udev: bool, request: pytest.FixtureRequest) -> None:
    if udev:
        persist.UDEV.parent.mkdir()
        persist.UDEV.touch()
        request.addfinalizer(lambda: shutil.rmtree(persist.UDEV.parent))
    persist.MAIN.write_text("source /etc/network/interfaces.d/*\n")
    assert state("link.managed", link, **DECLARED, persist="auto")["result"] is True
    made_anew()
    booted_by_ifupdown(link)
    as_declared(state, **DECLARED, persist="auto")
    assert_what_goes(state)


def test_networkmanager_reads_the_profile(state: State, link: str) -> None:
    """nmcli reads a profile, and writes it with all that it has understood."""
    persist.NM_RUN.mkdir()
    try:
        assert state("link.managed", link, **DECLARED, persist="auto")["result"] is True
    finally:
        persist.NM_RUN.rmdir()
    ours = Path(path_of("networkmanager")).read_text()
    words = ["nmcli", "--offline", "connection", "modify", "connection.zone", "herd"]
    done = subprocess.run(words, input=ours, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    said, understood = configparser.ConfigParser(), configparser.ConfigParser()
    said.read_string(ours)
    understood.read_string(done.stdout)
    for section in said.sections():
        for key, value in said[section].items():
            assert understood[section][key].removesuffix(",") == value, (section, key)

"""Links that come back after a reboot by the distribution's own files, read by its own programs (S0.5, S2.2).

A reboot is, for a device, that it is made anew; what reads the files is real.
"""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.link import persist
from corral.link.keeper import HEAD
from tests.support.expect import assert_failed

LINK, PEER = "vt-keep0", "vt-keep1"
NETWORKD = Path("/lib/systemd/systemd-networkd")
FILE = Path(f"/etc/systemd/network/00-corral-{LINK}.network")
DECLARED: dict[str, Any] = {
    "addresses": ["10.78.0.2/24", "10.78.8.2/24", "fd78::2/64"],
    "mtu": 1400,
    "up": True,
    "gateway": "10.78.0.1",
    "routes": [
        {"to": "10.79.0.0/16", "via": "10.78.8.1", "metric": 50},
        {"to": "10.80.0.0/16"},
        {"to": "fd79::/64", "via": "fd78::1"},
    ],
}
State = Callable[..., dict[str, Any]]


def run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def make() -> None:
    run("ip", "link", "add", LINK, "type", "veth", "peer", "name", PEER)
    run("ip", "link", "set", PEER, "up")


def made_anew() -> None:
    run("ip", "link", "delete", LINK)
    make()


def texts() -> dict[str, str]:
    """Return every file that a state of this product could move."""
    found = {}
    for folder in ("/etc/systemd/network", "/etc/network", "/etc/NetworkManager", "/etc/sysconfig"):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                found[str(path)] = f"{path.stat().st_mode:o} {path.read_text()}"
    return found


def seen() -> Any:
    (link,) = json.loads(run("ip", "-json", "address", "show", "dev", LINK))
    return texts(), link["mtu"], link["flags"], [one["local"] for one in link["addr_info"]]


@pytest.fixture
def link() -> Iterator[str]:
    make()
    yield LINK
    run("ip", "link", "delete", LINK)
    for path in list(texts()):
        Path(path).unlink()


class Networkd:
    """The real systemd-networkd; ``start`` returns when it has set the device up, if it has a file for it.

    It takes every device for one that udev has seen where ``/sys`` is read-only.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for folder in ("links", "leases", "lldp"):
            (persist.NETIF / folder).mkdir(parents=True, exist_ok=True)
        for path in (persist.NETIF, *persist.NETIF.iterdir()):
            shutil.chown(path, "systemd-network", "systemd-network")
        script = f"mount -o remount,ro,bind /sys && exec {NETWORKD}"
        with self.log.open("a") as log:
            self.daemon = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=log, stderr=log)
        configured = any("/systemd/network/" in path for path in texts())
        which = f"{LINK}:degraded" if configured else "lo:carrier"
        run(f"{NETWORKD}-wait-online", f"--interface={which}", "--timeout=30")

    def stop(self) -> None:
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(30)
            self.daemon = None
            shutil.rmtree(persist.NETIF)

    def reboot(self) -> None:
        self.stop()
        made_anew()
        self.start()


@pytest.fixture
def networkd(link: str, tmp_path: Path) -> Iterator[Networkd]:
    one = Networkd(tmp_path / "networkd")
    yield one
    one.stop()


def path_of(manager: str) -> str:
    return {
        "networkd": str(FILE),
        "ifupdown": f"/etc/network/interfaces.d/corral-{LINK}",
        "networkmanager": f"/etc/NetworkManager/system-connections/corral-{LINK}.nmconnection",
        "ifcfg": f"/etc/sysconfig/network-scripts/ifcfg-{LINK}",
    }[manager]


@pytest.fixture(params=["networkd", "ifupdown", "networkmanager", "ifcfg"])
def manager(request: pytest.FixtureRequest, link: str) -> Iterator[str]:
    """A host that has one of them, as far as a look at its files tells."""
    signs = {
        "networkd": [persist.NETIF / "state"],
        "ifupdown": [persist.MAIN, Path("/usr/local/sbin/ifup")],
        "networkmanager": [persist.NM_RUN / "x"],
        "ifcfg": [Path("/etc/sysconfig/network-scripts/ifup-eth")],
    }[request.param]
    for sign in signs:
        sign.parent.mkdir(parents=True, exist_ok=True)
        sign.write_text("source /etc/network/interfaces.d/*\n")
        sign.chmod(0o755)
    yield request.param
    for sign in signs:
        sign.unlink(missing_ok=True)
    if request.param == "networkmanager":
        persist.NM_RUN.rmdir()


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


@pytest.mark.parametrize("manager", ["ifupdown"], indirect=True)
def test_interfaces_that_do_not_read_the_folder(state: State, link: str, manager: str) -> None:
    persist.MAIN.write_text("auto lo\niface lo inet loopback\n")
    sentence = f"{AT}: /etc/network/interfaces does not read /etc/network/interfaces.d"
    assert_failed(state("link.managed", link, mtu=1400, persist=manager), sentence)


PROGRAMS = {"ifup": "ifupdown", "nmcli": "network-manager"}


def needs(program: str) -> Any:
    found = shutil.which(program, path=persist.PATH)
    return pytest.mark.skipif(not found, reason=f"there is no {program} (package {PROGRAMS[program]})")


@needs("ifup")
def test_comes_back_by_ifupdown(state: State, link: str) -> None:
    persist.MAIN.write_text("source /etc/network/interfaces.d/*\n")
    assert state("link.managed", link, **DECLARED, persist="auto")["result"] is True
    made_anew()
    Path("/run/network").mkdir(exist_ok=True)
    run("ifup", "--allow=hotplug", link)  # as udev does when the device appears
    as_declared(state, **DECLARED, persist="auto")
    assert_what_goes(state)


@needs("nmcli")
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

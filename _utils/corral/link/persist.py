"""The distribution's own network files about a device: what reads them on this host, ours among them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from corral.change import Change
from corral.errors import Unavailable
from corral.link.keeper import HEAD, Files, Keeper
from corral.link.model import Device, Link
from corral.link.render import INTERFACES, NETWORKD, PROFILES, SCRIPTS, places

PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin"
NETIF = Path("/run/systemd/netif")  # networkd writes it while it runs
NM_RUN = Path("/run/NetworkManager")
SECRET = re.compile(r"psk|passphrase|password|secret|-key\b|\bwep", re.IGNORECASE)
MAIN = Path("/etc/network/interfaces")
IFUPDOWN2 = Path("/usr/share/ifupdown2")
UDEV = Path("/run/udev/control")  # a container has none
BY_SWITCH = ("openvswitch", "tun")  # kinds of its internal ports: datapath system, datapath netdev


def look(link: Link, device: Device, others: Mapping[str, Device]) -> Files:
    """Read what is kept of a device, and find out who is to keep it if that is declared.

    others
        The devices that it takes over.
    """
    texts = dict(_ours(link.name))
    if link.persist is None:
        return Files(None, texts)
    manager = _manager(link, device) if link.persist == "auto" else link.persist
    if not manager:
        return Files(None, texts, (f"{link.at}.persist: nothing on this host brings links up ({_KNOWN}).",))
    if not _PRESENT[manager]():
        return Files(None, texts, (f"{link.at}.persist: {manager} is not on this host.",))
    keeper = _keeper(manager, link.name, device, link.name in link.takes_over)
    foreign = {str(path): _read(path) for name in link.takes_over for path in _theirs(manager, name)}
    kept = {name: Files(texts=dict(_ours(name))) for name in others}
    moving = [name for name in kept if {*kept[name].declared["addresses"]} & {*link.addresses}]
    foreign |= {path: text for name in moving for path, text in kept[name].texts.items()}
    return Files(
        keeper=keeper,
        texts=texts,
        troubles=tuple(f"{link.at}.persist: {one}" for one in _troubles(link, keeper, foreign)),
        foreign={path: text for path, text in foreign.items() if not SECRET.search(text)},
        others={
            name: _keeper(manager, name, other, True)
            for name, other in others.items()
            if name in moving or not kept[name].texts
        },
    )


def _keeper(manager: str, name: str, device: Device, taken: bool) -> Keeper:
    """Return who keeps a device: instead of what somebody else has written (``taken``), or beside it."""
    return Keeper(
        manager=manager,
        beside=_beside(name, device) if manager == "networkd" and not taken else "",
        hotplug=UDEV.exists() and not IFUPDOWN2.exists(),
        switch=device.kind in BY_SWITCH,
        above=taken,
    )


def put(changes: Iterable[Change]) -> None:
    """Write and remove files as planned, each whole or not at all."""
    for change in changes:
        path = Path(change.path[2])
        try:
            _remove(path) if change.removes else _write(path, change.new)
        except OSError as failed:
            raise Unavailable(f"links.{change.path[0]}.persist: {path}: {failed.strerror}.") from failed


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("w", encoding="utf-8") as file:
        # NetworkManager reads no profile that others can read.
        os.fchmod(file.fileno(), 0o600 if str(path.parent) == PROFILES else 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.name.endswith(".network.d"):
        with contextlib.suppress(OSError):  # somebody else has a drop-in there
            path.parent.rmdir()


def _read(path: Path) -> str:
    """Return a file's text, empty if it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as failed:
        raise Unavailable(f"{path} cannot be read: {failed.strerror}.") from failed


def _ours(name: str) -> Iterator[tuple[str, str]]:
    drop_ins = sorted(Path(NETWORKD).glob(f"*.network.d/corral-{name}.conf"))
    for path in (*map(Path, places(name)), *drop_ins):
        text = _read(path)
        if text.startswith(HEAD):
            yield str(path), text


def _manager(link: Link, device: Device) -> str:
    """Return who keeps the device already; else who keeps others on this host, the first that can keep it."""
    there = [manager for manager in _PRESENT if _PRESENT[manager]()]
    if "networkd" in there and device.index and _netif(device, "ADMIN_STATE") not in ("", "unmanaged"):
        return "networkd"
    if "ifupdown" in there and any(_stanzas(link.name)):
        return "ifupdown"
    if device.kind in BY_SWITCH:
        there = [manager for manager in there if manager != "networkmanager"]
    return there[0] if there else ""


def _netif(device: Device, key: str) -> str:
    """Return what networkd says of a device, as long as it runs."""
    found = re.search(rf"^{key}=(.*)$", _read(NETIF / "links" / str(device.index)), re.MULTILINE)
    return found[1] if found else ""


def _beside(name: str, device: Device) -> str:
    """Return the file of somebody else that networkd has taken for the device: it takes one only."""
    taken = _netif(device, "NETWORK_FILE") if device.index else ""
    return "" if taken == places(name)[0] else taken


def _troubles(link: Link, keeper: Keeper, foreign: Mapping[str, str]) -> Iterator[str]:
    taken = link.name in link.takes_over
    for path, text in foreign.items():
        if SECRET.search(text):
            yield f"{path} holds a secret, which the change would show: it is not taken over."
    if keeper.manager == "ifupdown":
        for file in () if taken else _stanzas(link.name):
            yield f"{file} has a stanza of {link.name} already."
        if not re.search(rf"^\s*source(-directory)?\s+{re.escape(INTERFACES)}", _read(MAIN), re.MULTILINE):
            yield f"{MAIN} does not read {INTERFACES} (source {INTERFACES}/*)."
    if keeper.manager == "networkmanager":
        if keeper.switch:
            yield f"NetworkManager keeps no device that Open vSwitch makes, such as {link.name}."
        if any(":" not in way.to for way in link.ways.values()) and all(":" in one for one in link.addresses):
            yield "NetworkManager keeps no routes of IPv4 without an address of it."
        for file in () if taken else _profiles(link.name):
            yield f"{file} is a profile of {link.name} already."
    if keeper.manager == "ifcfg":
        for place in places(link.name)[3:]:
            text = _read(Path(place))
            if text and not text.startswith(HEAD) and not taken:
                yield f"{place} is there already."


def _theirs(manager: str, name: str) -> Iterator[Path]:
    """Yield the files of somebody else that have to be edited where a device is taken over."""
    if manager == "ifupdown":
        yield from _stanzas(name)
    if manager == "ifcfg":
        found = (Path(place) for place in places(name)[3:])
        yield from (path for path in found if _read(path) and not _read(path).startswith(HEAD))


def _stanzas(name: str) -> Iterator[Path]:
    """Yield the files of somebody else with a stanza for a device (interfaces(5))."""
    for file in (MAIN, *sorted(Path(INTERFACES).glob("*"))):
        text = _read(file) if file.is_file() else ""
        if not text.startswith(HEAD) and re.search(rf"^\s*iface\s+{re.escape(name)}\s", text, re.MULTILINE):
            yield file


def _profiles(name: str) -> Iterator[Path]:
    for file in sorted(Path(PROFILES).glob("*.nmconnection")):
        text = _read(file)
        named = re.search(rf"^interface-name={re.escape(name)}$", text, re.MULTILINE)
        if named and not text.startswith(HEAD):
            yield file


# In the order in which they are asked; NetworkManager leaves alone what ifupdown keeps.
_PRESENT = {
    "networkd": (NETIF / "state").exists,
    "ifupdown": lambda: MAIN.exists() and shutil.which("ifup", path=PATH) is not None,
    "networkmanager": NM_RUN.is_dir,
    "ifcfg": (Path(SCRIPTS) / "ifup-eth").exists,
}
_KNOWN = "networkd, ifupdown, NetworkManager, network-scripts"

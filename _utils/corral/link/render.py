"""A link as text for what brings links up at boot: networkd, ifupdown, NetworkManager, network-scripts."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid
from collections.abc import Callable, Iterable

from corral.link.keeper import HEAD, SAYS, Keeper
from corral.link.model import Link
from corral.link.route import EVERYTHING, METRIC, OURS, Route

NETWORKD = "/etc/systemd/network"
INTERFACES = "/etc/network/interfaces.d"
PROFILES = "/etc/NetworkManager/system-connections"
SCRIPTS = "/etc/sysconfig/network-scripts"
UUIDS = uuid.UUID("5c8b1e0e-6f0b-4b0c-9d7d-3a1f0f6c2c11")  # of our profiles of NetworkManager
OUT = "# taken over by Corral: "  # before a line that brought up what ours brings up now
NUMBER = {4: "inet", 6: "inet6"}

Texts = dict[str, str]  # by path


def places(name: str) -> tuple[str, ...]:
    """Return where our files about a device may be, but for drop-ins of networkd."""
    return (
        f"{NETWORKD}/00-corral-{name}.network",
        f"{INTERFACES}/corral-{_plain(name)}",
        f"{PROFILES}/corral-{name}.nmconnection",
        *(f"{SCRIPTS}/{kind}-{name}" for kind in ("ifcfg", "route", "route6")),
    )


def _plain(name: str) -> str:
    """Return a name that ``source-directory`` of interfaces(5) takes."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def drop_in(name: str, beside: str) -> str:
    """Return the drop-in of networkd's file ``beside`` that is about one device."""
    return f"{NETWORKD}/{beside.rpartition('/')[2]}.d/corral-{name}.conf"


def files(link: Link, keeper: Keeper) -> Texts:
    """Return the files that bring a device up as it is declared, by path."""
    return _RENDERERS[keeper.manager](link, keeper)


def without(text: str, names: Iterable[str]) -> str:
    """Return a text of interfaces(5) in which nothing brings these devices up: their lines are comments."""
    lines, inside = [], False
    for line in text.splitlines(keepends=True):
        word, *named = line.split() or [""]
        if word in ("iface", "mapping", "auto", "rename") or word.startswith(("allow-", "source", "no-")):
            inside = word == "iface" and named[:1] != [] and named[0] in names
        if word == "auto" or word.startswith("allow-"):
            staying = [one for one in named if one not in names]
            if staying != named:
                lines.append(f"{OUT}{line}" + (f"{' '.join([word, *staying])}\n" if staying else ""))
                continue
        lines.append(f"{OUT}{line}" if inside and word and not word.startswith("#") else line)
    return "".join(lines)


def _text(link: Link, lines: Iterable[str]) -> str:
    says = {
        "addresses": link.addresses,
        "routes": [{"to": way.to, "via": way.via, "metric": way.metric} for way in link.ways.values()],
    }
    apart = [f"\n{line}" if line.startswith(("[", "iface ")) else line for line in lines]
    return "\n".join([HEAD, SAYS + json.dumps(says, sort_keys=True), *apart, ""])


def _mtu(link: Link) -> int | None:
    return link.mtu if "mtu" in link.model_fields_set else None


def _family(link: Link, version: int) -> tuple[list[str], list[Route]]:
    """Return the addresses and the routes of one version of IP."""
    addresses = [one for one in link.addresses if ipaddress.ip_interface(one).version == version]
    return addresses, [way for way in link.ways.values() if ipaddress.ip_network(way.to).version == version]


def _networkd(link: Link, keeper: Keeper) -> Texts:
    """Return a file of systemd.network(5); one that adds to another must not say what is matched."""
    lines = [] if keeper.beside else ["[Match]", f"Name={link.name}"]
    of_link = [f"MTUBytes={_mtu(link)}"] if _mtu(link) else []
    of_link += [] if link.up else ["ActivationPolicy=down"]
    of_network = [f"Address={one}" for one in link.addresses]
    # As by netlink: whether there is a cable in it or not.
    of_network += [] if keeper.beside else ["ConfigureWithoutCarrier=yes"]
    lines += ["[Link]", *of_link] if of_link else []
    lines += ["[Network]", *of_network] if of_network else []
    for way in link.ways.values():
        lines += ["[Route]", f"Destination={way.to}", f"Metric={way.metric}", f"Protocol={OURS}"]
        lines += [f"Gateway={way.via}"] if way.via else ["Scope=link"]
    path = drop_in(link.name, keeper.beside) if keeper.beside else places(link.name)[0]
    return {path: _text(link, lines)}


def _ifupdown(link: Link, keeper: Keeper) -> Texts:
    """Return a file of interfaces(5): a stanza for each address, and the routes after the last of them."""
    lines = [f"{'allow-hotplug' if keeper.hotplug else 'auto'} {link.name}"] if link.up else []
    mtu = [f"    mtu {_mtu(link)}"] if _mtu(link) else []
    for version in (4, 6):
        addresses, ways = _family(link, version)
        routes = [f"    up {_ip_route(link, way)} proto {OURS}" for way in ways]
        stanzas = [[f"iface {link.name} {NUMBER[version]} static", f"    address {one}"] for one in addresses]
        if not stanzas and (routes or (version == 4 and not link.addresses)):
            stanzas = [[f"iface {link.name} {NUMBER[version]} manual"]]
        if stanzas:
            stanzas[0] += mtu
            stanzas[-1] += routes
            mtu = []  # it is the device's, whatever the stanza
        lines += [line for stanza in stanzas for line in stanza]
    return {places(link.name)[1]: _text(link, lines)}


def _ip_route(link: Link, way: Route) -> str:
    """Return the words of ip-route(8) that make a route, or find it made."""
    version = ipaddress.ip_network(way.to).version
    via = ["via", way.via] if way.via else []
    metric = ["metric", str(way.metric)] if way.metric != METRIC[version] else []
    return " ".join(["ip", f"-{version}", "route", "replace", way.to, *via, "dev", link.name, *metric])


def _networkmanager(link: Link, keeper: Keeper) -> Texts:
    """Return a keyfile profile (nm-settings-keyfile(5)); routes get the metrics that they have by netlink."""
    lines = ["[connection]", f"id=corral-{link.name}", f"uuid={uuid.uuid5(UUIDS, link.name)}"]
    lines += ["type=ethernet", f"interface-name={link.name}", *([] if link.up else ["autoconnect=false"])]
    lines += ["autoconnect-priority=900"] if keeper.above else []
    lines += ["[ethernet]", f"mtu={_mtu(link)}"] if _mtu(link) else []
    # A device without any address would not be kept up where it waits for one in vain.
    for version, idle in ((4, "disabled"), (6, "auto" if _family(link, 4)[0] else "link-local")):
        addresses, ways = _family(link, version)
        lines += [f"[ipv{version}]", f"method={'manual' if addresses else idle}"]
        lines += [f"address{number}={one}" for number, one in enumerate(addresses, 1)]
        lines += [f"route-metric={METRIC[version]}"] if addresses else []
        nowhere = "0.0.0.0" if version == 4 else "::"
        for number, way in enumerate(ways, 1):
            lines.append(f"route{number}={way.to},{way.via or nowhere},{way.metric}")
    return {places(link.name)[2]: _text(link, lines)}


def _ifcfg(link: Link, keeper: Keeper) -> Texts:
    """Return files of RHEL's network-scripts, which NetworkManager's plugin ifcfg-rh reads as well."""
    lines = [f"DEVICE={link.name}", f"ONBOOT={'yes' if link.up else 'no'}", "BOOTPROTO=none"]
    # NetworkManager leaves alone what Open vSwitch makes, unless it is itself who has it made.
    lines += ["NM_CONTROLLED=no"] if keeper.switch else ["TYPE=Ethernet"]
    lines += [f"MTU={_mtu(link)}"] if _mtu(link) else []
    for number, one in enumerate(_family(link, 4)[0]):
        address, _, length = one.partition("/")
        lines += [f"IPADDR{number}={address}", f"PREFIX{number}={length}"]
    of_6 = _family(link, 6)[0]
    lines += ["IPV6INIT=yes", f"IPV6ADDR={of_6[0]}"] if of_6 else []
    lines += [f'IPV6ADDR_SECONDARIES="{" ".join(of_6[1:])}"'] if of_6[1:] else []
    _, _, _, main, *routes = places(link.name)
    found = {main: _text(link, lines)}
    for version, path in zip((4, 6), routes, strict=True):
        ways = _family(link, version)[1]
        if ways:
            words = [_ip_route(link, way).partition(" replace ")[2] for way in ways]
            found[path] = "\n".join([HEAD, *(_default(one) for one in words), ""])
    return found


def _default(words: str) -> str:
    """Return the words of a route, with the default one by its name, which both readers take."""
    to, _, rest = words.partition(" ")
    return f"default {rest}" if to in EVERYTHING.values() else words


_RENDERERS: dict[str, Callable[[Link, Keeper], Texts]] = {
    "networkd": _networkd,
    "ifupdown": _ifupdown,
    "networkmanager": _networkmanager,
    "ifcfg": _ifcfg,
}

"""The devices of this host, by netlink (rtnetlink(7))."""

from __future__ import annotations

import errno
import ipaddress
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from corral.change import Change
from corral.converge import Todo, Wire
from corral.errors import NotInstalled, Refused, Unavailable
from corral.link.model import Device, Held, Link, bare, elsewhere

Result = TypeVar("Result")
Devices = Mapping[str, Device]

SECONDS = 10.0
DUMPS = 3  # of a list that changes while it is read
IFF_UP = 0x1
IFA_F_PERMANENT, IFA_F_NOPREFIXROUTE = 0x80, 0x200


def ask(question: Callable[[Any], Result]) -> Result:
    """Open a netlink socket, ask, and return the answer.

    It is asked in a thread: pyroute2 knows no timeout, and will not work beside the event loop of the minion.

    Raises ``Unavailable`` when the kernel has not answered in time.
    """
    answers: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with _iproute() as netlink:
                answers.append(question(netlink))
        except BaseException as failed:  # handed over to the thread that asks
            failures.append(failed)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if failures and isinstance(failures[0], OSError):
        raise Unavailable(f"netlink: {failures[0].strerror or failures[0]}.") from failures[0]
    if failures:
        raise failures[0]
    if not answers:
        raise Unavailable(f"netlink: no answer of the kernel for {SECONDS:.0f} s.")
    return answers[0]


def _iproute() -> Any:
    try:
        from pyroute2 import IPRoute  # loads slowly: only when a link is looked at
    except ImportError:
        raise NotInstalled(
            "pyroute2 is not installed (package python3-pyroute2, or pyroute2.minimal by pip)."
        ) from None
    return IPRoute()


def look() -> dict[str, Device]:
    """Return all devices of this host with their addresses, by name."""
    return ask(_devices)


def _devices(netlink: Any) -> dict[str, Device]:
    from pyroute2.netlink.exceptions import NetlinkError

    for _ in range(DUMPS):
        try:
            links, addresses = list(netlink.get_links()), list(netlink.get_addr())
            break
        except NetlinkError as failed:  # the list changed while it was read, or no memory
            reason = os.strerror(failed.code)
    else:
        raise Unavailable(f"netlink: the devices of this host cannot be read: {reason}.")
    by_index: dict[int, list[Held]] = {}
    for address in addresses:
        by_index.setdefault(address["index"], []).append(_held(address))
    return {
        link.get_attr("IFLA_IFNAME"): Device(
            mtu=link.get_attr("IFLA_MTU"),
            addresses=tuple(by_index.get(link["index"], ())),
            up=bool(link["flags"] & IFF_UP),
            index=link["index"],
        )
        for link in links
    }


def _held(message: Any) -> Held:
    """Return an address and whether it is one that somebody set by hand and for good.

    The kernel marks what DHCP and router advertisements gave for a time; NetworkManager and networkd
    mark theirs by ``noprefixroute``; newer kernels and daemons say who they are (``IFA_PROTO``).
    """
    address = ipaddress.ip_interface(
        f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
    )
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    lasting = (
        flags & IFA_F_PERMANENT and not flags & IFA_F_NOPREFIXROUTE and not message.get_attr("IFA_PROTO")
    )
    kernels = address.is_loopback or (address.version == 6 and address.is_link_local)
    return Held(str(address), bool(lasting) and not kernels)


class Netlink(Wire[Devices, Link]):
    """The devices of this host, for the loop."""

    def read(self) -> Devices:
        return look()

    def bare(self) -> Devices:
        return {}

    def lacks(self, todo: Todo, current: Devices, desired: Link) -> tuple[str, ...]:
        missing = () if desired.name in current else (f"{desired.at}: there is no such link on this host.",)
        return missing + elsewhere(current, desired)

    def apply(self, todo: Todo, current: Devices, desired: Link) -> None:
        index = current[desired.name].index

        def run(netlink: Any) -> None:
            for change in todo:
                _change(netlink, index, change)
            if any("addresses" in change.path and change.removes for change in todo):
                _put_back(netlink, index, desired)

        ask(run)


def _change(netlink: Any, index: int, change: Change) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        if change.path[1] == "mtu":
            netlink.link("set", index=index, mtu=change.new)
        elif change.path[1] == "up":
            netlink.link("set", index=index, state="up" if change.new else "down")
        elif change.creates:
            netlink.addr("add", index=index, **_spec(change.new))
        else:
            netlink.addr("del", index=index, **_spec(change.old))
    except NetlinkError as refused:
        # Somebody was faster: what was to be done is done.
        if refused.code not in (errno.EEXIST, errno.EADDRNOTAVAIL):
            value = change.old if change.removes else change.new
            reason = os.strerror(refused.code)
            raise Refused(f"links.{change.dotted}: the kernel refuses {value!r}: {reason}.") from refused


def _spec(address: str) -> dict[str, Any]:
    one = ipaddress.ip_interface(address)
    spec: dict[str, Any] = {"address": str(one.ip), "prefixlen": one.network.prefixlen}
    if one.version == 4 and one.network.prefixlen < 31:
        spec["broadcast"] = str(one.network.broadcast_address)
    return spec


def _put_back(netlink: Any, index: int, desired: Link) -> None:
    """Add again what went with another address of its network.

    With the first IPv4 address of a network the kernel removes the later ones, unless
    ``promote_secondaries`` is set (ip-sysctl, ``net.ipv4.conf``).
    """
    held = {bare(_held(message).address) for message in netlink.get_addr(index=index)}
    for address in desired.addresses:
        if bare(address) not in held:
            _change(netlink, index, Change((desired.name, "addresses", address), None, address))

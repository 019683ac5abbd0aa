"""What the kernel has of network devices, by netlink (rtnetlink(7))."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Callable
from socket import AF_INET, AF_INET6
from typing import Any, TypeVar

from corral import netns
from corral.errors import NotInstalled, Unavailable
from corral.link.model import Device, Held, Space
from corral.link.route import EVERYTHING, OURS, HeldRoute

Result = TypeVar("Result")

SECONDS = 10.0
DUMPS = 3  # of a list that changes while it is read
IFF_UP = 0x1
RTN_UNICAST, RTM_F_CLONED, RT_TABLE_MAIN = 1, 0x200, 254
IFA_F_PERMANENT = 0x80


def ask(question: Callable[[Any], Result], space: Space = None) -> Result:
    """Open a netlink socket, ask, and return the answer.

    It is asked in a thread: pyroute2 knows no timeout, and will not work beside the event loop of the minion.

    space
        The network namespace to ask in, by its name; the host's own by default.

    Raises ``Unavailable`` when the kernel has not answered in time.
    """
    answers: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            netns.enter(space)  # the thread only, which ends here
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


def look(space: Space = None) -> dict[str, Device]:
    """Return all devices of a network namespace with their addresses, by name."""
    return ask(_devices, space)


def _devices(netlink: Any) -> dict[str, Device]:
    from pyroute2.netlink.exceptions import NetlinkError

    for _ in range(DUMPS):
        try:
            links, addresses = list(netlink.get_links()), list(netlink.get_addr())
            routes = [*netlink.get_routes(family=AF_INET), *netlink.get_routes(family=AF_INET6)]
            break
        except NetlinkError as failed:  # the list changed while it was read, or no memory
            reason = os.strerror(failed.code)
    else:
        raise Unavailable(f"netlink: the devices of this host cannot be read: {reason}.")
    by_index: dict[int, list[Held]] = {}
    for address in addresses:
        by_index.setdefault(address["index"], []).append(held(address))
    ways: dict[int, list[HeldRoute]] = {}
    for route in filter(_leads_out, routes):
        ways.setdefault(route.get_attr("RTA_OIF"), []).append(_way(route))
    return {
        link.get_attr("IFLA_IFNAME"): Device(
            mtu=link.get_attr("IFLA_MTU"),
            addresses=tuple(by_index.get(link["index"], ())),
            up=bool(link["flags"] & IFF_UP),
            routes=tuple(ways.get(link["index"], ())),
            index=link["index"],
            kind=_kind(link),
            orphan=_kind(link) == "tun" and link.get_attr("IFLA_CARRIER") == 0,
        )
        for link in links
    }


def _leads_out(route: Any) -> bool:
    """Whether it is one of the routes that ``ip route`` shows, through one device by one router at most."""
    plain = route["type"] == RTN_UNICAST and not route["flags"] & RTM_F_CLONED
    table = route.get_attr("RTA_TABLE") or route["table"]
    return plain and table == RT_TABLE_MAIN and route.get_attr("RTA_OIF") and not route.get_attr("RTA_VIA")


def _way(route: Any) -> HeldRoute:
    to = route.get_attr("RTA_DST")
    version = 4 if route["family"] == AF_INET else 6
    return HeldRoute(
        to=f"{to}/{route['dst_len']}" if to else EVERYTHING[version],
        via=route.get_attr("RTA_GATEWAY"),
        metric=route.get_attr("RTA_PRIORITY") or 0,
        maker=route["proto"],
    )


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return (info.get_attr("IFLA_INFO_KIND") or "") if info else ""


def held(message: Any) -> Held:
    address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    one = ipaddress.ip_interface(f"{address}/{message['prefixlen']}")
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    return Held(str(one), message.get_attr("IFA_PROTO") == OURS, bool(flags & IFA_F_PERMANENT))

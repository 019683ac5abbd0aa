"""What one look at a host shows, as it came; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from corral.topology.domains import Domain

Row = dict[str, Any]

# Interface.type of what carries frames to another host (ovs-vswitchd.conf.db(5)).
TUNNELS = {"vxlan", "gre", "geneve", "stt", "erspan", "ip6erspan", "ip6gre", "lisp", "gtpu", "srv6"}


@dataclass(frozen=True)
class Namespace:
    """What a network namespace holds.

    name
        ``""`` for that of the minion; otherwise its name, or a process that is in it (``pid 4711``).
    devices, neighbours, forwarding
        As ``corral.topology.netlink`` returns them.
    ids
        The names of other namespaces by the numbers under which this one knows them.
    """

    name: str
    devices: list[Row] = field(default_factory=list)
    neighbours: list[Row] = field(default_factory=list)
    forwarding: list[Row] = field(default_factory=list)
    ids: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What was seen of one host.

    rows
        The rows of Open vSwitch's tables (``corral.topology.wire.COLUMNS``).
    bonds
        What ``corral.ovs.status`` says of each bond.
    domains
        The guests of libvirt, running or not.
    addresses
        The IP addresses of leases and neighbours by MAC.
    routers
        The networks that dnsmasq serves here, each with the router that it tells its clients.
    notes
        What could not be looked at, in sentences.
    """

    rows: dict[str, list[Row]]
    namespaces: list[Namespace]
    bonds: dict[str, Row] = field(default_factory=dict)
    domains: list[Domain] = field(default_factory=list)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    routers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

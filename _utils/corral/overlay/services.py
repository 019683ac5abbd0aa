"""What a host serves of the networks, gateways and DHCP, in the words of ``link`` and ``dhcp``; pure."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from corral.overlay import names
from corral.overlay.model import Overlay


def services(overlay: Overlay, mtu: int, spaces: Container[str]) -> dict[str, Any]:
    """Return what this host is to serve, and what it served once.

    mtu
        That of what hangs on the networks.
    spaces
        The network namespaces that this host has.

    ``links`` are arguments of ``link.managed`` by device, ``dhcp`` those of ``dhcp.subnet_managed`` by
    network; ``ended`` has the namespaces, by network, in which this host serves nothing any more.
    """
    mine = {name: one for name, one in overlay.here.items() if one.served_by == overlay.host}
    found: dict[str, Any] = {"links": {}, "dhcp": {}, "ended": {}}
    for name, one in mine.items():
        space = {"namespace": overlay.namespace(name)}
        found["links"][names.gateway(name)] = {**space, "addresses": [overlay.gateway(name)], "up": True}
        if one.dhcp is not None:
            found["dhcp"][name] = _subnet(overlay, name, mtu) | space
    for name in overlay.networks.keys() - mine.keys():
        space_of = overlay.namespace(name)
        if space_of is not None and space_of in spaces:
            found["ended"][name] = space_of
    return found


def _subnet(overlay: Overlay, name: str, mtu: int) -> dict[str, Any]:
    """Return a subnet as declared, with what follows from its network."""
    one = overlay.there[name]
    router = str(overlay.gateway(name)).partition("/")[0]
    ours = {"interface": names.gateway(name), "network": one.subnet, "router": router, "mtu": mtu}
    return {**ours, **(one.dhcp or {})}

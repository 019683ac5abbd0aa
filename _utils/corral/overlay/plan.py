"""What it takes to bring a host to its part of the declared overlays; pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from corral.converge import Todo
from corral.errors import Refused
from corral.overlay import names
from corral.overlay.derive import MANAGED, switch
from corral.overlay.model import Overlay
from corral.overlay.mtu import network_mtu
from corral.ovs.host import Host
from corral.ovs.model import Switch
from corral.ovs.plan import plan as switch_plan

ETHERNET_MTU = 1500  # of a device that is not there yet (IEEE 802.3)


@dataclass(frozen=True)
class Underlay:
    """The network device of this host that has its address in the underlay; its name is empty if none has."""

    device: str = ""
    mtu: int = ETHERNET_MTU


@dataclass(frozen=True)
class Current:
    """One look at the switch, and at the underlay.

    wanted
        What the overlays want of this switch, when that is known already.
    """

    host: Host
    underlay: Underlay = Underlay()
    wanted: Switch | None = field(default=None, compare=False, repr=False)


def width(overlay: Overlay, underlay: Underlay) -> int:
    """Return the MTU of what hangs on the networks."""
    return network_mtu(overlay.underlay_mtu or underlay.mtu, overlay.encapsulation, overlay.version)


def derived(overlay: Overlay, host: Host, underlay: Underlay) -> Switch:
    """Return this host's switch as the overlays want it, for the switch as it is."""
    return Switch.declare(switch(overlay, host, width(overlay, underlay)))


def plan(current: Current, desired: Overlay) -> Todo:
    """Return the changes from a host's switch to its part of the overlays.

    Raises ``Refused`` for a bridge or a port of somebody else that would have to be taken over.
    """
    _foreign(current.host, desired)
    wanted = current.wanted or derived(desired, current.host, current.underlay)
    return switch_plan(current.host, wanted, exact=True, maker=MANAGED)


def _foreign(host: Host, overlay: Overlay) -> None:
    """Refuse to take a name from its owner; an integration bridge may be there, and its ports may join."""
    tunnel = overlay.bridges.tunnel
    if tunnel in host.bridges and host.owners.get(tunnel) != MANAGED:
        raise Refused(
            f"bridges.tunnel: there is a bridge {tunnel} that {MANAGED} did not make; name another one,"
            f" since this one gets flows that drop whatever is not declared"
        )
    ours = {
        names.TO_TUNNEL: "bridges",
        names.TO_INTEGRATION: "bridges",
        **{names.tunnel(overlay.encapsulation, peer): f"peers.{peer}" for peer in overlay.neighbours},
        **{overlay.bridge(name): f"networks.{name}.bridge" for name in overlay.here},
        **{names.gateway(name): f"networks.{name}" for name in overlay.here},
    }
    for name in sorted(ours.keys() & host.bridges.keys()):
        raise Refused(f"{ours[name]}: there is already a bridge {name} on this host")
    for bridge, spec in host.bridges.items():
        for port in (*spec["ports"], *spec["bonds"]):
            if port in ours and host.owners.get(port) != MANAGED:
                raise Refused(f"{ours[port]}: there is a port {port} on {bridge} that {MANAGED} did not make")

"""The flows of the tunnel bridge, in the words of ovs-fields(7) and ovs-actions(7); pure.

========  ==============================================================================================
Table 0   where a frame comes from: the integration bridge, or one of the tunnels
Table 10  from a tunnel: the key becomes the local VLAN, the sender's MAC is learned, and the frame goes to
          the integration bridge and nowhere else: what came out of a tunnel never goes into one
Table 20  to the tunnels: the flows that were learned, one per far MAC
Table 21  to the tunnels: what nobody was learned for goes to every peer that has the network
Table 22  all the tunnels, for the networks that every peer has
========  ==============================================================================================

What no flow is for is dropped. Far MACs are learned by ``learn()``: Open vSwitch's own learning
(``NORMAL``) knows of ports and VLANs, not of keys, and would need a tunnel port for each peer and network.
What was learned by a network's flow goes with that flow (``delete_learned``), or frames of a VLAN's next
network would leave with the key of the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from corral.overlay.names import TO_INTEGRATION

FROM_TUNNEL, LEARNED, FLOOD, ALL = 10, 20, 21, 22
# Above the one flow, of priority 0, that Open vSwitch itself puts into a bridge that fails standalone.
REST, SOME = 1, 2
AGE = 300  # seconds for which a MAC is remembered, as by NORMAL (ovs-vswitchd.conf.db(5), mac-aging-time)
MOST = (
    8192  # MACs of a network, as NORMAL learns of a bridge (mac-table-size); what is beyond them is flooded
)
LEARNED_COOKIE = (
    0x6C65 << 48
)  # and the key: not Corral's cookie, since Corral neither writes nor removes them
PRESENT = 0x1000  # the bit of vlan_vid that says that there is a VLAN header (ovs-fields(7))


@dataclass(frozen=True)
class Way:
    """A network on this host: its key in the tunnels, its VLAN here, and the tunnels to who else has it."""

    key: int
    vlan: int
    tunnels: Sequence[str]


def flows(ways: Iterable[Way], tunnels: Sequence[str]) -> list[str]:
    """Return the flows of the tunnel bridge, for these networks over these tunnel ports."""
    ways = list(ways)
    found = [
        _flow(0, SOME, f"in_port={TO_INTEGRATION}", f"resubmit(,{LEARNED})"),
        *(_flow(0, SOME, f"in_port={port}", f"resubmit(,{FROM_TUNNEL})") for port in tunnels),
        *(one for way in ways for one in _of(way, tunnels)),
        _flow(LEARNED, REST, "", f"resubmit(,{FLOOD})"),
        *(_flow(table, REST, "", "drop") for table in (0, FROM_TUNNEL, FLOOD)),
    ]
    if any(_everywhere(way, tunnels) for way in ways):
        found.append(_flow(ALL, REST, "", _output(tunnels)))
    return found


def _of(way: Way, tunnels: Sequence[str]) -> Iterator[str]:
    # RFC 7348, section 6.1: frames that have a VLAN tag inside of a tunnel are not decapsulated.
    inside = f"tun_id={way.key:#x},vlan_tci=0x0000/{PRESENT:#x},dl_src=00:00:00:00:00:00/01:00:00:00:00:00"
    tagged = f"push_vlan:0x8100,set_field:{PRESENT + way.vlan}->vlan_vid"
    yield _flow(FROM_TUNNEL, SOME, inside, f"{tagged},{_learn(way.key)},output:{TO_INTEGRATION}")
    if way.tunnels:
        to = f"resubmit(,{ALL})" if _everywhere(way, tunnels) else _output(way.tunnels)
        yield _flow(FLOOD, SOME, f"dl_vlan={way.vlan}", f"pop_vlan,set_field:{way.key:#x}->tun_id,{to}")


def _everywhere(way: Way, tunnels: Sequence[str]) -> bool:
    """Whether a network shares the list of all tunnels, which is then written once for all networks."""
    return bool(tunnels) and len(way.tunnels) == len(tunnels)


def _learn(key: int) -> str:
    """Return the action that makes a flow back to where a frame came from."""
    return (
        f"learn(table={LEARNED},hard_timeout={AGE},priority={SOME},delete_learned,limit={MOST},"
        f"cookie={LEARNED_COOKIE | key:#x},"
        "NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],"
        f"load:0->NXM_OF_VLAN_TCI[],load:{key:#x}->NXM_NX_TUN_ID[],output:NXM_OF_IN_PORT[])"
    )


def _output(ports: Sequence[str]) -> str:
    return ",".join(f"output:{port}" for port in ports)


def _flow(table: int, priority: int, match: str, actions: str) -> str:
    return ",".join(filter(None, (f"table={table}", f"priority={priority}", match, f"actions={actions}")))

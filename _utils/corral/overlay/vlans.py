"""The local VLAN of each network on a host; pure.

A VLAN id means something on one host only. It is chosen there once and stays, since guests' ports carry
it; it is written down in the integration bridge's ``external_ids``, which survive a restart of the switch.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from corral.errors import Refused

KEPT = "corral-vlan-"  # and the network's name: the key under which its VLAN is written down
FIRST, LAST = 1, 4094  # IEEE 802.1Q reserves 0 and 4095


def kept(external_ids: Mapping[str, str]) -> dict[str, int]:
    """Return the VLANs that are written down, by network; what is no VLAN id is left out."""
    found = {}
    for key, text in external_ids.items():
        if key.startswith(KEPT) and text.isascii() and text.isdigit() and FIRST <= int(text) <= LAST:
            found[key.removeprefix(KEPT)] = int(text)
    return found


def allocate(networks: Iterable[str], held: Mapping[str, int], used: Container[int]) -> dict[str, int]:
    """Return the VLAN of each network on this host.

    networks
        Their names, in the order in which new ones choose.
    held
        What is written down: a network that has a VLAN keeps it.
    used
        VLANs on this host that are not ours to give.

    A VLAN that a network gives up in the same run is not given to another, whose ports would meet the
    last frames of the old one. Of two networks with one VLAN, which somebody else must have written,
    the first keeps it. Raises ``Refused`` when no VLAN is left.
    """
    wanted = list(networks)
    chosen: dict[str, int] = {}
    for name in wanted:
        if name in held and held[name] not in chosen.values():
            chosen[name] = held[name]
    taken = {*held.values(), *chosen.values()}
    free = (vlan for vlan in range(FIRST, LAST + 1) if vlan not in taken and vlan not in used)
    for name in wanted:
        if name not in chosen:
            vlan = next(free, None)
            if vlan is None:
                raise Refused(f"networks.{name}: this host has no VLAN left for it (of {FIRST}–{LAST}).")
            chosen[name] = vlan
    return {name: chosen[name] for name in wanted}

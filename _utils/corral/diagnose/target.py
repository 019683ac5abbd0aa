"""Who is meant: a guest of libvirt, a port of Open vSwitch, a MAC address, or a network namespace; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corral.diagnose.facts import Device, Target
from corral.errors import Refused
from corral.ovs.rows import mapping
from corral.topology.devices import Devices, Place
from corral.topology.domains import Domain
from corral.topology.seen import Seen

MAC = re.compile(r"[0-9a-f]{2}([:-][0-9a-f]{2}){5}")


def device(devices: Devices, place: Place | None) -> Device | None:
    if place is None:
        return None
    one = devices.all[place]
    return Device(one["name"], place[0], one["up"], one["carrier"], one["mtu"])


def resolve(name: str, mac: str | None, seen: Seen, devices: Devices) -> tuple[Target, Place | None]:
    """Return who is meant, and the device on the host that carries its frames.

    mac
        Which of a guest's network cards; None for its first one.

    Raises ``Refused`` when there is nobody of the name.
    """
    wanted = mac.lower().replace("-", ":") if mac else None
    is_mac = name.lower().replace("-", ":") if MAC.fullmatch(name.lower()) else None
    interfaces = {row["name"]: row for row in seen.rows["Interface"]}
    for domain in seen.domains:
        for nic in _nics(domain, name, is_mac, wanted):
            place = devices.places.get(nic["device"] or "")
            state = domain.state
            tap = device(devices, place)
            return Target(name, nic["mac"], domain.name, state, None, tap, nic["device"]), place
    for end, tap_place in _ends(name, is_mac, devices, interfaces):
        return _plain(name, end, tap_place, devices, interfaces)
    if name in interfaces:  # whose device is gone
        attached = mapping(interfaces[name]["external_ids"]).get("attached-mac", "")
        return Target(name, attached.lower(), tap_name=name), None
    of = f" with the address {mac}" if mac else ""
    nobody = f"There is no guest, no port, no address and no network namespace {name}{of} on this host."
    raise Refused(" ".join([nobody, *seen.notes]))


def _nics(domain: Domain, name: str, is_mac: str | None, wanted: str | None) -> Iterator[Mapping[str, Any]]:
    for nic in domain.nics:
        meant = name in (domain.name, domain.uuid, nic["device"]) or nic["mac"] == is_mac
        if meant and wanted in (None, nic["mac"]):
            yield nic


def _ends(
    name: str, is_mac: str | None, devices: Devices, interfaces: Iterable[str]
) -> Iterator[tuple[Place, Place]]:
    """Yield the guest's own end, and the host's, of what may be meant.

    Of a veth pair that leads into a network namespace the end in there is the guest's.
    """
    for place, one in devices.all.items():
        far = devices.below(place) if one["kind"] == "veth" else None
        is_port = devices.ids[place] in interfaces
        if name in (one["name"], devices.ids[place]) and (is_port or not place[0]):
            yield (far if far and far[0] != place[0] else place), place
        elif is_mac == one["mac"] or (place[0] and name == place[0]):
            if is_port:
                yield place, place
            elif far and far[0] != place[0]:
                yield place, far


def _plain(
    name: str, end: Place, tap: Place, devices: Devices, interfaces: Mapping[str, Mapping[str, Any]]
) -> tuple[Target, Place]:
    row = interfaces.get(devices.ids[tap])
    attached = mapping(row["external_ids"]).get("attached-mac") if row else None
    mac = (attached or devices.all[end]["mac"]).lower()
    nic = device(devices, end) if end != tap else None
    return Target(name, mac, nic=nic, tap=device(devices, tap), tap_name=devices.all[tap]["name"]), tap

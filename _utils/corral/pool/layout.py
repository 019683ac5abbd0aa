"""Who is in a pool: which guests stay, which leave, which come, and what each of them is; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from pydantic import TypeAdapter

from corral.dhcp.model import HostLabel, Reservation
from corral.errors import Invalid, Refused
from corral.guest.host import Found, Host
from corral.guest.model import Guest, Mark
from corral.kinds import range_ends
from corral.pool.identity import Identity, address, assign
from corral.pool.model import Desired

_LABEL: TypeAdapter[str] = TypeAdapter(HostLabel)
Reserved = tuple[str, Reservation]  # the subnet and what is reserved there


@dataclass(frozen=True)
class Layout:
    """The pool as it is to be.

    leaving
        Guests that are no longer of the pool.
    guests
        The definition of every guest that is, by index.
    disks
        The path of its disk.
    reservations
        Its addresses, in the order of the networks.
    """

    leaving: tuple[Found, ...] = ()
    guests: Mapping[int, Guest] = field(default_factory=dict)
    disks: Mapping[int, str] = field(default_factory=dict)
    reservations: Mapping[int, tuple[Reserved, ...]] = field(default_factory=dict)


def members(host: Host, pool: str) -> dict[int, Found]:
    """Return the guests of a pool by index.

    Raises ``Refused`` when two claim one index, or when a mark is damaged.
    """
    found: dict[int, Found] = {}
    for guest in host.guests.values():
        mark = guest.mark or {}
        if mark.get("pool") != pool or "index" not in mark:
            continue
        try:
            Mark.declare(mark, at="corral")
        except Invalid as wrong:
            raise Refused(
                f"pools.{pool}.guests.{guest.name}: the mark in its metadata is damaged: {wrong}."
            ) from None
        twin = found.setdefault(mark["index"], guest)
        if twin is not guest:
            raise Refused(
                f"pools.{pool}.guests: {twin.name} and {guest.name} both say they are index {mark['index']};"
                " a copied definition keeps its metadata, so take the mark out of the copy."
            )
    return dict(sorted(found.items()))


def lay_out(host: Host, taken: Iterable[str], desired: Desired) -> Layout:
    """Return the pool as it is to be on a host.

    host
        Every guest of the host.
    taken
        MAC addresses in use besides those of guests.

    Raises ``Refused`` when a name is taken by a guest that is not of the pool.
    """
    pool, there = desired.pool, members(host, desired.name)
    leaving = _surplus(there, pool.replicas, pool.scale_in.policy)
    staying = {index: guest for index, guest in there.items() if index not in leaving}
    free = (index for index in count() if index not in there)
    coming = set(islice(free, pool.replicas - len(staying)))
    _check_names(host, desired, coming)
    short = {index for index, guest in staying.items() if len(macs_of(guest)) < len(pool.networks)}
    prefixes = [network.mac_prefix for network in pool.networks]
    used = {*host.macs(), *host.uuids(), *taken}
    new = assign(desired.minion, desired.name, coming | short, prefixes, used)
    guests, disks = {}, {}
    for index in sorted({*staying, *coming}):
        found = staying.get(index)
        guests[index] = _defined(desired, index, found, new.get(index))
        disks[index] = _disk(desired, guests[index].name, found)
    reservations = {index: tuple(_reservations(desired, index, guest)) for index, guest in guests.items()}
    return Layout(tuple(there[index] for index in leaving), guests, disks, reservations)


def _surplus(there: Mapping[int, Found], replicas: int, policy: str) -> tuple[int, ...]:
    """Return the indexes that leave, by the declared policy."""

    def made(index: int) -> int:
        return int((there[index].mark or {}).get("made", 0))

    order: dict[str, Any] = {
        "highest_index": lambda index: -index,
        "lowest_index": lambda index: index,
        "newest": lambda index: (-made(index), -index),
        "oldest": lambda index: (made(index), index),
    }
    return tuple(sorted(there, key=order[policy])[: max(0, len(there) - replicas)])


def _check_names(host: Host, desired: Desired, coming: Iterable[int]) -> None:
    for index in sorted(coming):
        other = host.guests.get(desired.names.name(index))
        if other is not None:
            mark = other.mark or {}
            whose = f"of pool {mark['pool']}" if mark.get("pool") else "not of this pool"
            raise Refused(f"{desired.at}.guests.{other.name}: a guest of this name exists that is {whose}.")


def _defined(desired: Desired, index: int, found: Found | None, new: Identity | None) -> Guest:
    """Return the definition of a guest; one that exists keeps its name, UUID, MAC addresses and disk."""
    pool = desired.pool
    name = found.name if found else desired.names.name(index)
    kept = macs_of(found) if found else ()
    macs = (*kept, *(new.macs[len(kept) :] if new else ()))
    data: dict[str, Any] = pool.guest.declared()
    if data.get("console_log"):
        data["console_log"] = data["console_log"].replace("{guest}", name)
    data["name"] = name
    data["nics"] = [{**network.nic, "mac": mac} for network, mac in zip(pool.networks, macs, strict=False)]
    if found:
        data["uuid"] = found.uuid
        data["corral"] = dict(found.mark or {})
    else:
        data["uuid"] = new.uuid if new else None
        data["corral"] = {"id": desired.minion, "pool": desired.name, "index": index}
    if not (found and disks_of(found)):
        data["disks"] = [{**pool.disk.of_guest, "path": _disk(desired, name, found)}]
    return Guest.declare(data, at=f"{desired.at}.guests.{name}")


def _disk(desired: Desired, name: str, found: Found | None) -> str:
    there = disks_of(found) if found else ()
    return there[0] if there else f"{desired.directory}/{name}.qcow2"


def _reservations(desired: Desired, index: int, guest: Guest) -> Iterable[Reserved]:
    label = _label(guest.name)
    for place, (network, nic) in enumerate(zip(desired.pool.networks, guest.nics, strict=True)):
        if network.subnet is None or network.addresses is None:
            continue
        _, low, high = range_ends(network.addresses)
        if low + index > high:
            raise Refused(
                f"{desired.at}.networks[{place}].addresses: {network.addresses} holds no address for"
                f" {guest.name}, whose index is {index}."
            )
        first = network.addresses.partition("-")[0]
        yield network.subnet, Reservation(mac=nic.mac, address=address(first, index), name=label)


def _label(name: str) -> str | None:
    """Return a guest's name as DHCP's host name, which is one label; ``None`` when it is none."""
    try:
        return _LABEL.validate_python(name)
    except ValueError:
        return None


def macs_of(found: Found) -> tuple[str, ...]:
    """Return the MAC addresses of a guest's NICs, in their order."""
    return tuple(nic["mac"] for nic in found.fields.get("nics") or ())


def disks_of(found: Found) -> tuple[str, ...]:
    """Return the paths of a guest's disks."""
    return tuple(disk["path"] for disk in found.fields.get("disks") or ())

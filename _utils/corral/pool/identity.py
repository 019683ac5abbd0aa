"""Who a guest of a pool is: computed from where it stands, never drawn by lot.

A UUID (version 5, RFC 9562 §5.5) and MAC addresses follow from the minion's id, the pool's name and the
guest's index, so a preview knows them and a guest that is made again gets them again. Should one be taken
on this host already, the next attempt counts; a guest that exists keeps what it has.
"""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corral.errors import Refused

NAMESPACE = uuid.UUID("7ddd244e-2ab8-4279-8c39-517d96830a2e")
ATTEMPTS = 1000  # a prefix has 2^24 addresses: so many taken in a row means that nearly all are


@dataclass(frozen=True)
class Identity:
    """UUID and MAC addresses of one guest, the MAC addresses in the order of the pool's networks."""

    uuid: str
    macs: tuple[str, ...]


def computed(minion: str, pool: str, index: int, prefixes: Sequence[str], attempt: int = 0) -> Identity:
    """Return the identity that an attempt gives.

    minion
        Id of the minion.
    pool
        Name of the pool.
    index
        Index of the guest, from 0.
    prefixes
        MAC prefix (three octets) of each network.
    attempt
        0, or the number of attempts before that were taken.
    """
    seed = "\0".join((minion, pool, str(index), str(attempt)))
    macs = tuple(_mac(prefix, f"{seed}\0{place}") for place, prefix in enumerate(prefixes))
    return Identity(str(uuid.uuid5(NAMESPACE, seed)), macs)


def assign(
    minion: str, pool: str, indexes: Iterable[int], prefixes: Sequence[str], taken: Iterable[str]
) -> dict[int, Identity]:
    """Return an identity for each index, none of which is taken or given twice.

    taken
        UUIDs and MAC addresses that are in use, by the pool's existing guests too.

    Raises ``Refused`` when the MAC prefixes are used up.
    """
    used = set(taken)
    given: dict[int, Identity] = {}
    for index in sorted(indexes):
        for attempt in range(ATTEMPTS):
            identity = computed(minion, pool, index, prefixes, attempt)
            values = {identity.uuid, *identity.macs}
            if len(values) == 1 + len(prefixes) and not values & used:
                break
        else:
            raise Refused(f"{pool}: no MAC address below {', '.join(prefixes)} is free for index {index}.")
        used |= values
        given[index] = identity
    return given


def address(first: str, index: int) -> str:
    """Return the address of an index: that many after the first of its range."""
    return str(ipaddress.ip_address(first) + index)


def _mac(prefix: str, seed: str) -> str:
    octets = hashlib.sha256(seed.encode()).digest()[:3]
    return ":".join((prefix, *(f"{octet:02x}" for octet in octets)))

"""Computed identity: the same declaration gives the same UUID and MAC on every run.

libvirt draws both at random when a definition lacks them, so each new definition would be another
machine to DHCP and to the guest itself, and random is not unique (KVM tools have handed out twins).
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from uuid import UUID, uuid5

NAMESPACE = UUID("6d2b6c1e-1a0f-5c57-9d0c-3f8f2e4b7a11")  # ours alone; changing it would rename every guest
KVM_PREFIX = "52:54:00"  # the locally administered prefix that QEMU uses


def guest_uuid(*seed: object, taken: Collection[str] = ()) -> str:
    """Return the UUID (version 5, RFC 9562) of a seed; the next one while it is taken."""
    attempt = 0
    while True:
        uuid = str(uuid5(NAMESPACE, _text(seed, attempt)))
        if uuid not in taken:
            return uuid
        attempt += 1


def guest_mac(*seed: object, prefix: str = KVM_PREFIX, taken: Collection[str] = ()) -> str:
    """Return a MAC address below a prefix of three octets; the next one while it is taken."""
    attempt = 0
    while True:
        tail = sha256(_text(seed, attempt).encode()).hexdigest()[:6]
        mac = f"{prefix}:{tail[:2]}:{tail[2:4]}:{tail[4:]}"
        if mac not in taken:
            return mac
        attempt += 1


def _text(seed: tuple[object, ...], attempt: int) -> str:
    return "\x1f".join(str(part) for part in (*seed, attempt))

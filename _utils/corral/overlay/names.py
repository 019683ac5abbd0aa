"""Names of what an overlay makes on a host: as long as Linux takes, and the same in every run; pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

LONGEST = 15  # bytes of a device's name in Linux (IFNAMSIZ)
DIGEST = 8  # digits of 5 bits: among 1000 names, two alike are less likely than one in a million
TUNNEL: Mapping[str, str] = {"vxlan": "vx-", "gre": "gre-", "geneve": "gnv-", "stt": "stt-"}
BRIDGE, GATEWAY = "ov-", "gw-"
TO_TUNNEL, TO_INTEGRATION = "patch-tun", "patch-int"  # the patch pair, each end on the other's bridge


def short(prefix: str, name: str) -> str:
    """Return ``prefix`` and a name, or what fits of it and a digest of the whole.

    Two long names may give the same one, which the declaration checks.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if plain == name and len(prefix + name) <= LONGEST:
        return prefix + name
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest()).decode().lower()[:DIGEST]
    return f"{prefix}{plain[: LONGEST - len(prefix) - len(digest)]}{digest}"


def tunnel(encapsulation: str, peer: str) -> str:
    """Return the name of the tunnel port to a peer."""
    return short(TUNNEL[encapsulation], peer)


def bridge(network: str) -> str:
    """Return the name of the bridge under which guests join a network."""
    return short(BRIDGE, network)


def gateway(network: str) -> str:
    """Return the name of the port that has a network's gateway and DHCP server."""
    return short(GATEWAY, network)


def gateway_mac(network: str) -> str:
    """Return the MAC of a network's gateway: the same after a restart, on any host, as guests want it."""
    digest = hashlib.sha256(f"gateway of {network}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (2, *digest[:5]))  # locally administered (IEEE 802, 8.4)

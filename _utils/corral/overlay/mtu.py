"""What is left of the underlay's MTU for a network, and how far keys go; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from corral.ovs.tunnels import overhead

Encapsulation = Literal["vxlan", "gre", "geneve", "stt"]

# VXLAN's VNI (RFC 7348), GRE's key (RFC 2890), Geneve's VNI (RFC 8926). Of the 64 bits of STT's context
# (draft-davie-stt-08), the cookie of what is learned (flows.py) leaves 48.
KEY_BITS: Mapping[str, int] = {"vxlan": 24, "gre": 32, "geneve": 24, "stt": 48}
OPTIONS = {"key": "flow"}  # of our tunnels: in GRE, a key takes room of its own


def network_mtu(underlay: int, encapsulation: str, version: int = 4) -> int:
    """Return the MTU of what hangs on a network, in bytes.

    underlay
        That of the device by which the tunnels leave.
    version
        Of the IP between the hosts, 4 or 6.
    """
    return underlay - overhead(encapsulation, OPTIONS, version)

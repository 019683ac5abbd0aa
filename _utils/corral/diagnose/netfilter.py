"""Whether what Linux bridges forward passes iptables and nftables, and what is dropped there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from corral.dhcp.wire import run
from corral.diagnose.facts import Netfilter
from corral.errors import NotInstalled

# sysctl: net.bridge.bridge-nf-call-iptables; there while the module br_netfilter is (ip-sysctl).
CALL = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
FAMILIES = ("ip", "inet")


def netfilter() -> Netfilter:
    """Look at this network namespace; iptables of today keeps its chains in nftables, too."""
    try:
        called = CALL.read_text().strip() == "1"
    except OSError:
        called = False
    return Netfilter(called, _dropping() if called else ())


def _dropping() -> tuple[str, ...]:
    try:
        status, text = run(["nft", "-j", "list", "chains"])
    except NotInstalled:
        return ()
    return () if status else chains(json.loads(text))


def chains(listed: dict[str, Any]) -> tuple[str, ...]:
    """Return the chains that drop what is forwarded, of ``nft -j list chains`` (libnftables-json(5))."""
    return tuple(
        f"the chain {chain['name']} of the table {chain['family']} {chain['table']}"
        for one in listed["nftables"]
        if (chain := one.get("chain", {})).get("hook") == "forward"
        and chain.get("policy") == "drop"
        and chain["family"] in FAMILIES
    )

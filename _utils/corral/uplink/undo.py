"""Leading back from a move of the host's address: the address first, then the switch, then the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral.guard import network
from corral.guard.netlink import Netlink
from corral.link import undo as link
from corral.ovs import undo as switch


def revert(data: Mapping[str, Any], network_was: network.Snapshot, rebooted: bool) -> None:
    """Lead back from a plan; what the cards had the guard puts back then.

    After a reboot the distribution has brought up what was declared, before anybody could take it back: that
    is taken away here, and the cards get back what they had.
    """
    link.revert(data["link"], network_was, False)
    switch.revert(data["switch"], network_was, rebooted)
    with Netlink() as kernel:
        there = network.devices(kernel)
        for name in data["down"]:
            if name in there:
                network.change(kernel, there[name].index, up=False)
    if rebooted:
        network.restore(network_was)

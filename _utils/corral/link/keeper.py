"""Who brings a link up at boot, and the files that tell it how."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HEAD = "# Written by Corral; changes made here are undone."
SAYS = "# It declares: "  # what is ours of a device that another program brought up


@dataclass(frozen=True)
class Keeper:
    """What brings a device up at boot, and what it has to be told of it.

    manager
        ``networkd``, ``ifupdown``, ``networkmanager`` or ``ifcfg``.
    beside
        Of networkd: the file that it takes for the device already, to which ours is a drop-in.
    hotplug
        Of ifupdown: whether it brings a device up whenever that appears, as udev tells it.
    switch
        Whether Open vSwitch makes the device.
    above
        Of NetworkManager: whether ours goes before a profile of somebody else for the device.
    """

    manager: str
    beside: str = ""
    hotplug: bool = True
    switch: bool = False
    above: bool = False


@dataclass(frozen=True)
class Files:
    """The files about one device that are ours, who reads them, and what is in the way of that.

    foreign
        Files about the devices that are taken over, which are to be changed for that.
    others
        Who keeps the other devices that are taken over, unless a file of ours says something else of them.
    """

    keeper: Keeper | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()
    foreign: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Keeper] = field(default_factory=dict)

    @property
    def declared(self) -> dict[str, Any]:
        """Return the addresses and routes that our files declare."""
        for line in (line for text in self.texts.values() for line in text.splitlines()):
            if line.startswith(SAYS):
                with contextlib.suppress(ValueError):  # somebody has been at it
                    return dict(json.loads(line.removeprefix(SAYS)))
        return {"addresses": [], "routes": []}


NO_FILES = Files()

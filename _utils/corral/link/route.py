"""What may be declared about a route, and what one is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from corral.kinds import Address, Number
from corral.model import Model

EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
METRIC = {4: 0, 6: 1024}  # what Linux takes when none is said
METRIC_MAX = 2**32 - 1
BY_KERNEL = 2  # a route that came with an address (rtnetlink(7), RTPROT_KERNEL)
BY_ITSELF = (BY_KERNEL, 9)  # and of router advertisements (RTPROT_RA)
OURS = 67  # who made an address or a route; below 4 it is the kernel or ip, daemons have their own


def _metric_of(family: int, metric: int | None) -> int:
    """Return a metric as Linux has it: IPv6 knows no 0."""
    return METRIC[family] if metric is None or (family == 6 and metric == 0) else metric


class Route(Model):
    """A way to a network, by a router or straight through the device."""

    via: Address | None = None  # None: the network is on the link
    to: Annotated[str, BeforeValidator(str)]
    metric: Number | None = Field(default=None, validate_default=True)

    @field_validator("to")
    @classmethod
    def _destination(cls, to: str, info: ValidationInfo) -> str:
        via = info.data.get("via")
        family = ipaddress.ip_address(via).version if via else 4
        if to == "default":
            return EVERYTHING[family]
        network = _network(to)
        if via and network.version != family:
            raise ValueError(f"{to} is not reached by way of {via}, which is of IPv{family}")
        return str(network)

    @field_validator("metric")
    @classmethod
    def _metric(cls, metric: int | None, info: ValidationInfo) -> int | None:
        if metric is not None and not 0 <= metric <= METRIC_MAX:
            raise ValueError(f"{metric} is not a metric (0–{METRIC_MAX})")
        to = info.data.get("to")
        return _metric_of(ipaddress.ip_network(to).version, metric) if to else metric

    @property
    def key(self) -> str:
        """Return what tells it from the other routes of a device."""
        return key(self.to, self.metric)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as wrong:
        raise ValueError(f"{text!r} is not a network (192.0.2.0/24, default): {wrong}") from None


@dataclass(frozen=True)
class HeldRoute:
    """A route of the main table that leads through a device.

    via
        Its router; ``None``: what it leads to is on the link.
    maker
        Who made it (rtnetlink(7), ``rtm_protocol``).
    """

    to: str
    via: str | None = None
    metric: int = 0
    maker: int = OURS

    @property
    def key(self) -> str:
        return key(self.to, self.metric)

    @property
    def ours(self) -> bool:
        """Whether Corral made it: only then it may be removed for not being declared."""
        return self.maker == OURS

    def shown(self) -> dict[str, Any]:
        """Return it in the vocabulary of the declaration."""
        said = {"to": self.to, "via": self.via, "metric": self.metric}
        return {name: value for name, value in said.items() if value is not None}


def key(to: str, metric: int | None) -> str:
    """Return what Linux tells the routes of a table by; the metric is said unless it is the usual one."""
    usual = METRIC[ipaddress.ip_network(to).version]
    return to if metric in (None, usual) else f"{to} metric {metric}"


def shown(routes: Iterable[HeldRoute]) -> dict[str, Any]:
    """Return the routes that somebody made, as ``gateway`` and ``routes``."""
    made = [route for route in routes if route.maker != BY_KERNEL]
    first = next((route for route in made if route.key in EVERYTHING.values() and route.via), None)
    others = [route.shown() for route in made if route is not first]
    return {"gateway": first.via if first else None, "routes": others}

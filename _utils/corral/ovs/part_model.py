"""What may be declared about controllers, managers, SSL, mirrors, exporters and QoS.

The words and limits are those of ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from corral.kinds import (
    AbsolutePath,
    Address,
    Flag,
    InterfaceName,
    Setting,
    Text,
    Vlan,
    VlanSet,
    interface_name,
)
from corral.model import Model

Settings = dict[Text, Setting | None]
_HOST = r"(\[[0-9A-Fa-f:.]+(%\S+)?\]|[^\s:/\[\]]+)"
_PORT = r"\d{1,5}"
# ovsdb(7) and ovs-vswitchd.conf.db(5) list the same forms for managers and controllers.
_ACTIVE = rf"((tcp|ssl):{_HOST}(:{_PORT})?|unix:\S+)"
_PASSIVE = rf"(p(tcp|ssl):({_PORT})?(:{_HOST})?|punix:\S+)"


def _part(**limits: Any) -> Any:
    return Field(strict=True, **limits)


def _matching(pattern: str, what: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return check


def port_name(value: Any) -> str:
    """Return a port's name; that a network interface has a short one is checked where its type is known."""
    if isinstance(value, str) and re.fullmatch(r"[^\s/:]{16,63}", value):
        return value
    return interface_name(value)


PortName = Annotated[str, BeforeValidator(port_name)]
Target = Annotated[
    str,
    BeforeValidator(
        _matching(
            f"{_ACTIVE}|{_PASSIVE}",
            "a connection (tcp:192.0.2.7:6653, ssl:host:6640, ptcp:6640, punix:/run/x)",
        )
    ),
]
Collector = Annotated[
    str, BeforeValidator(_matching(rf"{_HOST}:{_PORT}", "a collector (192.0.2.7:2055, [2001:db8::7]:2055)"))
]
Sampler = Annotated[
    str, BeforeValidator(_matching(rf"{_HOST}(:{_PORT})?", "a collector (192.0.2.7:6343 or 192.0.2.7)"))
]
Sorted = AfterValidator(lambda values: sorted(set(values)))
Ports = Annotated[list[PortName], Field(min_length=1), Sorted]
Uint32 = Annotated[int, _part(ge=0, le=0xFFFFFFFF)]


def queue_number(value: Any) -> str:
    """Return a queue's number as text, as which it is the key of a mapping in a path."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,10}", str(value)) or int(value) > 0xFFFFFFFF:
        raise ValueError(f"{value!r} is not a queue's number (from 0)")
    return str(int(value))


QueueNumber = Annotated[str, BeforeValidator(queue_number)]


class Part(Model):
    """A model that is only ever built as a part of ``Switch``, which spares an import its own building."""

    model_config = ConfigDict(defer_build=True)


class _Row(Part):
    external_ids: Settings = {}


class Connection(_Row):
    """What managers and controllers have in common."""

    max_backoff: Annotated[int, _part(ge=1000)] | None = None
    inactivity_probe: Annotated[int, _part(ge=0)] | None = None
    connection_mode: Literal["in-band", "out-of-band"] | None = None
    other_config: Settings = {}


class Controller(Connection):
    """One OpenFlow controller of a bridge."""

    local_ip: Address | None = None
    local_netmask: Address | None = None
    local_gateway: Address | None = None
    enable_async_messages: Flag | None = None
    controller_rate_limit: Annotated[int, _part(ge=100)] | None = None
    controller_burst_limit: Annotated[int, _part(ge=25)] | None = None


class Ssl(_Row):
    """The switch's key and certificates, as files on the host."""

    private_key: AbsolutePath | None = None
    certificate: AbsolutePath | None = None
    ca_cert: AbsolutePath | None = None
    bootstrap_ca_cert: Flag | None = None


class Mirror(_Row):
    """Copies of some frames of a bridge to a port or a VLAN of it."""

    select_all: Flag | None = None
    select_src_port: Ports | None = None
    select_dst_port: Ports | None = None
    select_vlan: VlanSet | None = None
    output_port: PortName | None = None
    output_vlan: Vlan | None = None
    snaplen: Annotated[int, _part(ge=14, le=65535)] | None = None


class NetFlow(_Row):
    """A NetFlow exporter."""

    targets: Annotated[list[Collector], Field(min_length=1), Sorted] | None = None
    engine_type: Annotated[int, _part(ge=0, le=255)] | None = None
    engine_id: Annotated[int, _part(ge=0, le=255)] | None = None
    add_id_to_interface: Flag | None = None
    active_timeout: Annotated[int, _part(ge=-1)] | None = None


class SFlow(_Row):
    """An sFlow agent."""

    targets: Annotated[list[Sampler], Field(min_length=1), Sorted] | None = None
    agent: InterfaceName | None = None
    sampling: Annotated[int, _part(ge=1)] | None = None
    polling: Annotated[int, _part(ge=0)] | None = None
    header: Annotated[int, _part(ge=1)] | None = None


class Ipfix(_Row):
    """An IPFIX exporter of a whole bridge."""

    targets: Annotated[list[Collector], Field(min_length=1), Sorted] | None = None
    sampling: Annotated[int, _part(ge=1, le=0xFFFFFFFF)] | None = None
    obs_domain_id: Uint32 | None = None
    obs_point_id: Uint32 | None = None
    cache_active_timeout: Annotated[int, _part(ge=0, le=4200)] | None = None
    cache_max_flows: Uint32 | None = None
    other_config: Settings = {}


class Queue(_Row):
    """One queue of a QoS."""

    dscp: Annotated[int, _part(ge=0, le=63)] | None = None
    other_config: Settings = {}


class Qos(_Row):
    """What a port's device sends at what rate."""

    type: (
        Literal[
            "linux-htb",
            "linux-hfsc",
            "linux-sfq",
            "linux-codel",
            "linux-fq_codel",
            "linux-netem",
            "linux-noop",
            "egress-policer",
            "trtcm-policer",
        ]
        | None
    ) = None
    other_config: Settings = {}
    queues: dict[QueueNumber, Queue | None] = {}

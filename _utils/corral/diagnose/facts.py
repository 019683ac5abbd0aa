"""What is known of a guest's way to its DHCP server, as plain values; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.diagnose.frames import Seen
from corral.ovs.trace import Trace

Fix = Mapping[str, Any]  # the arguments of ``state.single`` that mend something


@dataclass(frozen=True)
class Device:
    """A device of the kernel.

    namespace
        ``""`` for that of the minion; otherwise its name, or a process that is in it (``pid 4711``).
    """

    name: str
    namespace: str = ""
    up: bool = True
    carrier: bool = True
    mtu: int | None = None

    @property
    def label(self) -> str:
        return f"{self.name} in the namespace {self.namespace}" if self.namespace else self.name


@dataclass(frozen=True)
class Port:
    """An interface of Open vSwitch, with the port that it belongs to.

    vlan
        The VLAN of frames that come without a tag, 0 for none; None if they are not taken.
    """

    name: str
    port: str
    bridge: str
    number: int | None = None
    vlan: int | None = 0
    error: str | None = None

    @property
    def place(self) -> str:
        vlan = {None: "takes tagged frames only", 0: "in no VLAN"}.get(self.vlan, f"in VLAN {self.vlan}")
        return f"{self.name} on {self.bridge}, {vlan}"


@dataclass(frozen=True)
class Target:
    """The guest.

    name
        As it was asked for.
    guest
        Its name in libvirt; None when it is no guest of libvirt's.
    state
        What libvirt says of it.
    mac
        The address that it asks for a lease with.
    nic
        Its own end, where it is a device of this host: that in a network namespace.
    tap
        The host's end; None if there is none.
    tap_name
        Its name, there or not; None if nobody knows one.
    """

    name: str
    mac: str
    guest: str | None = None
    state: str = "running"
    nic: Device | None = None
    tap: Device | None = None
    tap_name: str | None = None


@dataclass(frozen=True)
class Server:
    """Who serves DHCP, or is to.

    subnet
        The subnet of Corral's that it serves; None for somebody else's server.
    running
        True, or what it does instead.
    device
        Where it listens; None if there is no such device.
    port
        The interface of Open vSwitch behind which that is.
    tag
        The VLAN whose tag it must see there, when it listens on a VLAN's device; None for frames without one.
    """

    device_name: str
    namespace: str = ""
    process: str = "a server"
    subnet: str | None = None
    running: bool | str = True
    device: Device | None = None
    port: Port | None = None
    tag: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"dnsmasq of the subnet {self.subnet}" if self.subnet else self.process


@dataclass(frozen=True)
class Addresses:
    """What a subnet has left: for this guest, and free in the range."""

    own: str | None
    free: int
    total: int
    wider: str | None = None


@dataclass(frozen=True)
class Netfilter:
    """Whether frames on Linux bridges pass iptables, and which chains would drop them there."""

    called: bool
    dropping: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that was looked at.

    linux_bridges
        Those that the guest's frames cross on this host.
    meets
        Whether guest and server meet on a Linux bridge, without Open vSwitch between them.
    request, reply
        Where a DHCPDISCOVER goes, and what the server sends to the guest; None if that is not known.
    tunnels
        What ``ovs.tunnel_status`` says of the tunnels by which the request leaves.
    at_tap, at_server
        The messages that were captured; None if there was nowhere to listen.
    probed
        Whether a DHCPDISCOVER was sent in the guest's stead.
    """

    target: Target
    port: Port | None = None
    server: Server | None = None
    others: tuple[str, ...] = ()
    linux_bridges: tuple[str, ...] = ()
    meets: bool = False
    request: Trace | None = None
    reply: Trace | None = None
    tunnels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    netfilter: Netfilter | None = None
    addresses: Addresses | None = None
    at_tap: tuple[Seen, ...] | None = None
    at_server: tuple[Seen, ...] | None = None
    probed: bool = False
    seconds: float = 0

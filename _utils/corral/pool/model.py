"""What may be declared about a guest pool, in the words of KubeVirt's VirtualMachinePool where it has any."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from corral.errors import Invalid
from corral.guest.model import QEMU_LOG, SHUTDOWN_SECONDS, Hardware, Nic
from corral.kinds import (
    AbsolutePath,
    AddressRange,
    Flag,
    InterfaceName,
    MacPrefix,
    Name,
    Number,
    Seconds,
    Size,
    Text,
    Vlan,
    range_ends,
)
from corral.model import Model
from corral.pool.names import Names, check_template

DIRECTORY = "/var/lib/libvirt/images/pools"  # where libvirt's confinement lets QEMU open disks
MOST = 1000  # guests of one pool: as many leases as one dnsmasq gives by default


def _ready(value: Any) -> str:
    match = re.fullmatch(r"lease|ssh|none|port: ?(\d{1,5})", str(value))
    if not match or (match[1] and not 1 <= int(match[1]) <= 65535):
        raise ValueError(f"{value!r} is not a sign of readiness (lease, ssh, port:N or none)")
    return str(value).replace(" ", "")


def _between(low: int, high: int, what: str) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(f"{value} is not {what} ({low}–{high})")
        return value

    return check


def _some_time(value: int) -> int:
    if value < 1:
        raise ValueError(f"{value} is no time to wait for (1 s or more)")
    return value


Ready = Annotated[str, BeforeValidator(_ready)]
Patience = Annotated[Seconds, AfterValidator(_some_time)]
Template = Annotated[str, BeforeValidator(check_template)]
Replicas = Annotated[Number, AfterValidator(_between(0, MOST, "a number of guests"))]
Width = Annotated[Number, AfterValidator(_between(1, MOST, "a number of guests at a time"))]
Policy = Literal["highest_index", "lowest_index", "newest", "oldest"]
Keep = Literal["keep", "delete"]


class Network(Model):
    """One NIC of every guest, and where its address comes from.

    bridge, switch, vlan, model, offload
        As for the NIC of a single guest.
    mac_prefix
        First three octets of the computed MAC addresses; default ``52:54:00``.
    subnet
        Name of the DHCP subnet of this host that serves the network.
    addresses
        Inclusive range; the guest of index *i* has the address *i* after the first, reserved in ``subnet``.
    """

    bridge: InterfaceName
    switch: Literal["ovs", "linux"] = "ovs"
    vlan: Vlan | None = None
    model: Literal["virtio", "e1000", "e1000e", "rtl8139"] = "virtio"
    offload: Flag = True
    mac_prefix: MacPrefix = "52:54:00"
    subnet: Name | None = None
    addresses: AddressRange | None = None

    @property
    def nic(self) -> dict[str, Any]:
        """Return what a guest's NIC declares of this network: only what was mentioned."""
        return {key: value for key, value in self.declared().items() if key in Nic.model_fields}


class Disk(Model):
    """The copy-on-write disk of every guest.

    directory
        Folder; the disks lie in a folder of the pool's name in it.
    size
        At least that of the image, which is the default.
    bus
        As for the disk of a single guest.
    """

    directory: AbsolutePath = DIRECTORY
    size: Size | None = None
    bus: Literal["virtio", "sata", "scsi", "ide", "usb"] = "virtio"

    @property
    def of_guest(self) -> dict[str, Any]:
        """Return what a guest's disk declares of this: only what was mentioned."""
        return {"bus": self.bus} if "bus" in self.model_fields_set else {}


class BootWidth(Model):
    """How many guests may be between their start and their readiness.

    start
        At first, and as long as the CPUs are busy. Default: one more than the host has CPUs, so that
        none is idle while a guest waits for its disk or its lease; not more than ``max``.
    max
        At most. Default: 16.
    """

    start: Width | None = None
    max: Width = 16


class Boot(Model):
    """How guests are started.

    ready
        The sign that a guest is up: ``lease`` (its DHCP lease), ``ssh`` (an SSH server greets),
        ``port:N`` (a TCP port opens) or ``none`` (it runs).
    timeout
        Seconds from a guest's start to its readiness.
    width
        Bounds of the number of guests that boot at a time.
    """

    ready: Ready = "lease"
    timeout: Patience = 300
    width: BootWidth = BootWidth()


class ScaleIn(Model):
    """What happens when ``replicas`` shrinks.

    policy
        Which guests go: ``highest_index``, ``lowest_index``, ``newest`` or ``oldest``.
    disks
        Whether their disks stay (``keep``; a guest of the same name gets its disk back) or go (``delete``).
    shutdown_timeout
        Seconds that a guest has to power off before it is cut.
    """

    policy: Policy = "highest_index"
    disks: Keep = "keep"
    shutdown_timeout: Seconds = SHUTDOWN_SECONDS


class Readout(Model):
    """How a command is run on every guest; what the fields mean, ``guest_pool.readout`` tells."""

    command: Text
    user: Text = "root"
    key: AbsolutePath | None = None
    known_hosts: AbsolutePath | None = None
    timeout: Patience = 60
    concurrency: Annotated[Number, Field(ge=1)] = 16


class Pool(Model):
    """A number of guests that are alike."""

    replicas: Replicas
    names: Template = "{pool}-{index:03d}"
    image: Name
    guest: Hardware = Field(default_factory=Hardware)
    networks: tuple[Network, ...] = ()
    disk: Disk = Disk()
    boot: Boot = Boot()
    scale_in: ScaleIn = ScaleIn()
    paused: Flag = False

    @property
    def gate(self) -> int | None:
        """Return which network tells that a guest is up: the place of the first with a subnet."""
        return next((place for place, network in enumerate(self.networks) if network.subnet), None)


@dataclass(frozen=True)
class Desired:
    """A declared pool and where it stands.

    minion
        Id of the minion; identity is computed from it.
    name
        Name of the pool.
    pool
        The declaration.
    """

    minion: str
    name: str
    pool: Pool

    @property
    def at(self) -> str:
        """Return the path that errors begin with."""
        return f"pools.{self.name}"

    @property
    def names(self) -> Names:
        return Names(self.pool.names, self.name, self.minion.partition(".")[0])

    @property
    def directory(self) -> str:
        return f"{self.pool.disk.directory}/{self.name}"


@dataclass(frozen=True)
class Whole:
    """A pool as a whole, of which nothing but its name is known: for ``stopped`` and ``absent``.

    minion
        Id of the minion; guests that another one made are left alone.
    name
        Name of the pool.
    timeout
        Seconds that a guest has to shut down before it is forced.
    parent
        Folder that the pools' folders lie in.
    disks
        Whether the disks stay (``keep``) or go (``delete``).
    """

    minion: str
    name: str
    timeout: int = SHUTDOWN_SECONDS
    parent: str = DIRECTORY
    disks: str = "keep"

    @property
    def at(self) -> str:
        return f"pools.{self.name}"

    @property
    def directory(self) -> str:
        return f"{self.parent}/{self.name}"


def declare(minion: str, name: Any, data: dict[str, Any]) -> Desired:
    """Build a declared pool; raises ``Invalid`` with the path of each wrong value."""
    desired = Desired(minion, _pool_name(name), Pool.declare(data, at=f"pools.{name}"))
    faults = [*_names(desired), *_networks(desired), *_logs(desired), *_boot(desired)]
    for place, network in enumerate(desired.pool.networks):
        Nic.declare(network.nic, at=f"{desired.at}.networks[{place}]")
    if faults:
        raise Invalid("; ".join(f"{desired.at}.{fault}" for fault in faults))
    return desired


def stopped(minion: str, name: Any, data: dict[str, Any]) -> Whole:
    """Build what ``guest_pool.stopped`` declares; raises ``Invalid`` as ``declare`` does."""
    given = _Stop.declare(data, at=f"pools.{name}")
    return Whole(minion, _pool_name(name), given.shutdown_timeout)


def absent(minion: str, name: Any, data: dict[str, Any]) -> Whole:
    """Build what ``guest_pool.absent`` declares; raises ``Invalid`` as ``declare`` does."""
    given = _Removal.declare(data, at=f"pools.{name}")
    return Whole(minion, _pool_name(name), given.shutdown_timeout, given.directory, given.disks)


class _Stop(Model):
    """How a pool is stopped."""

    shutdown_timeout: Seconds = SHUTDOWN_SECONDS


class _Removal(_Stop):
    """How a pool is taken away."""

    directory: AbsolutePath = DIRECTORY
    disks: Keep = "keep"


def _pool_name(name: Any) -> str:
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValueError:
        raise Invalid(
            f"pools.{name}: a pool's name has letters, digits, '.', '_' and '-', at most 63"
        ) from None


def _logs(desired: Desired) -> Iterator[str]:
    log = desired.pool.guest.console_log
    if log == QEMU_LOG.format("{guest}"):
        yield f"guest.console_log: {log} is where libvirt writes QEMU's own log"
    if log and "{guest}" not in log and desired.pool.replicas > 1:
        yield f"guest.console_log: {log} is one file for all; write {{guest}} where a guest's name is to be"


def _names(desired: Desired) -> Iterator[str]:
    valid = TypeAdapter(Name)
    seen: dict[str, int] = {}
    for index in range(desired.pool.replicas):
        name = desired.names.name(index)
        if name in seen:
            yield f"names: {desired.pool.names!r} gives {name!r} to index {seen[name]} and to index {index}"
            return
        seen[name] = index
        try:
            valid.validate_python(name)
        except ValueError:
            yield f"names: {desired.pool.names!r} gives index {index} a name that no guest may have, {name!r}"
            return


def _networks(desired: Desired) -> Iterator[str]:
    ranges: list[tuple[int, int, int]] = []
    for place, network in enumerate(desired.pool.networks):
        if network.addresses is None:
            continue
        at = f"networks[{place}].addresses"
        version, low, high = range_ends(network.addresses)
        if network.subnet is None:
            yield f"{at}: needs a subnet, whose DHCP server reserves the addresses"
        if high - low + 1 < desired.pool.replicas:
            held = high - low + 1
            yield f"{at}: {network.addresses} holds {held} addresses, but replicas is {desired.pool.replicas}"
        for other, (version2, low2, high2) in enumerate(ranges):
            if version == version2 and low <= high2 and low2 <= high:
                yield f"{at}: {network.addresses} overlaps the addresses of networks[{other}]"
        ranges.append((version, low, high))


def _boot(desired: Desired) -> Iterator[str]:
    boot, gate = desired.pool.boot, desired.pool.gate
    if boot.ready != "none" and gate is None:
        yield f"boot.ready: {boot.ready} needs a network with a subnet; without one only none can be seen"
    if boot.width.start is not None and boot.width.start > boot.width.max:
        yield f"boot.width.start: {boot.width.start} is more than max, {boot.width.max}"

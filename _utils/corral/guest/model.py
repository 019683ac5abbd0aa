"""What may be declared about a guest (libvirt's word is *domain*).

The rules of names and values are those of libvirt's domain format
(https://libvirt.org/formatdomain.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Self

from corral.kinds import (
    AbsolutePath,
    Flag,
    InterfaceName,
    Mac,
    Name,
    Number,
    Seconds,
    Size,
    Text,
    Uuid,
    Vlan,
    size_bytes,
)
from corral.model import Model

SHUTDOWN_SECONDS = 60  # what a guest gets to power off before it is cut
UNDECLARED: Any = None  # the default of a field that may not be null: not mentioned, and never written


def _mebibytes(value: str) -> str:
    """Refuse what QEMU would round: it gives x86 guests memory by the mebibyte."""
    if not size_bytes(value) or size_bytes(value) % (1 << 20):
        raise ValueError(f"{value!r} is not a whole number of mebibytes (512M, 4G)")
    return value


def _xml_text(value: str) -> str:
    """Refuse characters that XML 1.0 cannot hold or does not keep (control characters)."""
    if not value or not value.isprintable():
        raise ValueError(f"{value!r} holds a character that cannot be printed")
    return value


def _unicast(value: str) -> str:
    if int(value[:2], 16) & 1:
        raise ValueError(f"{value!r} is a multicast address, which no NIC may have")
    return value


def _machine(value: Any) -> str:
    if not isinstance(value, str) or not value.replace("-", "").replace(".", "").replace("_", "").isalnum():
        raise ValueError(f"{value!r} is not a machine type (pc, q35, pc-q35-7.2)")
    return value


Memory = Annotated[Size, AfterValidator(_mebibytes)]
FilePath = Annotated[AbsolutePath, AfterValidator(_xml_text)]
NicMac = Annotated[Mac, AfterValidator(_unicast)]
Machine = Annotated[str, BeforeValidator(_machine)]
Word = Annotated[Text, AfterValidator(_xml_text)]
Count = Annotated[Number, Field(ge=1)]
Boot = Literal["hd", "network", "cdrom", "fd"]
Lifecycle = Literal["destroy", "restart", "preserve", "rename-restart"]
Crash = Literal["destroy", "restart", "preserve", "rename-restart", "coredump-destroy", "coredump-restart"]


class Disk(Model):
    """A disk image in a file; the image itself is made by others.

    path
        The image; it tells one disk of a guest from another.
    format
        ``qcow2`` (default) or ``raw``. Never guessed: a guest could write itself another one.
    bus
        ``virtio`` (default), ``sata``, ``scsi``, ``ide`` or ``usb``.
    """

    path: FilePath
    format: Literal["qcow2", "raw"] = "qcow2"
    bus: Literal["virtio", "sata", "scsi", "ide", "usb"] = "virtio"


class Nic(Model):
    """A network card on a bridge of the host.

    bridge
        The bridge's name.
    mac
        The address; computed when a guest is created without one, and then kept.
    vlan
        The access VLAN; ``null`` for none. Only on Open vSwitch.
    switch
        ``ovs`` (default): the bridge is Open vSwitch's; ``linux``: it is the kernel's.
    model
        What the guest sees: ``virtio`` (default), ``e1000``, ``e1000e`` or ``rtl8139``.
    offload
        Whether a virtio NIC may leave checksums and segmentation to the host (QEMU's default: yes).
        The userspace datapath of Open vSwitch (``datapath_type: netdev``) does neither, and TCP between
        guests and host breaks: there it must be ``false``.
    """

    bridge: InterfaceName
    mac: NicMac = UNDECLARED
    vlan: Vlan | None = None
    switch: Literal["ovs", "linux"] = "ovs"
    model: Literal["virtio", "e1000", "e1000e", "rtl8139"] = "virtio"
    offload: Flag = UNDECLARED

    @model_validator(mode="after")
    def _offload_is_virtios(self) -> Self:
        if self.offload is False and self.model != "virtio":
            raise ValueError(f"offload is for virtio NICs, not for {self.model}")
        return self

    @model_validator(mode="after")
    def _vlan_needs_ovs(self) -> Self:
        if self.vlan is not None and self.switch == "linux":
            raise ValueError("vlan is for Open vSwitch bridges; libvirt sets none on a Linux bridge")
        return self


class Mark(Model):
    """Whose a guest is, kept in the definition's ``<metadata>``.

    id
        The id of the minion that made it.
    pool, index
        The pool it belongs to and its place there.
    made
        When it was made, in seconds since 1970; a record, never a difference.
    """

    id: Word
    pool: Name = UNDECLARED
    index: Annotated[Number, Field(ge=0)] = UNDECLARED
    made: Annotated[Number, Field(ge=0)] = UNDECLARED


class Hardware(Model):
    """What guests of one kind have in common; nothing in it names one guest."""

    memory: Memory = UNDECLARED
    vcpus: Count = UNDECLARED
    type: Literal["auto", "kvm", "qemu"] = "auto"
    machine: Machine = UNDECLARED
    cpu: Word = UNDECLARED
    tcg_cache: Memory | None = None
    boot: Annotated[tuple[Boot, ...], Field(min_length=1)] = UNDECLARED
    console_log: FilePath | None = None
    rng: Flag = UNDECLARED
    autostart: Flag = UNDECLARED
    on_poweroff: Lifecycle = UNDECLARED
    on_reboot: Lifecycle = UNDECLARED
    on_crash: Crash = UNDECLARED

    @model_validator(mode="after")
    def _cache_needs_tcg(self) -> Self:
        if self.tcg_cache is not None and self.type == "kvm":
            raise ValueError("tcg_cache is for QEMU's own emulation (type qemu); KVM translates nothing")
        return self


QEMU_LOG = "/var/log/libvirt/qemu/{}.log"  # what libvirt writes down about a guest's QEMU


class Guest(Hardware):
    """One guest. A list of ``disks`` or ``nics`` that is given is the whole list."""

    name: Name
    uuid: Uuid = UNDECLARED
    disks: tuple[Disk, ...] = UNDECLARED
    nics: tuple[Nic, ...] = UNDECLARED
    corral: Mark = UNDECLARED

    @model_validator(mode="after")
    def _two_logs(self) -> Self:
        if self.console_log == QEMU_LOG.format(self.name):
            raise ValueError(f"console_log {self.console_log} is where libvirt writes QEMU's own log")
        return self

    @model_validator(mode="after")
    def _no_twins(self) -> Self:
        for what, values in (
            ("disk", [disk.path for disk in self.disks or ()]),
            ("MAC address", [nic.mac for nic in self.nics or () if nic.mac]),
        ):
            twins = sorted({value for value in values if values.count(value) > 1})
            if twins:
                raise ValueError(f"{what} {twins[0]} is declared twice")
        return self


def declared_at(name: str) -> str:
    """Return the path of a single guest's declaration."""
    return f"guests.{name}"


class _Stop(Model):
    """How a guest is stopped."""

    shutdown_timeout: Seconds = SHUTDOWN_SECONDS


class _Removal(_Stop):
    """How a guest is taken away."""

    disks: Literal["keep", "delete"] = "keep"


@dataclass(frozen=True)
class Wanted:
    """What a state asks for: a guest and how it should be found.

    guest
        The declared fields.
    state
        ``running``, ``stopped`` or ``absent``.
    owner
        Written into a guest that is created, and the seed of its computed identity.
    delete_disks
        Whether the images of an absent guest go with it.
    shutdown_timeout
        How long a guest may take to power off before it is cut, in seconds.
    """

    guest: Guest
    state: Literal["running", "stopped", "absent"]
    owner: str = field(kw_only=True)
    delete_disks: bool = field(default=False, kw_only=True)
    shutdown_timeout: int = field(default=SHUTDOWN_SECONDS, kw_only=True)

    @classmethod
    def running(cls, name: str, fields: Mapping[str, Any], owner: str) -> Wanted:
        """Return what ``guest.running`` asks for; raises ``Invalid``."""
        return cls(Guest.declare({**fields, "name": name}, at=declared_at(name)), "running", owner=owner)

    @classmethod
    def stopped(cls, name: str, fields: Mapping[str, Any], owner: str) -> Wanted:
        """Return what ``guest.stopped`` asks for; raises ``Invalid``."""
        own = {key: value for key, value in fields.items() if key in _Stop.model_fields}
        stop = _Stop.declare(own, at=declared_at(name))
        guest = Guest.declare(
            {**{k: v for k, v in fields.items() if k not in own}, "name": name}, at=declared_at(name)
        )
        return cls(guest, "stopped", owner=owner, shutdown_timeout=stop.shutdown_timeout)

    @classmethod
    def absent(cls, name: str, options: Mapping[str, Any]) -> Wanted:
        """Return what ``guest.absent`` asks for; raises ``Invalid``."""
        removal = _Removal.declare(options, at=declared_at(name))
        return cls(
            Guest.declare({"name": name}, at=declared_at(name)),
            "absent",
            owner="",
            delete_disks=removal.disks == "delete",
            shutdown_timeout=removal.shutdown_timeout,
        )

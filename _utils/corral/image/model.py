"""What may be declared about a base image, and what is known of one that is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import field_validator

from corral.errors import Invalid
from corral.image.tdl import Line, Tdl, Url
from corral.kinds import AbsolutePath, InterfaceName, Name, Number, Seconds, Sha256, Size, Text, size_bytes
from corral.model import Model, plain

STORE = "/var/lib/libvirt/images/corral"
SEARCH = ("/var/lib/libvirt/images",)  # where overlays are looked for, besides the disks of libvirt's guests
SYSTEM = "qemu:///system"  # libvirt's address for the whole host
KEY_LENGTH = 12
MIB = 1 << 20

Format = Literal["qcow2", "raw"]


class Place(Model):
    """Where the bases are, and where the overlays on them may be."""

    directory: AbsolutePath = STORE
    search: tuple[AbsolutePath, ...] = SEARCH


class NoImage(Place):
    """An image that must not be there."""

    name: Name


class Image(Place):
    """What the images of every source have in common."""

    name: Name
    source: str
    format: Format = "qcow2"
    superseded: Literal["keep", "delete"] = "keep"

    def identity(self) -> dict[str, Any]:
        """Return what a base must have to be the declared one, as far as the declaration tells."""
        return {"format": self.format}

    def secrets(self) -> dict[str, str]:
        """Return what must never be shown, by key."""
        return {}


class Build(Model):
    """How oz builds; none of it but ``auto`` decides what comes out."""

    bridge: InterfaceName | None = None
    memory: Size | None = None
    cpus: Number | None = None
    type: Literal["auto", "kvm", "qemu"] = "auto"
    timeout: Seconds = 1200
    auto: Text | None = None
    uri: Line = SYSTEM

    @field_validator("memory")
    @classmethod
    def _whole_mib(cls, value: str | None) -> str | None:
        if value is not None and (size_bytes(value) % MIB or size_bytes(value) < 64 * MIB):
            raise ValueError(f"{value!r} is not a memory size in whole MiB, at least 64M (512M, 2G)")
        return value

    @field_validator("cpus", "timeout")
    @classmethod
    def _positive(cls, value: int | None) -> int | None:
        if value is not None and value < 1:
            raise ValueError(f"{value} is less than 1")
        return value

    @field_validator("uri")
    @classmethod
    def _on_this_host(cls, value: str) -> str:
        if not value.startswith(("qemu:///", "qemu+unix:///")):
            raise ValueError(f"{value!r} is not a libvirt of this host (qemu:///system)")
        return value


class OzImage(Image):
    """An image that ``oz-install`` builds from a TDL."""

    source: Literal["oz"]
    tdl: Tdl
    build: Build = Build()

    def key(self) -> str:
        """Return the cache key: the same key, the same image, no build."""
        essence = {"tdl": self.tdl.essence(), "auto": self.build.auto}
        text = json.dumps(essence, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "tdl": self.key()}

    def secrets(self) -> dict[str, str]:
        return self.tdl.secrets()


class UrlImage(Image):
    """An image that is fetched and must have a checksum."""

    source: Literal["url"]
    url: Url
    sha256: Sha256
    timeout: Seconds = 3600

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "sha256": self.sha256}


class FileImage(Image):
    """An image that is a file on this host already; the base is a copy of it."""

    source: Literal["file"]
    path: AbsolutePath
    sha256: Sha256 | None = None

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), **({"sha256": self.sha256} if self.sha256 else {})}


SOURCES: Mapping[str, type[Image]] = {"oz": OzImage, "url": UrlImage, "file": FileImage}


def declare(name: str, data: Any) -> Image:
    """Build the model of an image from its declaration, by its ``source``.

    name
        The name of the image.
    data
        What stands under the name in the pillar ``images``, or the arguments of the state.

    Raises ``Invalid``, with sentences that begin with ``images.<name>``.
    """
    at, given = f"images.{name}", plain(data)
    if not isinstance(given, Mapping):
        raise Invalid(f"{at}: is not a mapping")
    if "name" in given:
        raise Invalid(f"{at}.name: unknown key")
    source = given.get("source")
    if source is None:
        raise Invalid(f"{at}.source: is required")
    if not isinstance(source, str) or source not in SOURCES:
        shown = repr(source) if isinstance(source, str) else f"a {type(source).__name__}"
        raise Invalid(f"{at}.source: {shown} is not a source of images ({', '.join(SOURCES)})")
    return SOURCES[source].declare({**given, "name": name}, at=at)


@dataclass(frozen=True)
class Base:
    """A base that is there, as its provenance tells.

    path
        The immutable file, ``<directory>/<name>-<first 12 digits of sha256>.<format>``.
    sha256, size, modified
        Of the file: its content, its bytes, its time of modification in nanoseconds.
    virtual_size
        Bytes of the disk that a guest sees.
    tdl
        The cache key of an oz build.
    file
        What a ``file`` without checksum looked like when it was copied.
    secrets
        Salted digest of the secrets of the declaration, to see that they changed.
    """

    name: str
    path: str
    format: str
    sha256: str
    size: int
    virtual_size: int
    modified: int
    source: str
    origin: str
    built: str
    tools: Mapping[str, str] = field(default_factory=dict)
    tdl: str | None = None
    file: str | None = None
    secrets: str | None = None

    private: ClassVar[tuple[str, ...]] = ("secrets", "modified")


@dataclass(frozen=True)
class Spare:
    """A base that is not, or will not be, the current one of its image."""

    path: str
    used: bool


@dataclass(frozen=True)
class Held:
    """What a store holds of one image, and what its source offers.

    base, condition
        The current base; ``intact``, ``touched`` (same content, other times) or ``missing``.
    offer
        What the declared file looks like; ``None`` when it is not there or its checksum is declared.
    same_content
        Whether that file, which does not look like the one that was copied, has the content of the base.
    same_secrets
        Whether the declared secrets are those of the build; true when none is declared.
    spares
        Bases that may go when superseded ones shall be deleted.
    unfinished
        Remains of runs that were killed.
    users, unknown
        Who uses a base of the image, and what is not known of that; looked for only when it shall be absent.
    """

    base: Base | None = None
    condition: Literal["intact", "touched", "missing"] = "intact"
    offer: str | None = None
    same_content: bool = False
    same_secrets: bool = True
    spares: tuple[Spare, ...] = ()
    unfinished: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

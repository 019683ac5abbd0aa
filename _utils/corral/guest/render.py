"""A guest's fields as libvirt's domain XML and back: one table says where each field lives.

Only libvirt's own output is parsed. An existing definition is edited field by field, so that what
the table does not know stays as it is (https://libvirt.org/formatdomain.html).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from corral.guest import devices
from corral.guest.element import attribute, drop, dump_kib, load_kib, prune, reach, read_tree, text, whole

NAMESPACE = "urn:saltext:corral:guest"
MARK = "corral:guest"  # names are kept with their prefixes: see read_tree
NUMBERS = ("index", "made")  # those parts of the mark that are not text
CPU_MODES = ("host-passthrough", "host-model", "maximum")
URANDOM = "/dev/urandom"

# What every guest of ours has and nobody declares; the empty elements only fix where declared ones stand.
# No balloon: a guest has the memory that is declared.
SKELETON = """<domain>
  <name/><uuid/><metadata/><memory/><currentMemory/><vcpu/>
  <os><type>hvm</type></os>
  <features><acpi/></features>
  <clock offset="utc"/>
  <devices><serial type="pty"/><memballoon model="none"/></devices>
</domain>"""


@dataclass(frozen=True)
class Field:
    """How one field is read from a domain and written into it; ``None`` is "not there"."""

    name: str
    get: Callable[[Element], Any]
    put: Callable[[Element, Any], None]


def _get_cpu(domain: Element) -> str | None:
    mode = attribute("cpu", "mode").get(domain)
    return text("cpu/model").get(domain) if mode in (None, "custom") else mode


def _put_cpu(domain: Element, value: str) -> None:
    cpu = reach(domain, "cpu")
    cpu.attrib.clear()
    drop(cpu, "model", "feature")  # a model's features belong to it; topology and NUMA stay
    cpu.set("mode", value if value in CPU_MODES else "custom")
    if value not in CPU_MODES:
        cpu.set("match", "exact")
        ElementTree.SubElement(cpu, "model").text = value


def _get_boot(domain: Element) -> list[str] | None:
    return [boot.get("dev", "") for boot in domain.findall("os/boot")] or None


def _put_boot(domain: Element, value: Sequence[str]) -> None:
    for device in domain.findall("devices/*"):
        drop(device, "boot")  # libvirt takes an order of devices or of kinds, not both
    drop(reach(domain, "os"), "boot")
    for kind in value:
        ElementTree.SubElement(reach(domain, "os"), "boot", dev=kind)


def _get_memory(domain: Element) -> str | None:
    """Return the memory; with a balloon that takes some of it, a text which nobody can declare."""
    whole_size, now = (text(path, load_kib).get(domain) for path in ("memory", "currentMemory"))
    return whole_size if now in (None, whole_size) else f"{now} of {whole_size}"


def _put_memory(domain: Element, value: str) -> None:
    for path in ("memory", "currentMemory"):
        element = reach(domain, path)
        element.attrib.clear()
        element.set("unit", "KiB")
        element.text = dump_kib(value)


def _get_vcpus(domain: Element) -> int | str | None:
    """Return the number of virtual CPUs; when it starts with fewer, a text which nobody can declare."""
    most, now = text("vcpu", whole).get(domain), attribute("vcpu", "current", whole).get(domain)
    return most if now in (None, most) else f"{now} of {most}"


def _put_vcpus(domain: Element, value: int) -> None:
    vcpu = reach(domain, "vcpu")
    vcpu.attrib.pop("current", None)  # fewer at the start than declared would be another number
    vcpu.text = str(value)


def _put_tcg_cache(domain: Element, value: str | None) -> None:
    if value is None:
        prune(domain, "features/tcg/tb-cache")
        return
    cache = reach(domain, "features/tcg/tb-cache")
    cache.set("unit", "KiB")
    cache.text = dump_kib(value)


def _put_console_log(domain: Element, value: str | None) -> None:
    """Let virtlogd keep what the first serial port says; ``virsh console`` goes on working."""
    serial = reach(domain, "devices/serial")
    serial.attrib.setdefault("type", "pty")
    drop(serial, "log")
    for console in domain.findall("devices/console"):
        if attribute("target", "type").get(console) == "serial":
            drop(console, "log")  # libvirt shows the first serial port a second time, as a console
    if value is not None:
        ElementTree.SubElement(serial, "log", file=value, append="on")


def _get_rng(domain: Element) -> bool:
    return domain.find("devices/rng") is not None


def _put_rng(domain: Element, value: bool) -> None:
    if not value:
        drop(reach(domain, "devices"), "rng")
    elif not _get_rng(domain):
        rng = ElementTree.SubElement(reach(domain, "devices"), "rng", model="virtio")
        ElementTree.SubElement(rng, "backend", model="random").text = URANDOM


def _get_mark(domain: Element) -> dict[str, Any] | None:
    for mark in domain.iterfind("metadata/*"):
        if mark.tag == MARK:
            parts = {key: value for key, value in mark.attrib.items() if not key.startswith("xmlns")}
            return {key: whole(value) if key in NUMBERS else value for key, value in parts.items()}
    return None


def _put_mark(domain: Element, value: Mapping[str, Any]) -> None:
    metadata = reach(domain, "metadata")
    drop(metadata, MARK)
    parts = {key: str(part) for key, part in value.items()}
    ElementTree.SubElement(metadata, MARK, {"xmlns:corral": NAMESPACE, **parts})


def _row(name: str, place: Any) -> Field:
    return Field(name, place.get, place.put)


#          field            where libvirt has it
FIELDS: tuple[Field, ...] = (
    _row("name", text("name")),
    _row("uuid", text("uuid")),
    Field("corral", _get_mark, _put_mark),
    _row("type", attribute(".", "type")),
    Field("memory", _get_memory, _put_memory),
    Field("vcpus", _get_vcpus, _put_vcpus),
    _row("machine", attribute("os/type", "machine")),
    Field("boot", _get_boot, _put_boot),
    Field("cpu", _get_cpu, _put_cpu),
    Field("tcg_cache", text("features/tcg/tb-cache", load_kib).get, _put_tcg_cache),
    _row("on_poweroff", text("on_poweroff")),
    _row("on_reboot", text("on_reboot")),
    _row("on_crash", text("on_crash")),
    Field("disks", devices.get_disks, devices.put_disks),
    Field("nics", devices.get_nics, devices.put_nics),
    Field("console_log", attribute("devices/serial[1]/log", "file").get, _put_console_log),
    Field("rng", _get_rng, _put_rng),
)


@dataclass(frozen=True)
class Definition:
    """What a domain's XML says: its fields, and all MAC addresses and files it holds."""

    fields: dict[str, Any]
    macs: frozenset[str]
    files: frozenset[str]


def parse(xml: str) -> Definition:
    """Return what libvirt's inactive XML of a domain says; what is not there is not a key."""
    domain = read_tree(xml)
    values = ((row.name, row.get(domain)) for row in FIELDS)
    return Definition(
        {name: value for name, value in values if value is not None},
        frozenset(mac.get("address", "").lower() for mac in domain.iterfind("devices/interface/mac")),
        frozenset(file for disk in domain.iterfind("devices/disk/source") if (file := disk.get("file"))),
    )


def sources(xml: str) -> Iterator[Mapping[str, str]]:
    """Yield the attributes of each source of a domain's disks, of what is below one or mirrors it, too."""
    for disk in read_tree(xml).iterfind("devices/disk"):
        yield from (source.attrib for source in disk.iter("source"))


def render(fields: Mapping[str, Any]) -> str:
    """Return the XML of a new guest.

    fields
        Complete: with name, UUID, memory, every MAC, and ``type`` no longer ``auto``.
    """
    domain = read_tree(SKELETON)
    _put(domain, fields)
    ElementTree.indent(domain)
    return ElementTree.tostring(domain, encoding="unicode")


def edit(xml: str, fields: Mapping[str, Any]) -> str:
    """Return an existing definition with some fields set, and all else as it was."""
    domain = read_tree(xml)
    _put(domain, fields)
    return ElementTree.tostring(domain, encoding="unicode")


def _put(domain: Element, fields: Mapping[str, Any]) -> None:
    for row in FIELDS:
        if row.name in fields:
            row.put(domain, fields[row.name])

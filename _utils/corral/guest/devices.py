"""Disks and NICs in domain XML: tables like that of ``render``, once per device.

Shown and changed are disks in files and NICs on bridges. Drives and NICs of other kinds (CD-ROM,
block device, libvirt's own networks) are not in the vocabulary and stay as they are.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from corral.guest.element import attribute, drop, prune, reach, whole
from corral.guest.match import pair_disks, pair_nics

Item = Mapping[str, Any]
OFFLOADS = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")  # what a guest may leave to the host's side
TARGETS = {"virtio": "vd", "ide": "hd"}  # prefixes of target names; "sd" for every other bus

DISK = {
    "path": attribute("source", "file"),
    "format": attribute("driver", "type"),
    "bus": attribute("target", "bus"),
}
NIC = {
    "mac": attribute("mac", "address", str.lower),
    "bridge": attribute("source", "bridge"),
    "model": attribute("model", "type"),
}


def _disks(domain: Element) -> list[Element]:
    found = domain.findall("devices/disk[@type='file']")
    return [disk for disk in found if disk.get("device", "disk") == "disk" and DISK["path"].get(disk)]


def _nics(domain: Element) -> list[Element]:
    return domain.findall("devices/interface[@type='bridge']")


def get_disks(domain: Element) -> list[dict[str, Any]]:
    return [_known((name, place.get(disk)) for name, place in DISK.items()) for disk in _disks(domain)]


def get_nics(domain: Element) -> list[dict[str, Any]]:
    return [
        _known(
            [
                *((name, place.get(nic)) for name, place in NIC.items()),
                ("vlan", _get_vlan(nic)),
                ("switch", _get_switch(nic)),
                ("offload", _get_offload(nic)),
            ]
        )
        for nic in _nics(domain)
    ]


def _known(pairs: Any) -> dict[str, Any]:
    return {name: value for name, value in pairs if value is not None}


def _get_vlan(nic: Element) -> int | str | None:
    """Return the access VLAN; a trunk as text, which is no VLAN that could be declared."""
    tags = [tag.get("id", "") for tag in nic.findall("vlan/tag")]
    if attribute("vlan", "trunk").get(nic) == "yes" or len(tags) > 1:
        return f"trunk {','.join(tags)}"
    return whole(tags[0]) if tags else None


def _get_switch(nic: Element) -> str:
    kind = attribute("virtualport", "type").get(nic)
    return {None: "linux", "openvswitch": "ovs"}.get(kind, kind)


def _get_offload(nic: Element) -> bool | str:
    """Return whether all or none is on; a mixture as text, which nobody can declare."""
    off = [name for name in OFFLOADS if attribute("driver/host", name).get(nic) == "off"]
    return "partly" if 0 < len(off) < len(OFFLOADS) else not off


def _put_offload(nic: Element, value: bool) -> None:
    host = reach(nic, "driver/host")
    for name in OFFLOADS:
        host.attrib.pop(name, None)
        if not value:
            host.set(name, "off")
    if not host.attrib:
        prune(nic, "driver/host")


def put_disks(domain: Element, declared: Sequence[Item]) -> None:
    """Make the disks in files those declared."""
    _put_all(domain, _disks(domain), pair_disks(declared, get_disks(domain)), declared, _new_disk, _put_disk)


def put_nics(domain: Element, declared: Sequence[Item]) -> None:
    """Make the NICs on bridges those declared."""
    _put_all(domain, _nics(domain), pair_nics(declared, get_nics(domain)), declared, _new_nic, _put_nic)


def _put_all(
    domain: Element,
    present: list[Element],
    places: list[int | None],
    declared: Sequence[Item],
    new: Callable[[], Element],
    put: Callable[[Element, Element, Item], None],
) -> None:
    devices = reach(domain, "devices")
    for place, element in enumerate(present):
        if place not in places:
            devices.remove(element)
    for known, item in zip(places, declared, strict=True):
        element = new() if known is None else present[known]
        if known is None:
            devices.append(element)
        put(domain, element, item)


def _new_disk() -> Element:
    disk = Element("disk", type="file", device="disk")
    ElementTree.SubElement(disk, "driver", name="qemu")
    return disk


def _put_disk(domain: Element, disk: Element, item: Item) -> None:
    bus = item.get("bus")
    if bus is not None and DISK["bus"].get(disk) != bus:
        drop(disk, "address")  # an address is one of the old bus
        reach(disk, "target").set("dev", _free_target(domain, disk, bus))
    for name, place in DISK.items():
        if name in item:
            place.put(disk, item[name])


def _free_target(domain: Element, disk: Element, bus: str) -> str:
    others = {
        target.get("dev")
        for other in domain.iterfind("devices/disk")
        if other is not disk
        for target in other.iterfind("target")
    }
    letters = string.ascii_lowercase
    suffixes = (*letters, *(first + second for first in letters for second in letters))
    prefix = TARGETS.get(bus, "sd")
    return next(prefix + suffix for suffix in suffixes if prefix + suffix not in others)


def _new_nic() -> Element:
    return Element("interface", type="bridge")


def _put_nic(domain: Element, nic: Element, item: Item) -> None:
    for name, place in NIC.items():
        if name in item:
            place.put(nic, item[name])
    if "switch" in item and _get_switch(nic) != item["switch"]:
        drop(nic, "virtualport")
        if item["switch"] == "ovs":
            ElementTree.SubElement(nic, "virtualport", type="openvswitch")
    if "offload" in item and _get_offload(nic) != item["offload"]:
        _put_offload(nic, item["offload"])
    if "vlan" in item and _get_vlan(nic) != item["vlan"]:
        drop(nic, "vlan")
        if item["vlan"] is not None:
            ElementTree.SubElement(ElementTree.SubElement(nic, "vlan"), "tag", id=str(item["vlan"]))

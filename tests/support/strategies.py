"""Declarations that Hypothesis makes up."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from corral.guest.model import Guest

PRINTABLE = st.characters(codec="utf-8").filter(str.isprintable)
SIZES = st.integers(1, 1 << 20).map(lambda mebibytes: f"{mebibytes}M")
PATHS = st.text(PRINTABLE, min_size=1, max_size=20).map(lambda text: f"/{text}")
WORDS = st.text(PRINTABLE, min_size=1, max_size=10)
NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?", fullmatch=True)
BRIDGES = st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True)
MACS = st.integers(0, 255).map(lambda last: f"52:54:00:00:00:{last:02x}")
WHOLE = st.integers(0, 1 << 31)


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


DISKS = some(
    {"path": PATHS},
    {
        "format": st.sampled_from(["qcow2", "raw"]),
        "bus": st.sampled_from(["virtio", "sata", "scsi", "ide", "usb"]),
    },
)
NICS = st.one_of(
    some(
        {"bridge": BRIDGES},
        {
            "mac": MACS,
            "vlan": st.none() | st.integers(1, 4094),
            "model": st.sampled_from(["virtio", "e1000", "e1000e", "rtl8139"]),
        },
    ),
    some({"bridge": BRIDGES, "offload": st.booleans()}, {"mac": MACS}),
    some({"bridge": BRIDGES, "switch": st.sampled_from(["ovs", "linux"])}, {"mac": MACS}),
)
LIFECYCLES = st.sampled_from(["destroy", "restart", "preserve"])


def guests() -> st.SearchStrategy[Guest]:
    """Return declarations of guests of emulation that could be created."""
    declared = some(
        {"name": NAMES, "memory": SIZES, "type": st.just("qemu")},
        {
            "uuid": st.uuids().map(str),
            "vcpus": st.integers(1, 512),
            "machine": st.sampled_from(["pc", "q35", "pc-q35-7.2"]),
            "cpu": st.sampled_from(["host-model", "maximum"]) | WORDS,
            "tcg_cache": SIZES,
            "boot": st.lists(st.sampled_from(["hd", "network", "cdrom", "fd"]), min_size=1, max_size=3),
            "console_log": PATHS,
            "rng": st.booleans(),
            "autostart": st.booleans(),
            "on_poweroff": LIFECYCLES,
            "on_reboot": LIFECYCLES,
            "on_crash": LIFECYCLES,
            "disks": st.lists(DISKS, max_size=3, unique_by=lambda disk: disk["path"]),
            "nics": st.lists(NICS, max_size=3, unique_by=lambda nic: nic.get("mac", id(nic))),
            "corral": some({"id": WORDS}, {"pool": NAMES, "index": WHOLE, "made": WHOLE}),
        },
    )
    return declared.map(Guest.declare)

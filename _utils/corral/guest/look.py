"""One look at libvirt: every guest of the host, or every file that its guests use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corral.guest.host import RUNNING, STOPPED, Found, Host
from corral.guest.library import library
from corral.guest.needs import missing
from corral.guest.render import parse, sources

# virDomainState, and why, for the states whose reason says something
STATES = ("unknown", RUNNING, RUNNING, "paused", "shutting_down", STOPPED, "crashed", "suspended")
REASONS: Mapping[str, tuple[str, ...]] = {
    "paused": (
        "unknown",
        "user",
        "migration",
        "save",
        "dump",
        "ioerror",
        "watchdog",
        "from_snapshot",
        "shutting_down",
        "snapshot",
        "crashed",
        "starting_up",
        "postcopy",
        "postcopy_failed",
    ),
    STOPPED: (
        "unknown",
        "shutdown",
        "destroyed",
        "crashed",
        "migrated",
        "saved",
        "failed",
        "from_snapshot",
        "daemon",
    ),
    "crashed": ("unknown", "panicked"),
}


def state_of(number: int, reason: int) -> tuple[str, str]:
    """Return a state that libvirt gives as a number, and why a domain is in it."""
    state = STATES[min(number, len(STATES) - 1)]
    reasons = REASONS.get(state, ())
    return state, reasons[reason] if reason < len(reasons) else ""


def guests(connection: Any) -> Host:
    """Return every guest of the host."""
    libvirt = library()
    flags = (
        libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART,
        libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT,
        libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE,
    )
    autostarted, transient, saved = (
        {domain.UUIDString() for domain in connection.listAllDomains(flag)} for flag in flags
    )
    found = {}
    for domain, stats in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE):
        if xml := _xml(domain, libvirt.VIR_DOMAIN_XML_INACTIVE):
            name, uuid = domain.name(), domain.UUIDString()
            found[name] = _found(name, xml, stats, uuid in autostarted, uuid not in transient)
            if uuid in saved:  # libvirtd forgets the reason when it ends
                found[name] = replace(found[name], reason="saved")
    return Host(found)


def _xml(domain: Any, flags: int) -> str:
    """Return a domain's XML, or nothing when the domain went while we looked."""
    libvirt = library()
    try:
        return str(domain.XMLDesc(flags))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return ""
        raise


def _found(name: str, xml: str, stats: Mapping[str, int], autostart: bool, persistent: bool) -> Found:
    state, reason = state_of(stats["state.state"], stats.get("state.reason", 0))
    told = parse(xml)
    return Found(
        name,
        state,
        {**told.fields, "autostart": autostart},
        reason=reason,
        persistent=persistent,
        macs=told.macs,
        files=told.files,
        missing=missing(told.files),
        xml=xml,
    )


def disks(connection: Any) -> dict[str, frozenset[str]]:
    """Return the files of every guest by its name: those defined, and those plugged in since it started."""
    flags = 0, library().VIR_DOMAIN_XML_INACTIVE
    used = {}
    for domain in connection.listAllDomains():
        found = (source for flag in flags if (xml := _xml(domain, flag)) for source in sources(xml))
        used[domain.name()] = frozenset(path for source in found if (path := _path(connection, source)))
    return used


def _path(connection: Any, source: Mapping[str, str]) -> str | None:
    """Return the path of a file or device that libvirt names, also by its storage pool."""
    if "volume" in source:
        pool = connection.storagePoolLookupByName(source["pool"])
        return str(pool.storageVolLookupByName(source["volume"]).path())
    return source.get("file") or source.get("dev")

"""Where the files of a subnet are."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path("/etc/corral/dhcp")
STATE = Path("/var/lib/corral/dhcp")
RUN = Path("/run/corral/dhcp")


def config(subnet: str) -> Path:
    """What dnsmasq is to be started with."""
    return CONFIG / f"{subnet}.conf"


def state(subnet: str) -> Path:
    """What outlives a reboot: the leases, and the reservations by owner."""
    return STATE / subnet


def leases(subnet: str) -> Path:
    return state(subnet) / "leases"


def hosts(subnet: str) -> Path:
    return state(subnet) / "hosts"


def run(subnet: str) -> Path:
    """What is gone with the running dnsmasq."""
    return RUN / subnet


def started(subnet: str) -> Path:
    """A copy of the configuration, taken when dnsmasq starts: what the running one was told."""
    return run(subnet) / "dnsmasq.conf"


def pid(subnet: str) -> Path:
    return run(subnet) / "pid"


def log(subnet: str) -> Path:
    return run(subnet) / "log"


def unread(subnet: str) -> Path:
    """By owner: the reservations that the running dnsmasq has read, while newer ones are on their way."""
    return run(subnet) / "unread"

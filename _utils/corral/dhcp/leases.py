"""The lease file that dnsmasq keeps, and giving leases back to it in a guest's stead."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from corral import netns
from corral.dhcp import files, paths, process
from corral.dhcp.model import Subnet
from corral.dhcp.status import Lease, parse_leases
from corral.dhcp.watch import LeaseWatch
from corral.errors import Unavailable

REST_SECONDS = 10.0
AGAIN_SECONDS = 0.005
AT_ONCE = 64  # packets that surely fit the buffer of dnsmasq's socket


def leases(subnet: str) -> tuple[Lease, ...]:
    """Return the leases of a subnet, by address.

    dnsmasq empties its file and writes it anew, in place, so a reader may meet nothing, or half of it. It
    does not sleep in between: what is read while it sleeps all along is whole.

    Raises ``Unavailable`` when it finds no sleep for long.
    """
    deadline = time.monotonic() + REST_SECONDS
    while True:
        before = _at_rest(subnet)
        text = files.read(paths.leases(subnet))
        if text is None:
            return ()
        if before and before == _at_rest(subnet):
            return parse_leases(text)
        if time.monotonic() > deadline:
            late = f"dnsmasq has not been at rest for {REST_SECONDS:.0f} s, so its leases cannot be read"
            raise Unavailable(f"dhcp.{subnet}: {late}.")
        time.sleep(AGAIN_SECONDS)  # nothing tells when a process goes to sleep


def _at_rest(subnet: str) -> tuple[object, ...] | None:
    """Return what stays the same as long as nobody writes the leases; ``None`` if dnsmasq may do so now."""
    serving = process.find(subnet)
    sleep = process.asleep(serving) if serving else ("it does not run",)
    if sleep is None:
        return None
    file = paths.leases(subnet)
    with files.saying(f"{file} cannot be read"):
        touched = (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else None
    return serving, sleep, touched


def strike_off(subnet: str, macs: set[str]) -> None:
    """Take leases out of the file while no dnsmasq runs, which would write it anew from memory."""
    lines = (files.read(paths.leases(subnet)) or "").splitlines(keepends=True)
    files.write(paths.leases(subnet), "".join(line for line in lines if not macs & set(line.split()[1:2])))


def give_back(subnet: Subnet, theirs: Sequence[Lease], server: IPv4Address, seconds: float) -> None:
    """Send DHCPRELEASE (RFC 2131, 4.4.6) for each lease, and wait until dnsmasq has struck them all off.

    server
        The address that dnsmasq serves the subnet at.
    seconds
        After how long to raise ``Unavailable``.
    """
    deadline = time.monotonic() + seconds
    for start in range(0, len(theirs), AT_ONCE):
        some = theirs[start : start + AT_ONCE]
        with LeaseWatch(paths.leases(subnet.name)) as changed:
            with netns.inside(subnet.namespace, _datagrams) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, subnet.interface.encode())
                for lease in some:
                    sender.sendto(release_packet(lease, server), (str(server), 67))
            while left := set(some) & set(leases(subnet.name)):
                if not changed.wait(deadline - time.monotonic()):
                    addresses = ", ".join(sorted(lease.address for lease in left))
                    raise Unavailable(f"{subnet.at}: dnsmasq has not taken back {addresses}.")


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def release_packet(lease: Lease, server: IPv4Address) -> bytes:
    """Return a DHCPRELEASE: ``ciaddr`` and ``chaddr`` say whose lease, option 54 says to whom."""
    hardware = bytes.fromhex(lease.mac.replace(":", ""))
    whose = (IPv4Address(lease.address).packed, hardware)
    head = struct.pack("!4B4sHH4s12x16s192x", 1, 1, len(hardware), 0, os.urandom(4), 0, 0, *whose)
    options = bytes([0x63, 0x82, 0x53, 0x63, 53, 1, 7, 54, 4]) + server.packed + b"\xff"
    return (head + options).ljust(300, b"\0")

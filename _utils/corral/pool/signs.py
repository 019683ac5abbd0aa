"""The signs of readiness: a lease, an SSH greeting, an open port, or running itself."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from corral.dhcp import wire as dhcp
from corral.dhcp.status import Lease
from corral.dhcp.watch import LeaseWatch
from corral.pool.identity import address
from corral.pool.model import Desired

LOOK_SECONDS = 10.0  # a guest that is busy takes a while to greet
TRY_SECONDS = 2.0  # while it boots, a new try gets through sooner than the old one
AGAIN_SECONDS = 0.5  # nothing tells when a port opens, so it is tried again
GREETING = b"SSH-"  # RFC 4253, 4.2
SSH = 22


class Signs(Protocol):
    """Watches guests for the sign of their readiness."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``look`` is worth a call, or -1."""

    def look(self) -> set[str]:
        """Return the guests whose sign has been seen since the watch began."""

    def expect(self, name: str) -> None:
        """Note that a guest runs from now on."""

    def close(self) -> None:
        """Stop watching."""


class Running:
    """Readiness is to run."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def fileno(self) -> int:
        return -1

    def look(self) -> set[str]:
        return self._seen

    def expect(self, name: str) -> None:
        self._seen.add(name)

    def close(self) -> None:
        """Nothing is open."""


class Leases:
    """Readiness is a lease that has not run out: those of earlier starts are given back before a start.

    watch
        Tells that the leases have changed.
    leased
        Returns the guests that have one.
    """

    def __init__(self, watch: LeaseWatch, leased: Callable[[], set[str]]) -> None:
        self._watch = watch
        self._leased = leased

    def fileno(self) -> int:
        return self._watch.fileno()

    def look(self) -> set[str]:
        self._watch.drain()
        return self._leased()

    def expect(self, name: str) -> None:
        """Every lease of the subnet is watched already."""

    def close(self) -> None:
        self._watch.close()


class Ports:
    """Readiness is a TCP port that opens and, for SSH, greets.

    addresses
        Returns the guests' addresses by name, as far as they have one.
    port, greeting
        Where to connect, and what the guest says first.
    report
        Called, in another thread, when a guest is ready.
    most
        How many guests there are at most.
    """

    def __init__(
        self,
        addresses: Callable[[], Mapping[str, str]],
        port: int,
        greeting: bytes,
        report: Callable[[], None],
        most: int,
    ) -> None:
        self._addresses = addresses
        self._port = port
        self._greeting = greeting
        self._report = report
        self._seen: set[str] = set()
        self._stop = threading.Event()
        self._workers = ThreadPoolExecutor(most)
        self._tries: list[Future[None]] = []

    def fileno(self) -> int:
        return -1

    def look(self) -> set[str]:
        for done in [one for one in self._tries if one.done()]:
            self._tries.remove(done)
            done.result()
        return set(self._seen)

    def expect(self, name: str) -> None:
        self._tries.append(self._workers.submit(self._try, name))

    def _try(self, name: str) -> None:
        try:
            while not self._stop.is_set():
                address = self._addresses().get(name)
                if address and answers(address, self._port, self._greeting, TRY_SECONDS):
                    self._seen.add(name)
                    return
                self._stop.wait(AGAIN_SECONDS)
        finally:
            self._report()

    def close(self) -> None:
        self._stop.set()
        self._workers.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Gate:
    """Where the sign of readiness of a pool's guests is looked for.

    kind
        ``lease``, ``ssh`` or ``port:N``.
    subnet
        The subnet whose leases tell.
    macs
        The guests' MAC addresses on that network, by name.
    reserved
        Their addresses, by name, as far as they are declared.
    """

    kind: str
    subnet: str
    macs: Mapping[str, str]
    reserved: Mapping[str, str]

    @property
    def port(self) -> int:
        return SSH if self.kind == "ssh" else int(self.kind.partition(":")[2])

    @property
    def greeting(self) -> bytes:
        return GREETING if self.kind == "ssh" else b""

    def addresses(self) -> dict[str, str]:
        """Return the addresses that guests have or will have, by name."""
        if len(self.reserved) == len(self.macs):
            return dict(self.reserved)
        there = leased(dhcp.leases(self.subnet))
        return {name: there[mac] for name, mac in self.macs.items() if mac in there}

    def passed(self) -> set[str]:
        """Return the guests whose sign is to be seen now."""
        if self.kind == "lease":
            there = leased(dhcp.leases(self.subnet))
            return {name for name, mac in self.macs.items() if mac in there}
        return answering(self.addresses(), self.port, self.greeting)

    def watch(self, report: Callable[[], None]) -> Leases | Ports:
        """Return what watches for the sign; ``report`` is called when a thread of it has seen one."""
        if self.kind == "lease":
            return Leases(dhcp.watch(self.subnet), self.passed)
        return Ports(self.addresses, self.port, self.greeting, report, max(1, len(self.macs)))


def gate(desired: Desired, guests: Iterable[tuple[int, str, Sequence[str]]]) -> Gate | None:
    """Return where the sign of some guests is looked for; ``None`` when running is all that is asked.

    guests
        Index, name and MAC addresses of each.
    """
    pool = desired.pool
    place = pool.gate
    if pool.boot.ready == "none" or place is None:
        return None
    network = pool.networks[place]
    first = network.addresses.partition("-")[0] if network.addresses else ""
    macs, reserved = {}, {}
    for index, name, nics in guests:
        if len(nics) > place:
            macs[name] = nics[place]
            if first:
                reserved[name] = address(first, index)
    return Gate(pool.boot.ready, str(network.subnet), macs, reserved)


def answers(address: str, port: int, greeting: bytes, seconds: float) -> bool:
    """Whether a TCP port is open and what it says first begins with a greeting."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), seconds) as connection:
        if not greeting:
            return True
        connection.settimeout(seconds)
        return connection.recv(len(greeting)) == greeting
    return False


def answering(addresses: Mapping[str, str], port: int, greeting: bytes) -> set[str]:
    """Return the guests, of some with their addresses, that answer now."""
    if not addresses:
        return set()
    with ThreadPoolExecutor(min(64, len(addresses))) as workers:
        said = workers.map(lambda address: answers(address, port, greeting, LOOK_SECONDS), addresses.values())
        return {name for name, yes in zip(addresses, said, strict=True) if yes}


def leased(leases: Iterable[Lease]) -> dict[str, str]:
    """Return the addresses by MAC address of the leases that have not run out."""
    now = time.time()
    return {lease.mac: lease.address for lease in leases if lease.expires == 0 or lease.expires > now}

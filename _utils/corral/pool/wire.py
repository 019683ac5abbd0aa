"""A pool on this host: composed of the guests of libvirt, the store of images and the DHCP server."""

from __future__ import annotations

import contextlib
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Any, TypeVar

from corral.converge import Todo, Wire
from corral.dhcp import wire as dhcp
from corral.dhcp.model import Reservation
from corral.errors import Conflict, Refused
from corral.guest.connections import CALLS_PER_CONNECTION
from corral.guest.host import RUNNING, Found, Host
from corral.guest.model import SHUTDOWN_SECONDS
from corral.guest.wire import Libvirt
from corral.image.store import Store
from corral.kinds import size_bytes
from corral.pool import disks
from corral.pool.boot import Limits, Starter
from corral.pool.evidence import last_words, sent, sentence
from corral.pool.layout import Layout, disks_of, lay_out, macs_of, members
from corral.pool.lock import locked
from corral.pool.model import Desired, Whole
from corral.pool.needs import lacking, undeletable
from corral.pool.plan import OFF, Current, about, created, doomed, redefined
from corral.pool.signs import Gate, Running, Signs, gate
from corral.pool.start import Inbox, Launch
from corral.progress import Progress, silent

AT_ONCE = 16  # guests that are shut down at a time
OVERHEAD = 64 << 20  # bytes that QEMU takes besides the memory of its guest
GOING_OFF = "shutting_down"

Item = TypeVar("Item")
Target = TypeVar("Target", Desired, Whole)


class PoolWire(Wire[Current, Target]):
    """What a declared pool and a pool as a whole have in common.

    desired
        What is asked for.
    tell
        Is told the progress.
    """

    width = AT_ONCE

    def __init__(self, desired: Target, tell: Progress = silent) -> None:
        self.desired: Target = desired
        self.tell = tell
        self.libvirt = Libvirt(connections=-(-self.width // CALLS_PER_CONNECTION))

    def read(self) -> Current:
        return self._look(self.libvirt.read())

    def bare(self) -> Current:
        return self._look(self.libvirt.bare())

    def close(self) -> None:
        self.libvirt.close()

    def ready(self, host: Host) -> frozenset[str]:
        """Return the guests whose sign of readiness is to be seen now."""
        return frozenset()

    def _look(self, host: Host) -> Current:
        """Add to the guests what the rest of the host has: disks, reservations, leases."""
        name = self.desired.name
        files: dict[str, Any] = self._disks(host)
        reserved = {subnet: dhcp.all_reservations(subnet) for subnet in dhcp.subnets()}
        return Current(
            host,
            **files,
            lost=frozenset(base for base in {*files["disks"].values()} if base and not os.path.exists(base)),
            reservations={subnet: owners[name] for subnet, owners in reserved.items() if owners.get(name)},
            ready=self.ready(host),
            taken=frozenset(
                one.mac
                for owners in reserved.values()
                for owner, theirs in owners.items()
                for one in theirs
                if owner != name
            ),
        )

    def _disks(self, host: Host) -> dict[str, Any]:
        """Return what ``Current`` tells of disks."""
        own = [path for found in members(host, self.desired.name).values() for path in disks_of(found)]
        overlays = disks.bases(self.desired.directory, own)
        below = disks.below(
            self.desired.directory, {path: overlays[path] for path in own if path in overlays}
        )
        files: set[str] = {file for found in host.guests.values() for file in found.files}
        files.update(image for chain in below.values() for image in chain)
        real = {*map(os.path.realpath, files)} if overlays.keys() - files else set()
        used = frozenset(path for path in overlays if path in files or os.path.realpath(path) in real)
        return {"disks": overlays, "below": below, "used": used}

    def apply(self, todo: Todo, current: Current, desired: Target) -> None:
        with locked(desired.name):
            self._check(current)
            try:
                disks.sweep(desired.directory)
                self.carry_out(todo, current)
            except Conflict as late:  # by now something may have been written
                raise Refused(str(late)) from None

    @abstractmethod
    def carry_out(self, todo: Todo, current: Current) -> None:
        """Carry out a plan, under the lock of the pool."""

    def _check(self, current: Current) -> None:
        """Raise ``Conflict`` when the pool's guests or disks are no longer those that were planned with."""
        host, name = self.libvirt.read(), self.desired.name
        same = members(host, name) == members(current.host, name)
        if not same or replace(current, **self._disks(host)) != current:
            raise Conflict(f"{self.desired.at}: somebody else changes its guests or disks at the same time.")

    def stop(self, guests: Iterable[Found], seconds: float) -> None:
        """Power guests off, many at a time; each is cut if it has not gone after some seconds."""
        guests = list(guests)
        gone = _each(AT_ONCE, lambda one: self.libvirt.shutdown(one.name, seconds), guests)
        for done, _ in enumerate(gone, 1):
            self.tell("guests stopped", done, len(guests))

    def remove(self, leaving: Sequence[Found], current: Current, delete: bool, seconds: float) -> None:
        """Take guests away; they are forgotten last, so that a run that was cut off finds them again."""
        self.stop(leaving, seconds)
        for found in leaving:
            if delete:
                disks.remove(doomed(found, current), self.desired.directory)
            self.libvirt.undefine(found.name, nvram=delete)

    def reserve(self, current: Current, layout: Layout) -> None:
        """Have exactly the reservations of a layout, and give back the leases of those that went."""
        wanted: dict[str, list[Reservation]] = {subnet: [] for subnet in current.reservations}
        for reserved in layout.reservations.values():
            for subnet, reservation in reserved:
                wanted.setdefault(subnet, []).append(reservation)
        gone = {mac for found in layout.leaving for mac in macs_of(found)}
        for subnet, reservations in wanted.items():
            dhcp.write_reservations(subnet, self.desired.name, reservations)
            before = {one.mac for one in current.reservations.get(subnet, ())}
            dhcp.release(subnet, gone | before - {one.mac for one in reservations})


class Declared(PoolWire[Desired]):
    """A pool with its declaration."""

    def __init__(self, desired: Desired, tell: Progress = silent) -> None:
        self.width = desired.pool.boot.width.max
        self.store = Store()
        super().__init__(desired, tell)

    def lacks(self, todo: Todo, current: Current, desired: Desired) -> tuple[str, ...]:
        layout = lay_out(current.host, current.taken, desired)
        return lacking(todo, current, desired, layout, self.store)

    def carry_out(self, todo: Todo, current: Current) -> None:
        layout = lay_out(current.host, current.taken, self.desired)
        scale_in = self.desired.pool.scale_in
        self.remove(layout.leaving, current, scale_in.disks == "delete", scale_in.shutdown_timeout)
        disks.remove((step.path[2] for step in todo if step.path[1] == "disks"), self.desired.directory)
        self.reserve(current, layout)
        self._make_disks(current, layout)
        self._define(todo, layout)
        self._start(todo, current, layout)

    def _make_disks(self, current: Current, layout: Layout) -> None:
        paths = [path for path in layout.disks.values() if path not in current.disks]
        if paths:
            size = self.desired.pool.disk.size
            with self.store.hold(self.desired.pool.image, *{os.path.dirname(p) for p in paths}) as base:
                disks.make(base, size_bytes(size) if size else base.virtual_size, paths)

    def _define(self, todo: Todo, layout: Layout) -> None:
        new, changed = created(todo), redefined(todo)
        for guest in layout.guests.values():
            if guest.name in new:
                mark = guest.corral.model_copy(update={"made": int(time.time())})
                self.libvirt.define(guest.model_copy(update={"corral": mark}))
            elif guest.name in changed:
                self.libvirt.define(guest)

    def _start(self, todo: Todo, current: Current, layout: Layout) -> None:
        """Start what does not run, wait for what is not ready, and tell which guests did not make it."""
        off, slow = about(todo, "state"), about(todo, "ready")
        chosen = [
            (i, one.name, [nic.mac for nic in one.nics])
            for i, one in layout.guests.items()
            if one.name in off | slow
        ]
        if not chosen:
            return
        way = gate(self.desired, chosen)
        self._clear(off, current, way)
        waiting, booting = ([name for _, name, _ in chosen if name in some] for some in (off, slow))
        starter = Starter(waiting, booting, self._limits(), time.monotonic())
        self._launch(starter, way)
        if starter.failures:
            raise Refused(self._failures(starter, way))

    def _clear(self, names: Iterable[str], current: Current, way: Gate | None) -> None:
        """See to it that guests that are to start are off, and that a lease they have later is of this start.

        What goes on where it was, paused or saved, has its lease still and asks for no other.
        """
        there = {name: current.host.guests.get(name) for name in names}
        self.stop([one for one in there.values() if one and one.state == GOING_OFF], SHUTDOWN_SECONDS)
        if way:
            new = [name for name, one in there.items() if one is None or _forgets(one)]
            dhcp.release(way.subnet, [way.macs[name] for name in new if name in way.macs])

    def _launch(self, starter: Starter, way: Gate | None) -> None:
        inbox = Inbox()
        self.libvirt.watch(inbox.put)
        signs: Signs = way.watch(lambda: inbox.put("", "sign")) if way else Running()
        with contextlib.closing(inbox), contextlib.closing(signs):
            Launch(starter, self.libvirt.start, signs, inbox, self.tell).run()

    def _limits(self) -> Limits:
        pool = self.desired.pool
        most = pool.boot.width.max
        start = pool.boot.width.start or min(most, len(os.sched_getaffinity(0)) + 1)
        memory = sum(size_bytes(size) for size in (pool.guest.memory, pool.guest.tcg_cache) if size)
        return Limits(start, most, pool.boot.timeout, memory + OVERHEAD)

    def _failures(self, starter: Starter, gate: Gate | None) -> str:
        """Return which guests did not get ready, and what can be seen of them."""
        host = self.libvirt.read()
        addresses = gate.addresses() if gate else {}

        def facts(name: str) -> list[str]:
            found = host.guests.get(name)
            seen = [f"it is {found.state}" if found else "it does not exist"]
            if gate and gate.kind == "lease":
                seen.append(f"no lease of {gate.macs[name]} in {gate.subnet}")
            elif gate:
                seen.append(f"no answer at {addresses.get(name, 'no address')} port {gate.port}")
            packets = sent(gate.macs[name]) if gate else None
            if packets is not None:
                seen.append(f"its NIC has sent {packets} packets")
            words = last_words(found.fields.get("console_log") or "") if found else ""
            return [*seen, f"its console ends with {words!r}"] if words else seen

        total = len(starter.ready) + len(starter.failures)
        return sentence(self.desired.at, total, starter.failures, facts)

    def ready(self, host: Host) -> frozenset[str]:
        there = {i: one for i, one in members(host, self.desired.name).items() if one.state == RUNNING}
        way = gate(self.desired, ((index, one.name, macs_of(one)) for index, one in there.items()))
        return frozenset(way.passed() if way else (one.name for one in there.values()))


class Undeclared(PoolWire[Whole]):
    """A pool as a whole: to be stopped, or to go."""

    def lacks(self, todo: Todo, current: Current, desired: Whole) -> tuple[str, ...]:
        layout = Layout(leaving=tuple(members(current.host, desired.name).values()))
        return tuple(undeletable(todo, current, layout, desired, desired.disks == "delete"))

    def carry_out(self, todo: Todo, current: Current) -> None:
        desired, stopping = self.desired, about(todo, "state")
        there = tuple(members(current.host, desired.name).values())
        if stopping:
            self.stop([found for found in there if found.name in stopping], desired.timeout)
            return
        self.remove(there, current, desired.disks == "delete", desired.timeout)
        self.reserve(current, Layout(leaving=there))
        disks.remove([step.path[2] for step in todo if step.path[1] == "disks"], desired.directory)


def _forgets(found: Found) -> bool:
    """Whether the next start of a guest is a boot, which asks for a lease."""
    return found.state in (*OFF, GOING_OFF) and found.reason != "saved"


def _each(width: int, act: Callable[[Item], object], items: Sequence[Item]) -> Iterator[object]:
    """Do something with every item, some at a time, and yield as they are done; an error ends it."""
    with ThreadPoolExecutor(width) as workers:
        for done in as_completed([workers.submit(act, item) for item in items]):
            yield done.result()

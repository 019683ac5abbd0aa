"""libvirt, by its own library: one look at all guests, and the steps that change one.

A stopped daemon blocks libvirt's calls for ever: every call is made in a thread of its own that is
waited for only so long, and keepalive messages cut a connection whose daemon is gone. All methods
may be called from several threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from corral.converge import Todo, Wire
from corral.errors import Conflict
from corral.guest import look
from corral.guest.connections import WORK_SECONDS, Connections, Watcher, lost
from corral.guest.host import RUNNING, STOPPED, Found, Host
from corral.guest.library import library
from corral.guest.model import SHUTDOWN_SECONDS, Guest, Wanted, declared_at
from corral.guest.needs import delete, lacking, undeletable
from corral.guest.plan import AT_ONCE, definition, settle
from corral.guest.render import edit, parse, render

Answer = TypeVar("Answer")
URI = "qemu:///system"
ANSWER_SECONDS = 10  # for what libvirtd answers by itself
ASK_AGAIN_SECONDS = 10  # a guest that still boots does not hear its power button

DEAF = {"paused", "suspended", "crashed"}  # states in which a guest does not hear its power button
# Why libvirt itself pauses a guest, which then goes on or off without us.
MOMENTARY = {"migration", "save", "dump", "shutting_down", "snapshot", "starting_up", "postcopy"}
NEEDLESS = {(key,) for key in AT_ONCE}  # steps for which no bridge and no disk must be there


class Libvirt(Wire[Host, Wanted]):
    """The guests of one libvirt daemon.

    uri
        Which daemon; default ``qemu:///system``.
    timeout
        Seconds that a simple answer may take; default 10.
    connections
        How many connections carry the calls, four at a time each; default 1.
    """

    def __init__(self, uri: str = URI, *, timeout: float = ANSWER_SECONDS, connections: int = 1) -> None:
        self._line = Connections(uri, timeout, connections)
        self._host: Host | None = None
        self._type = ""

    def read(self) -> Host:
        """Return every guest of the host, with one look."""
        self._host = self._line.call("The guests could not be read", look.guests)
        return self._host

    def bare(self) -> Host:
        self._host = Host()
        return self._host

    def lacks(self, todo: Todo, current: Host, desired: Wanted) -> tuple[str, ...]:
        name = desired.guest.name
        if desired.state == "absent":
            doomed = [step.path[2] for step in todo if step.path[1:2] == ("disks",)]
            if not doomed:
                return ()
            used = self._line.call("The disks of the guests could not be read", look.disks)
            return undeletable(doomed, used, name)
        if all(step.path[1:2] in NEEDLESS or step.new == STOPPED for step in todo):
            return ()
        fields, found = settle(current, desired.guest), current.guests.get(name)
        return lacking(parse(edit(found.xml, fields)).fields if found else fields, declared_at(name))

    def apply(self, todo: Todo, current: Host, desired: Wanted) -> None:
        name, power = desired.guest.name, [step for step in todo if step.path[1:2] == ("state",)]
        if any(step.old == "shutting_down" or step.new == STOPPED for step in power):
            self.shutdown(name, desired.shutdown_timeout)
        if desired.state == "absent":
            for step in todo:
                if step.path[1:2] == ("disks",):
                    delete(step.path[2])
            self.undefine(name, nvram=desired.delete_disks)
            return
        self.define(desired.guest, desired.owner)
        if power and desired.state == RUNNING:
            self.start(name)

    def close(self) -> None:
        self._line.close()

    def define(self, guest: Guest, owner: str = "") -> None:
        """Create a guest's definition, or bring it to the declared fields; the rest of it survives.

        owner
            The minion's id, for a guest that is created and does not say whose it is.

        Raises ``Conflict`` when the definition is not what the last ``read`` saw, ``Refused`` with
        libvirt's text.
        """
        host = self._host or self.read()
        steps, fields = definition(host, guest, owner=owner), settle(host, guest, owner=owner)
        autostart = fields.pop("autostart", None)
        only_autostart = all(step.path[1:] == ("autostart",) for step in steps)

        def act(connection: Any) -> None:
            if not only_autostart:
                self._write(connection, fields, host.guests.get(guest.name))
            if autostart is not None:
                domain = connection.lookupByName(guest.name)
                if bool(domain.autostart()) != autostart:
                    domain.setAutostart(autostart)

        if steps:
            self._line.call(f"{guest.name} could not be defined", act, WORK_SECONDS)

    def _write(self, connection: Any, fields: Mapping[str, Any], planned: Found | None) -> None:
        domain = _lookup(connection, fields["name"])
        if domain is None and planned is None:
            connection.defineXML(render(self._typed(connection, fields)))
            return
        libvirt = library()
        if (
            domain is None
            or planned is None
            or domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) != planned.xml
        ):
            raise Conflict(f"{fields['name']}: somebody else changes its definition at the same time.")
        # with its passwords, or they would be lost; and with its UUID, which makes it a replacement
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        connection.defineXML(edit(domain.XMLDesc(flags), fields))

    def _typed(self, connection: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return fields with ``type: auto`` decided: KVM where this host can, else emulation."""
        kind = fields["type"] if fields["type"] != "auto" else self._type or _best_type(connection)
        self._type = kind if fields["type"] == "auto" else self._type
        without = {"type", "tcg_cache"} if kind == "kvm" else {"type"}
        return {"type": kind, **{key: value for key, value in fields.items() if key not in without}}

    def start(self, name: str) -> None:
        """Have a guest run: start it, or let it go on if it is paused. Raises ``Refused``."""

        libvirt = library()

        def act(connection: Any) -> None:
            domain = connection.lookupByName(name)
            try:
                _go(domain)
            except libvirt.libvirtError:
                # It came first: a start that somebody else asked for, who may have been killed since.
                if look.state_of(*domain.state())[0] != RUNNING:
                    raise

        self._line.call(f"{name} could not be started", act, WORK_SECONDS)

    def shutdown(self, name: str, seconds: float = SHUTDOWN_SECONDS) -> bool:
        """Power a guest off, and cut it if it has not gone after some seconds, or cannot hear that it should.

        Returns whether it went by itself.
        """
        end, what = time.monotonic() + seconds, f"{name} could not be shut down"
        while (left := end - time.monotonic()) > 0:
            before = self._line.stops(name)
            heard = self._line.call(what, lambda connection: _while_on(connection, name, _press))
            if heard is None:
                return True
            if not heard:
                break
            if self._line.stops_after(name, before, min(left, ASK_AGAIN_SECONDS)):
                return True
        return not self.destroy(name)

    def destroy(self, name: str) -> bool:
        """Cut a guest's power; returns whether it was on. Raises ``Refused``."""

        def act(connection: Any) -> bool:
            return _while_on(connection, name, lambda domain: domain.destroy()) is not None

        return self._line.call(f"{name} could not be stopped", act, WORK_SECONDS)

    def undefine(self, name: str, nvram: bool = False) -> None:
        """Forget a guest that does not run; its disks stay. Raises ``Refused``.

        nvram
            Whether its firmware's variables and its TPM's state go, too.
        """
        libvirt = library()
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
        for what in ("NVRAM", "TPM"):  # a TPM's flags are known since libvirt 8.9
            flags |= getattr(libvirt, f"VIR_DOMAIN_UNDEFINE_{'' if nvram else 'KEEP_'}{what}", 0)

        def act(connection: Any) -> None:
            domain = _lookup(connection, name)
            if domain is not None:
                domain.undefineFlags(flags)

        self._line.call(f"{name} could not be undefined", act)

    def watch(self, watcher: Watcher) -> None:
        """Have ``watcher(name, event, reason)`` called, by a thread of libvirt's, for each event.

        Events are ``defined``, ``undefined``, ``started``, ``paused``, ``resumed``, ``stopped``,
        ``shutting_down``, ``suspended`` and ``crashed``; a stop has a reason.
        """
        self._line.watch(watcher)

    def pending(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the fields that a guest's next start will change: ``{field: {"now": …, "next": …}}``."""
        found = (self._host or self.read()).guests[name]
        if not found.active:
            return {}
        what = f"{name} could not be read"
        live = parse(
            self._line.call(what, lambda connection: connection.lookupByName(name).XMLDesc(0))
        ).fields
        keys = sorted({*live, *found.fields} - AT_ONCE)
        pairs = {key: {"now": live.get(key), "next": found.fields.get(key)} for key in keys}
        return {key: pair for key, pair in pairs.items() if pair["now"] != pair["next"]}


def _go(domain: Any) -> None:
    """Do what it takes from the state a domain is in to have it run."""
    state = look.state_of(*domain.state())[0]
    if state == "paused":
        domain.resume()
    elif state == "suspended":
        domain.pMWakeup()
    elif state != RUNNING:
        if state == "crashed":
            domain.destroy()
        domain.create()


def _while_on(connection: Any, name: str, act: Callable[[Any], Answer]) -> Answer | None:
    """Return ``act(domain)``, or ``None`` when the domain is off; it may go off by itself at any moment."""
    libvirt = library()
    domain = _active(connection, name)
    try:
        return None if domain is None else act(domain)
    except libvirt.libvirtError:
        if _active(connection, name) is None:
            return None
        raise


def _active(connection: Any, name: str) -> Any:
    domain = _lookup(connection, name)
    return domain if domain is not None and domain.isActive() else None


def _press(domain: Any) -> bool:
    """Press a domain's power button; returns whether it could be heard, now or in a moment."""
    state, reason = look.state_of(*domain.state())
    if state == RUNNING:
        domain.shutdown()
    return state not in DEAF or (state == "paused" and reason in MOMENTARY)


def _lookup(connection: Any, name: str) -> Any:
    """Return a domain, or ``None`` when there is none of that name."""
    libvirt = library()
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _best_type(connection: Any) -> str:
    libvirt = library()
    try:
        connection.getDomainCapabilities(None, None, None, "kvm")
    except libvirt.libvirtError as error:
        if lost(error):
            raise  # that says nothing about KVM
        return "qemu"
    return "kvm"

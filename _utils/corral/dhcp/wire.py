"""The subnets of this host: the commands, the one look, the one write, and what pools use of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from corral.converge import Todo, Wire
from corral.dhcp import files, paths, process
from corral.dhcp.leases import give_back, leases, strike_off
from corral.dhcp.model import OWN, Reservation, Subnet, faults
from corral.dhcp.plan import Absent, Current, merged
from corral.dhcp.render import configuration, parse
from corral.dhcp.service import supervisor
from corral.dhcp.status import NOT_READ, bound_devices
from corral.dhcp.watch import LeaseWatch
from corral.errors import NotInstalled, Refused, Unavailable

SECONDS = 10.0  # for a command, and for dnsmasq to act
PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin"  # root's; Salt may have been given less


def run(argv: Sequence[str], *, stdin: str = "", seconds: float = SECONDS) -> tuple[int, str]:
    """Run a command and return its exit status and what it said, on one line each."""
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
            timeout=seconds,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise NotInstalled(f"{argv[0]} is not installed.") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(argv)} has not ended after {seconds:.0f} s.") from None
    return done.returncode, done.stdout.strip()


def dnsmasq() -> str:
    """Return where dnsmasq is."""
    found = shutil.which("dnsmasq", path=PATH)
    if not found:
        raise NotInstalled("dnsmasq is not installed (package dnsmasq-base or dnsmasq).")
    return found


def look(subnet: str) -> Current:
    """Read a subnet as it is on this host, dnsmasq's side included."""
    text = files.read(paths.config(subnet))
    serving = process.find(subnet)
    if text is None and serving is None:
        return Current()
    parsed = parse(subnet, text or "")
    strays = files.strays(subnet, OWN)
    return Current(
        fields=parsed.fields,
        lines=parsed.lines + strays,
        strays=parsed.strays + strays,
        reservations={who: files.reservations(subnet, who, serving) for who in files.owners(subnet)},
        running=_running(subnet, text, parsed.fields.get("interface"), serving),
    )


def _running(
    subnet: str, text: str | None, interface: str | None, serving: process.Process | None
) -> bool | str:
    if serving is None:
        return False
    if text is None or files.read(paths.started(subnet)) != text:
        return "with another configuration"
    # The socket stays bound to a removed device, even if a new one has its name: guests get no answer.
    if _bound().get(serving.pid) not in (interface, "", None):  # without a device: this kernel cannot tell
        return "on a device that is gone"
    return supervisor(run, dnsmasq()).flaw(subnet) or True


def _bound() -> dict[int, str]:
    """Return the devices that DHCP servers of this host are bound to; empty where nothing can tell."""
    try:
        status, text = run(["ss", "-Hulnp", "sport", "=", ":67"])
    except NotInstalled:
        return {}
    return bound_devices(text) if status == 0 else {}


class Dnsmasq(Wire[Current, Subnet]):
    """One subnet, for the loop."""

    def __init__(self, desired: Subnet) -> None:
        self.name = desired.name

    def read(self) -> Current:
        dnsmasq()
        return look(self.name)

    def bare(self) -> Current:
        return Current()

    def lacks(self, todo: Todo, current: Current, desired: Subnet) -> tuple[str, ...]:
        whole = merged(current, desired)
        lacking = [*_device_faults(whole), *_neighbours(whole)]
        for owner, theirs in current.reservations.items():
            if owner != OWN:
                at = f"dhcp.{self.name}.reservations.{owner}"
                lacking += faults(whole, owner, theirs, {OWN: whole.reservations}, at)
        return tuple(f"{sentence}." for sentence in lacking)

    def apply(self, todo: Todo, current: Current, desired: Subnet) -> None:
        whole = merged(current, desired)
        text = configuration(whole)
        _test(self.name, text)
        with files.locked(self.name):
            before = _Before(self.name)
            mine = whole.reservations if "reservations" in desired.model_fields_set else before.own
            unread = files.reserve(self.name, OWN, mine, before.serving)
            if current.running is not True or text != before.text:
                try:
                    _start(self.name, text)
                except Refused:
                    before.restore()
                    raise
            elif unread and before.serving:
                process.reload(before.serving)
            files.seen(self.name)


class _Before:
    """A subnet as it was before a start that dnsmasq may refuse."""

    def __init__(self, subnet: str) -> None:
        self.subnet = subnet
        self.text = files.read(paths.config(subnet))
        self.serving = process.find(subnet)
        self.kept = paths.state(subnet).is_dir()
        self.own = files.written(subnet, OWN)
        files.folder(paths.hosts(subnet))

    def restore(self) -> None:
        """Put back what was there, and serve it again if it was served."""
        files.reserve(self.subnet, OWN, self.own, None)
        if self.text is None:
            supervisor(run, dnsmasq()).stop(self.subnet)
            files.remove(paths.config(self.subnet))
        elif self.serving:
            _start(self.subnet, self.text)
        else:
            files.write(paths.config(self.subnet), self.text)
        if not self.kept:
            shutil.rmtree(paths.state(self.subnet), ignore_errors=True)
            shutil.rmtree(paths.run(self.subnet), ignore_errors=True)


class Removal(Wire[Current, Absent]):
    """One subnet that is to go, for the loop; dnsmasq need not be installed for that."""

    def __init__(self, desired: Absent) -> None:
        self.name = desired.name

    def read(self) -> Current:
        return look(self.name)

    def bare(self) -> Current:
        return Current()

    def lacks(self, todo: Todo, current: Current, desired: Absent) -> tuple[str, ...]:
        holders = sorted(who for who, mine in current.reservations.items() if mine and who != OWN)
        return tuple(f"dhcp.{self.name}: {who!r} still has reservations in it." for who in holders)

    def apply(self, todo: Todo, current: Current, desired: Absent) -> None:
        with files.locked(self.name):
            if process.find(self.name) or os.path.isdir("/run/systemd/system"):
                supervisor(run, "dnsmasq").stop(self.name)
            shutil.rmtree(paths.run(self.name), ignore_errors=True)
            shutil.rmtree(paths.state(self.name), ignore_errors=True)
            files.remove(
                paths.config(self.name)
            )  # last: as long as it is there, there is something to remove


def _device_faults(subnet: Subnet) -> Iterator[str]:
    """Yield what keeps dnsmasq from serving the subnet on its device, as of now."""
    at = f"{subnet.at}.interface: {subnet.interface}"
    if subnet.interface not in (name for _, name in socket.if_nameindex()):
        yield f"{at} is no device of this host"
        return
    own = _addresses(subnet.interface)
    if not any(address in subnet.prefix for address in own):
        yield f"{at} has no address in {subnet.network}, so dnsmasq would serve nothing"
    for index, one in enumerate(subnet.reservations):
        if IPv4Address(one.address) in own:
            yield f"{subnet.at}.reservations[{index}].address: {one.address} is this host's own"
    ours = process.find(subnet.name)
    for pid, device in _bound().items():
        if device == subnet.interface and (ours is None or pid != ours.pid):
            yield f"{at} is already served by process {pid}"


def _neighbours(subnet: Subnet) -> Iterator[str]:
    """Yield what two subnets of this host cannot share."""
    for name in subnets():
        other = parse(name, files.read(paths.config(name)) or "").fields if name != subnet.name else {}
        if other.get("interface") == subnet.interface:
            yield f"{subnet.at}.interface: {subnet.interface} is that of the subnet {name!r} already"
        if "network" in other and subnet.prefix.overlaps(IPv4Network(other["network"])):
            yield f"{subnet.at}.network: {subnet.network} overlaps {other['network']} of the subnet {name!r}"


def _addresses(interface: str) -> list[IPv4Address]:
    status, text = run(["ip", "-json", "-4", "address", "show", "dev", interface])
    if status:
        raise Unavailable(f"The addresses of {interface} cannot be read: {text}")
    return [IPv4Address(one["local"]) for link in json.loads(text) for one in link.get("addr_info", ())]


def _test(subnet: str, text: str) -> None:
    """Let dnsmasq read a configuration before it is put anywhere."""
    status, said = run([dnsmasq(), "--test", "--conf-file=-"], stdin=text)
    if status:
        number = re.search(r" at line (\d+)", said)
        line = f" ({text.splitlines()[int(number[1]) - 1]})" if number else ""
        raise Refused(f"dhcp.{subnet}: dnsmasq refuses the configuration: {_reason(said)}{line}")


def _start(subnet: str, text: str) -> None:
    files.write(paths.config(subnet), text)
    try:
        supervisor(run, dnsmasq()).start(subnet)
    except Refused as refused:
        raise Refused(_reason(str(refused))) from None


def _reason(said: str) -> str:
    return re.sub(r"\s*\n\s*", " / ", said.replace("dnsmasq: ", "").strip())


def subnets() -> list[str]:
    """Return the names of the subnets configured on this host."""
    return sorted(file.stem for file in paths.CONFIG.glob("*.conf") if not file.name.startswith("."))


def served(subnet: str) -> Subnet | None:
    """Return a subnet as it is configured on this host; ``None`` if there is none of that name.

    Raises ``Invalid`` when its configuration is too damaged to be a subnet.
    """
    text = files.read(paths.config(subnet))
    if text is None:
        return None
    own = [one.model_dump() for one in read_reservations(subnet, OWN) if one.name != NOT_READ]
    return Subnet.declare({**parse(subnet, text).fields, "reservations": own}, f"dhcp.{subnet}")


def read_reservations(subnet: str, owner: str) -> tuple[Reservation, ...]:
    """Return what is reserved for an owner, by address.

    A reservation that is written but that dnsmasq has not read, because a run was killed in between,
    has the name ``NOT_READ``, so that it equals nothing that is declared.
    """
    return files.reservations(subnet, owner, process.find(subnet))


def all_reservations(subnet: str) -> dict[str, tuple[Reservation, ...]]:
    """Return what is reserved, by owner; the subnet's own are under ``model.OWN``."""
    serving = process.find(subnet)
    return {owner: files.reservations(subnet, owner, serving) for owner in files.owners(subnet)}


def write_reservations(subnet: str, owner: str, reservations: Iterable[Reservation]) -> None:
    """Reserve exactly these for an owner, from now on; no lease is dropped.

    Raises ``Refused`` when there is no such subnet, or when it cannot hold them beside the others' ones.
    """
    mine = tuple(reservations)
    with files.locked(subnet):
        whole = served(subnet)
        if whole is None:
            raise Refused(f"dhcp.{subnet}: there is no such subnet on this host.")
        wrong = faults(whole, owner, mine, all_reservations(subnet), f"dhcp.{subnet}.reservations.{owner}")
        if wrong:
            raise Refused("; ".join(wrong))
        serving = process.find(subnet)
        if files.reserve(subnet, owner, mine, serving):
            if serving:
                process.reload(serving)
            files.seen(subnet)


def watch(subnet: str) -> LeaseWatch:
    """Return what tells of new leases; made before guests are started, it misses none of theirs."""
    return LeaseWatch(paths.leases(subnet))


def release(subnet: str, macs: Iterable[str]) -> None:
    """Give back the leases of guests that are gone for good, so that their addresses are free at once.

    Raises ``Unavailable`` when dnsmasq has not taken them back in time.
    """
    gone = {mac.lower() for mac in macs}
    with files.locked(subnet):
        whole = served(subnet)
        theirs = [lease for lease in leases(subnet) if lease.mac in gone]
        if whole is None or not theirs:
            return
        if process.find(subnet) is None:
            strike_off(subnet, gone)
            return
        here = [address for address in _addresses(whole.interface) if address in whole.prefix]
        if not here:
            raise Unavailable(f"{whole.at}.interface: {whole.interface} has no address in {whole.network}.")
        give_back(subnet, theirs, whole.interface, here[0], SECONDS)

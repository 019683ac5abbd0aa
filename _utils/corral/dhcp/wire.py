"""The subnets of this host: the commands, the one look, the one write, and what pools use of them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from corral import netns
from corral.converge import Todo, Wire
from corral.dhcp import files, paths, process
from corral.dhcp.leases import give_back, leases, strike_off
from corral.dhcp.model import OWN, Reservation, Subnet, faults
from corral.dhcp.plan import Absent, Current, merged
from corral.dhcp.render import configuration, parse
from corral.dhcp.service import supervisor
from corral.dhcp.status import bound_devices
from corral.dhcp.watch import LeaseWatch
from corral.errors import NotInstalled, Refused, Unavailable

SECONDS = 10.0  # for a command, and for dnsmasq to act
PATH = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin"  # root's; Salt may have been given less


def run(argv: Sequence[str], *, stdin: str = "", seconds: float = SECONDS) -> tuple[int, str]:
    """Run a command, without the environment of Salt, and return its exit status and what it said."""
    with files.saying(f"{argv[0]} cannot be run"):
        try:
            done = subprocess.run(
                argv,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "LC_ALL": "C"},
                timeout=seconds,
                encoding="utf-8",
                errors="replace",
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
        running=_running(subnet, text, parsed.fields, serving),
    )


def _running(
    subnet: str, text: str | None, fields: Mapping[str, Any], serving: process.Process | None
) -> bool | str:
    if serving is None:
        return False
    if text is None or files.read(paths.started(subnet)) != text:
        return "with another configuration"
    namespace, interface = fields.get("namespace"), fields.get("interface")
    if process.namespace(serving) != netns.identity(namespace):
        return "in another network namespace"
    # The socket stays bound to a removed device, even if a new one has its name: guests get no answer.
    if _bound(namespace).get(serving.pid) not in (
        interface,
        "",
        None,
    ):  # without a device: this kernel cannot tell
        return "on a device that is gone"
    return supervisor(run, dnsmasq()).flaw(subnet, namespace, serving) or True


def _bound(namespace: str | None) -> dict[int, str]:
    """Return the devices that the DHCP servers of a namespace are bound to; empty where nothing can tell."""
    try:
        status, text = run(netns.command(namespace, "ss", "-Hulnp", "sport", "=", ":67"))
    except NotInstalled:
        return {}
    if status:
        raise Unavailable(f"The DHCP servers of this host cannot be listed: ss: {text}")
    return bound_devices(text)


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
        # What is on disk counts, read by dnsmasq or not: it will have read it when the run is over.
        for owner in files.owners(self.name):
            if owner != OWN:
                at = f"dhcp.{self.name}.reservations.{owner}"
                theirs = files.written(self.name, owner)
                lacking += faults(whole, owner, theirs, {OWN: whole.reservations}, at)
        return tuple(f"{sentence}." for sentence in lacking)

    def apply(self, todo: Todo, current: Current, desired: Subnet) -> None:
        whole = merged(current, desired)
        _test(self.name, configuration(whole))
        with files.locked(self.name):
            before = _Before(self.name)
            mine = whole.reservations if "reservations" in desired.model_fields_set else before.own
            try:
                self._serve(configuration(whole), mine, before, current.running is True)
            except (Refused, Unavailable):
                before.restore()
                raise

    def _serve(self, text: str, mine: Iterable[Reservation], before: _Before, running: bool) -> None:
        files.folder(paths.hosts(self.name))
        unread = files.reserve(self.name, OWN, mine, before.serving)
        if not running or text != before.text:
            _start(self.name, text)
        elif unread and before.serving:
            process.reload(before.serving)
        else:
            return
        files.seen(self.name)


class _Before:
    """A subnet as it was before a change that dnsmasq, or the system, may refuse."""

    def __init__(self, subnet: str) -> None:
        self.subnet = subnet
        self.text = files.read(paths.config(subnet))
        self.serving = process.find(subnet)
        self.kept = paths.state(subnet).is_dir()
        self.own = files.written(subnet, OWN)

    def restore(self) -> None:
        """Put back what was there, and serve it again if it was served; what is as it was stays untouched."""
        files.reserve(self.subnet, OWN, self.own, None)
        if self.text is None:
            supervisor(run, dnsmasq()).stop(self.subnet)
            files.remove(paths.config(self.subnet))
        elif self.serving and process.find(self.subnet) != self.serving:
            _start(self.subnet, self.text)
        elif files.read(paths.config(self.subnet)) != self.text:
            files.write(paths.config(self.subnet), self.text)
        if not self.kept:
            files.remove_folder(paths.state(self.subnet))
            files.remove_folder(paths.run(self.subnet))


class Removal(Wire[Current, Absent]):
    """One subnet that is to go, for the loop; dnsmasq need not be installed for that."""

    def __init__(self, desired: Absent) -> None:
        self.name = desired.name

    def read(self) -> Current:
        return look(self.name)

    def bare(self) -> Current:
        return Current()

    def lacks(self, todo: Todo, current: Current, desired: Absent) -> tuple[str, ...]:
        owners = (who for who in files.owners(self.name) if who != OWN)
        holders = [who for who in owners if files.written(self.name, who)]
        return tuple(f"dhcp.{self.name}: {who!r} still has reservations in it." for who in holders)

    def apply(self, todo: Todo, current: Current, desired: Absent) -> None:
        with files.locked(self.name):
            supervisor(run, "dnsmasq").stop(self.name)
            files.remove_folder(paths.run(self.name))
            files.remove_folder(paths.state(self.name))
            # Last: as long as it is there, there is something to remove.
            files.remove(paths.config(self.name))


def _device_faults(subnet: Subnet) -> Iterator[str]:
    """Yield what keeps dnsmasq from serving the subnet on its device, as of now."""
    at = f"{subnet.at}.interface: {subnet.interface}"
    if not netns.identity(subnet.namespace):
        yield f"{subnet.at}.namespace: there is no network namespace {subnet.namespace!r} on this host"
        return
    where = f"of the namespace {subnet.namespace!r}" if subnet.namespace else "of this host"
    if subnet.interface not in (name for _, name in netns.inside(subnet.namespace, socket.if_nameindex)):
        yield f"{at} is no device {where}"
        return
    own = _addresses(subnet)
    if not any(address in subnet.prefix for address in own):
        yield f"{at} has no address in {subnet.network}, so dnsmasq would serve nothing"
    for index, one in enumerate(subnet.reservations):
        if IPv4Address(one.address) in own:
            yield f"{subnet.at}.reservations[{index}].address: {one.address} is this host's own"
    ours = process.find(subnet.name)
    for pid, device in _bound(subnet.namespace).items():
        if device == subnet.interface and (ours is None or pid != ours.pid):
            yield f"{at} is already served by process {pid}"


def _neighbours(subnet: Subnet) -> Iterator[str]:
    """Yield what two subnets of this host cannot share, unless each has a network namespace to itself."""
    for name in subnets():
        other = parse(name, files.read(paths.config(name)) or "").fields if name != subnet.name else {}
        if other.get("namespace") != subnet.namespace:
            continue
        if other.get("interface") == subnet.interface:
            yield f"{subnet.at}.interface: {subnet.interface} is that of the subnet {name!r} already"
        if "network" in other and subnet.prefix.overlaps(IPv4Network(other["network"])):
            yield f"{subnet.at}.network: {subnet.network} overlaps {other['network']} of the subnet {name!r}"


def _addresses(subnet: Subnet) -> list[IPv4Address]:
    """Return the addresses of the device of a subnet."""
    within = ["-n", subnet.namespace] if subnet.namespace else []
    status, text = run(["ip", *within, "-json", "-4", "address", "show", "dev", subnet.interface])
    if status:
        raise Unavailable(f"The addresses of {subnet.interface} cannot be read: {text}")
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
        supervisor(run, dnsmasq()).start(subnet, parse(subnet, text).fields.get("namespace"))
    except Refused as refused:
        raise Refused(_reason(str(refused))) from None


def _reason(said: str) -> str:
    return re.sub(r"\s*\n\s*", " / ", said.replace("dnsmasq: ", "").strip())


def subnets() -> list[str]:
    """Return the names of the subnets configured on this host."""
    return sorted(file.stem for file in paths.CONFIG.glob("*.conf") if not file.name.startswith("."))


def known(subnet: str) -> str:
    """Return the name of a subnet of this host; raise ``Refused`` if there is none of that name."""
    if subnet not in subnets():
        raise Refused(f"dhcp.{subnet}: there is no such subnet on this host.")
    return subnet


def served(subnet: str) -> Subnet | None:
    """Return a subnet as it is configured on this host; ``None`` if there is none of that name.

    Raises ``Invalid`` when its configuration is too damaged to be a subnet.
    """
    text = files.read(paths.config(subnet))
    if text is None:
        return None
    own = [one.model_dump() for one in files.written(subnet, OWN)]
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
        others = {who: files.written(subnet, who) for who in files.owners(subnet)}  # read or not
        wrong = faults(whole, owner, mine, others, f"dhcp.{subnet}.reservations.{owner}")
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


def release(subnet: str, macs: Iterable[str]) -> list[str]:
    """Give back the leases of guests that are gone for good, so that their addresses are free at once.

    Returns the addresses that were leased to them. Raises ``Unavailable`` when dnsmasq has not taken them
    back in time.
    """
    gone = {mac.lower() for mac in macs}
    with files.locked(subnet):
        whole = served(subnet)
        theirs = [lease for lease in leases(subnet) if lease.mac in gone]
        addresses = [lease.address for lease in theirs]
        if whole is None or not theirs:
            return []
        if process.find(subnet) is None:
            strike_off(subnet, gone)
            return addresses
        here = [address for address in _addresses(whole) if address in whole.prefix]
        if not here:
            raise Unavailable(f"{whole.at}.interface: {whole.interface} has no address in {whole.network}.")
        give_back(whole, theirs, here[0], SECONDS)
        return addresses

"""What a plan of a pool needs of its host and does not find there, as sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from corral.converge import Todo
from corral.dhcp import wire as dhcp
from corral.dhcp.model import Reservation, faults
from corral.errors import Error
from corral.guest.needs import lacking as guest_lacks
from corral.image.overlays import uses
from corral.image.programs import program
from corral.image.store import Store
from corral.kinds import size_bytes
from corral.pool.layout import Layout
from corral.pool.model import Desired, Whole
from corral.pool.plan import Current, about, doomed, redefined
from corral.pool.signs import leased


def lacking(todo: Todo, current: Current, desired: Desired, layout: Layout, store: Store) -> tuple[str, ...]:
    """Return a sentence for each thing that is missing, for what the plan does only."""
    found: list[str] = []
    delete = desired.pool.scale_in.disks == "delete"
    found += undeletable(todo, current, layout, desired, delete)
    if [path for path in layout.disks.values() if path not in current.disks]:
        found += [*_image(desired, store), *_folder(desired)]
    starting = about(todo, "state") | redefined(todo)
    if starting:
        found += _host(desired, layout)
    if starting or about(todo, "reservations", "ready"):
        found += _subnets(desired, layout)
    return tuple(found)


def undeletable(
    todo: Todo, current: Current, layout: Layout, desired: Desired | Whole, delete: bool
) -> Iterator[str]:
    """Yield a sentence for each disk that would go and that something else uses, which does not go."""
    going = [step.path[2] for step in todo if step.path[1] == "disks"]
    for guest in layout.leaving if delete else ():
        going += doomed(guest, current)
    if not going:
        return
    with_them = {f"guest {guest.name}" for guest in layout.leaving} | {*map(os.path.realpath, going)}
    users = uses(sorted({os.path.dirname(desired.directory), *map(os.path.dirname, going)}))
    for path in going:
        for user in users.get(os.path.realpath(path), ()):
            what = f"also a disk of {user}" if user.startswith("guest ") else f"the base of {user}"
            if user not in with_them:
                yield f"{desired.at}.disks: {path} is {what} and is not removed."


def _image(desired: Desired, store: Store) -> Iterator[str]:
    image, size = desired.pool.image, desired.pool.disk.size
    try:
        program("qemu-img")
        base = store.find(image)
    except Error as error:
        yield f"{desired.at}.image: {error}"
        return
    if base is None:
        yield f"{desired.at}.image: there is no image {image} in {store.directory}."
    elif size and size_bytes(size) < base.virtual_size:
        yield f"{desired.at}.disk.size: {size} is less than the {base.virtual_size} bytes of image {image}."


def _folder(desired: Desired) -> Iterator[str]:
    """Yield what keeps the pool's folder, and those above it that are missing, from being made."""
    folder = desired.directory
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        yield f"{desired.at}.disk.directory: {folder} is not a folder."
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"{desired.at}.disk.directory: {folder} cannot be written to."


def _host(desired: Desired, layout: Layout) -> Iterator[str]:
    """Yield what is missing for every guest alike: it is asked for one of them."""
    if not layout.guests:
        return
    fields = next(iter(layout.guests.values())).model_dump(mode="json")
    for sentence in guest_lacks({"nics": fields["nics"]}, desired.at):
        yield sentence.replace(".nics[", ".networks[", 1)
    yield from guest_lacks({"console_log": fields["console_log"]}, f"{desired.at}.guest")


def _subnets(desired: Desired, layout: Layout) -> Iterator[str]:
    for place, network in enumerate(desired.pool.networks):
        if network.subnet is None:
            continue
        at = f"{desired.at}.networks[{place}]"
        macs = {guest.nics[place].mac for guest in layout.guests.values()}
        mine = [one for reserved in layout.reservations.values() for _, one in reserved if one.mac in macs]
        try:
            yield from _subnet(desired, mine, network.subnet, at)
        except Error as error:
            yield f"{at}.subnet: {error}"


def _subnet(desired: Desired, mine: Sequence[Reservation], subnet: str, at: str) -> Iterator[str]:
    whole = dhcp.served(subnet)
    if whole is None:
        yield f"{at}.subnet: there is no DHCP subnet {subnet} on this host."
        return
    running = dhcp.look(subnet).running
    if running is not True:
        yield f"{at}.subnet: the DHCP server of {subnet} does not run{f' ({running})' if running else ''}."
    others = dhcp.all_reservations(subnet)
    for sentence in faults(whole, desired.name, mine, others, f"{at}.addresses"):
        yield f"{sentence}."
    wanted = {one.address: one.mac for one in mine}
    for mac, address in sorted(leased(dhcp.leases(subnet)).items()):
        if address in wanted and wanted[address] != mac:
            yield (
                f"{at}.addresses: {address} is leased to {mac}, so the DHCP server would not give it"
                f" to {wanted[address]}; dhcp.release gives it back."
            )

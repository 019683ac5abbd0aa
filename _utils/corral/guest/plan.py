"""What differs between the guests of a host and a declared one, in an order that may stop anywhere.

A definition comes before the start that needs it; a guest that goes is stopped before its disks are
deleted, and forgotten last, so that a run that was cut off finds again what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corral.change import Change, Path, differences
from corral.converge import Todo
from corral.errors import Invalid, Refused
from corral.guest.host import STOPPED, Found, Host
from corral.guest.identity import guest_mac, guest_uuid
from corral.guest.match import pair_disks, pair_nics
from corral.guest.model import Disk, Guest, Nic, Wanted, declared_at

AT_ONCE = {"autostart", "corral", "persistent"}  # all else is read by QEMU when it starts
ALIASES = {"pc": "pc-i440fx-", "q35": "pc-q35-"}  # libvirt writes down the newest version of these

Fields = dict[str, Any]


def plan(current: Host, desired: Wanted) -> Todo:
    """Return the steps from what is to what a state asks for."""
    guest, at = desired.guest, (desired.guest.name,)
    found = current.guests.get(guest.name)
    if desired.state == "absent":
        return removal(found, desired.delete_disks, at) if found else ()
    if not found and desired.state == STOPPED and guest.declared().keys() == {"name"}:
        return ()
    return (*definition(current, guest, at, owner=desired.owner), *power(found, desired.state, at))


def definition(host: Host, guest: Guest, at: Path = (), *, owner: str = "", where: str = "") -> Todo:
    """Return the steps that define a guest, or bring its definition to the declared fields.

    host
        Everything that may be in the way: other guests' UUIDs, MAC addresses and disks.
    guest
        The declared fields; those of an existing guest that are not declared stay.
    at
        The path that the steps begin with; default: the guest's name.
    owner
        The minion's id, for a guest that is created and does not say whose it is.
    where
        The path that errors begin with; default: ``guests.NAME``.

    Raises ``Invalid`` when a new guest lacks what creation needs, and ``Refused`` for a UUID, MAC
    address or disk that the guest cannot have.
    """
    at, where = at or (guest.name,), where or declared_at(guest.name)
    found = host.guests.get(guest.name)
    fields = settle(host, guest, owner=owner, where=where)
    _check(host, found, fields, where)
    if found is None:
        return (Change(at, None, _shown(fields)),)
    steps = [*_simple(found, fields, at), *_disks(found, fields, at), *_nics(found, fields, at)]
    return tuple(_told(step, found, len(at)) for step in steps)


def power(found: Found | None, state: str, at: Path) -> Todo:
    """Return the step to ``running`` or ``stopped``, if one is due."""
    now = found.state if found else None
    if now == state or (now is None and state == STOPPED):
        return ()
    return (Change((*at, "state"), now, state),)


def removal(found: Found, delete_disks: bool, at: Path) -> Todo:
    """Return the steps that take a guest away; its disks stay unless they are to be deleted."""
    disks = found.fields.get("disks", ()) if delete_disks else ()
    there = (disk for disk in disks if disk["path"] not in found.missing)
    return (
        *power(found, STOPPED, at),
        *(Change((*at, "disks", disk["path"]), disk, None, "data loss") for disk in there),
        Change(at, _shown(found.fields), None),
    )


def settle(host: Host, guest: Guest, *, owner: str = "", where: str = "") -> Fields:
    """Return what is to be written: the declared fields, with identity and defaults for what is new.

    Fields that an existing guest satisfies in another wording are not among them: ``machine: q35``
    must not lift it to a newer version because its memory changes.

    Raises ``Invalid`` when a new guest lacks what creation needs.
    """
    found = host.guests.get(guest.name)
    now = found.fields if found else {}
    if found:
        fields = _reworded(now, guest.declared())
    else:
        fields = _completed(host, guest, owner, where or declared_at(guest.name))
    if "disks" in fields:
        places = pair_disks(fields["disks"], now.get("disks", ()))
        fields["disks"] = list(_filled(fields["disks"], places, guest.disks))
    if "nics" in fields:
        places = pair_nics(fields["nics"], now.get("nics", ()))
        fields["nics"] = list(_filled(fields["nics"], places, guest.nics))
        _address(host, fields["nics"], places, (owner, guest.name))
    return fields


def _completed(host: Host, guest: Guest, owner: str, where: str) -> Fields:
    """Return the fields of a guest that is created: with an identity, and defaults."""
    fields = guest.declared()
    if "memory" not in fields:
        raise Invalid(f"{where}.memory: is required to create the guest")
    computed = guest_uuid(owner, guest.name, taken=host.uuids())
    return {"uuid": computed, "type": "auto", "vcpus": 1, "corral": {"id": owner}, **fields}


def _reworded(now: Mapping[str, Any], declared: Fields) -> Fields:
    """Return declared fields in the words of the guest, without those that leave it the choice it made."""
    fields = dict(declared)
    if fields.get("type") == "auto":
        del fields["type"]
    if now.get("type") == "kvm" and "type" not in fields:
        fields.pop("tcg_cache", None)  # KVM has no such cache
    machine = fields.get("machine", "")
    if now.get("machine", "").startswith(ALIASES.get(machine, "\0")):
        del fields["machine"]
    if "corral" in fields:
        made = {key: value for key, value in now.get("corral", {}).items() if key == "made"}
        fields["corral"] = {**fields["corral"], **made}  # when it was made stays what it is
    return fields


def _filled(
    declared: Sequence[Fields], places: Sequence[int | None], models: Sequence[Disk] | Sequence[Nic]
) -> Iterator[Fields]:
    """Give new devices the defaults of their model; existing ones keep what is not declared."""
    for item, place, model in zip(declared, places, models, strict=True):
        full = {key: value for key, value in model.model_dump(mode="json").items() if value is not None}
        yield full if place is None else item


def _address(host: Host, nics: Sequence[Fields], places: Sequence[int | None], seed: tuple[str, ...]) -> None:
    """Give new NICs without a declared MAC address the computed one."""
    taken = {*host.macs(), *(nic["mac"] for nic in nics if "mac" in nic)}
    for number, (nic, place) in enumerate(zip(nics, places, strict=True)):
        if place is None and "mac" not in nic:
            nic["mac"] = guest_mac(*seed, number, taken=taken)
            taken.add(nic["mac"])


def _check(host: Host, found: Found | None, fields: Fields, where: str) -> None:
    """Refuse what would make two of one, or another one of a guest that is."""
    name = fields["name"]
    if found and fields.get("uuid", found.uuid) != found.uuid:
        raise Refused(f"{where}.uuid: the guest has {found.uuid}, and a guest keeps its UUID.")
    if (other := host.uuids().get(fields.get("uuid", ""), name)) != name:
        raise Refused(f"{where}.uuid: {fields['uuid']} is the UUID of {other}.")
    macs, users = host.macs(), host.files()
    for number, nic in enumerate(fields.get("nics", ())):
        if (other := macs.get(nic.get("mac", ""), name)) != name:
            raise Refused(f"{where}.nics[{number}].mac: {nic['mac']} is the MAC address of {other}.")
    for number, disk in enumerate(fields.get("disks", ())):
        others = sorted(users.get(disk["path"], frozenset()))
        if others and name not in others:
            raise Refused(f"{where}.disks[{number}].path: {disk['path']} is a disk of {others[0]}.")


def _simple(found: Found, fields: Fields, at: Path) -> Iterator[Change]:
    """Compare all fields but the lists of devices."""
    if not found.persistent:
        yield Change((*at, "persistent"), False, True)
    apart = ("name", "uuid", "disks", "nics")
    yield from differences(at, found.fields, {key: fields[key] for key in fields if key not in apart})


def _disks(found: Found, fields: Fields, at: Path) -> Iterator[Change]:
    if "disks" in fields:
        now = found.fields.get("disks", ())
        places = pair_disks(fields["disks"], now)
        yield from _devices((*at, "disks"), "path", now, fields["disks"], places)


def _nics(found: Found, fields: Fields, at: Path) -> Iterator[Change]:
    if "nics" in fields:
        now = found.fields.get("nics", ())
        places = pair_nics(fields["nics"], now)
        yield from _devices((*at, "nics"), "mac", now, fields["nics"], places)


def _devices(
    at: Path, key: str, now: Sequence[Fields], wanted: Sequence[Fields], places: Sequence[int | None]
) -> Iterator[Change]:
    """Compare two lists of devices; each is named by its ``key``, the way the guest has it now."""
    for item, place in zip(wanted, places, strict=True):
        if place is None:
            yield Change((*at, item[key]), None, item)
        else:
            yield from differences((*at, now[place][key]), now[place], item)
    for place, item in enumerate(now):
        if place not in places:
            yield Change((*at, item[key]), item, None)


def _told(step: Change, found: Found, depth: int) -> Change:
    """Say of a step whether a guest that runs sees it only when it starts again."""
    live = step.path[depth] in AT_ONCE or not found.active
    return step if live else Change(step.path, step.old, step.new, "restart")


def _shown(fields: Mapping[str, Any]) -> Fields:
    return {key: value for key, value in fields.items() if key != "name" and value is not None}

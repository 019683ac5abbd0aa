"""The difference between a subnet as served and as declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change, differences
from corral.converge import Todo
from corral.dhcp.model import OWN, Reservation, Subnet, by_address
from corral.dhcp.render import configuration, fixed_lines
from corral.dhcp.status import NOT_READ
from corral.errors import Invalid
from corral.kinds import Name
from corral.model import Model


@dataclass(frozen=True)
class Current:
    """A subnet as it is on this host.

    fields
        What its configuration says, in the vocabulary of :class:`Subnet`; ``None``: there is no such subnet.
    lines, strays
        All lines of its configuration, and those lines of its files that say no field.
    reservations
        By owner, as dnsmasq has read them.
    running
        True: dnsmasq serves this very configuration. Else False, or in words what it does instead.
    """

    fields: Mapping[str, Any] | None = None
    lines: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    reservations: Mapping[str, tuple[Reservation, ...]] = field(default_factory=dict)
    running: bool | str = False

    @property
    def own(self) -> tuple[Reservation, ...]:
        return self.reservations.get(OWN, ())


class Absent(Model):
    """The declaration that there is no subnet of this name."""

    name: Name


def merged(current: Current, desired: Subnet) -> Subnet:
    """Return the whole subnet that the declaration leads to: what is not mentioned stays as it is.

    Raises ``Invalid`` when what stays does not go with what is declared.
    """
    settled = [one.model_dump() for one in current.own if one.name != NOT_READ]
    return Subnet.declare(
        {**(current.fields or {}), "reservations": settled, **desired.declared()}, desired.at
    )


def plan(current: Current, desired: Subnet) -> Todo:
    """Return what leads from the subnet as it is to the declaration.

    The fields are one file, which dnsmasq is given whole and once; the reservations are another.
    """
    whole = merged(current, desired)
    if current.fields is None:
        return (Change((desired.name,), None, shown(whole)),)
    wanted = shown(whole)
    keys = [key for key in Subnet.model_fields if key in desired.model_fields_set and key not in APART]
    todo = differences((desired.name,), _said(current.fields), {key: wanted.get(key) for key in keys})
    todo += _lines(current, whole) + _reservations(current, desired)
    if current.running is not True:
        todo += (Change((desired.name, "running"), current.running, True),)
    return todo


def plan_absent(current: Current, desired: Absent) -> Todo:
    """Return the removal of the subnet, if there is one."""
    if current.fields is None:
        return ()
    was = _said({**current.fields, "reservations": _listed(current.own)})
    return (Change((desired.name,), was, None),)


def shown(subnet: Subnet) -> dict[str, Any]:
    """Return a subnet in the vocabulary of the declaration, without the keys that it does not have."""
    fields = subnet.model_dump(mode="json", exclude={"reservations", "broadcast"})
    return _said({**fields, "reservations": _listed(by_address(subnet.reservations))})


def summary(current: Current) -> dict[str, Any] | None:
    """Return a subnet as it is, with who else has reservations in it; ``None`` if there is no such subnet."""
    if current.fields is None:
        return None
    others = {who: _listed(theirs) for who, theirs in current.reservations.items() if who != OWN}
    said = _said({**current.fields, "reservations": _listed(current.own), "reserved_by": others})
    return {**said, "running": current.running}


# Not compared as values: the name itself, what follows from the network, and what is in a file of its own.
APART = ("name", "broadcast", "reservations")


def _said(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in fields.items() if key != "name" and value not in (None, [], {}, False)
    }


def _listed(reservations: Iterable[Reservation]) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json", exclude_none=True) for one in reservations]


def _lines(current: Current, whole: Subnet) -> Todo:
    """Compare the text with what we would have written for the fields that it says."""
    try:
        expected, present = configuration(Subnet.declare(current.fields)).splitlines(), current.lines
    except Invalid:  # too damaged to be a subnet: the fields show how, and the rest is compared here
        expected, present = list(fixed_lines(whole)), current.strays
    strange = [line for line in present if line not in expected]
    missing = [line for line in expected if line not in present]
    if not strange and not missing:
        return ()
    return (Change((whole.name, "lines"), strange or None, missing or None),)


def _reservations(current: Current, desired: Subnet) -> Todo:
    if "reservations" not in desired.model_fields_set:
        return ()
    was = {one.mac: one.shown() for one in current.own}
    wanted = {one.mac: one.shown() for one in desired.reservations}
    gone = dict.fromkeys(was.keys() - wanted.keys())
    return differences((desired.name, "reservations"), was, {**dict(sorted(gone.items())), **wanted})

"""What ``ovs.topology`` and ``ovs.path`` return: the looks, put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corral import kinds
from corral.errors import Invalid, Refused
from corral.topology import fleet as hosts
from corral.topology.html import html
from corral.topology.mermaid import mermaid
from corral.topology.path import Path
from corral.topology.sheet import sheet
from corral.topology.structure import structure
from corral.topology.svg import svg
from corral.topology.wire import look, traced

FORMATS = ("data", "mermaid", "svg", "html")
MINE = "Nobody has told the Salt mine of ovs.topology: put it into mine_functions of the minions."

Structure = dict[str, Any]


def topology(host: str, timeout: float, told: Mapping[str, Structure] | None, form: str) -> Structure | str:
    """Return this host's network, or that of all hosts, as structure or as a drawing.

    told
        What other hosts have told the Salt mine, by minion id; None for this host alone.
    form
        One of ``FORMATS``.

    Raises ``Invalid`` for another form, ``Refused`` when the mine is asked and has nothing.
    """
    if form not in FORMATS:
        raise Invalid(f"format: {form!r} is not one of {', '.join(FORMATS)}")
    own = structure(host, look(timeout))
    everybody = fleet(own, told)
    if form == "data":
        return own if told is None else hosts.joined(everybody)
    everybody = hosts.known(everybody)
    title = f"Topology of {', '.join(sorted(everybody)) if len(everybody) < 6 else f'{len(everybody)} hosts'}"
    if form == "mermaid":
        return mermaid(everybody)
    return html(everybody, title) if form == "html" else svg(sheet(everybody), title)


def fleet(own: Structure, told: Mapping[str, Structure] | None) -> dict[str, Structure]:
    """Return the hosts' structures by minion id, this one's as it is now."""
    if told is not None and not told:
        raise Refused(MINE)
    if wrong := [host for host, one in (told or {}).items() if not {"nodes", "edges", "notes"} <= set(one)]:
        raise Invalid(f"fleet.{wrong[0]}: is no structure of ovs.topology")
    named = {host: {**one, "host": host} for host, one in (told or {}).items()}
    return {**named, own["host"]: own}


def path(
    host: str,
    called: str,
    *,
    to: str | None,
    nic: int,
    vlan: int | None,
    told: Mapping[str, Structure] | None,
    timeout: float,
) -> dict[str, Any]:
    """Return the way from a guest, a port or a MAC to the wire, or to who is meant.

    told
        What other hosts have told the Salt mine; None to stay on this host.

    Raises ``Invalid`` for a number that is none of a network card or a VLAN, before anything is looked at.
    """
    if isinstance(nic, bool) or not isinstance(nic, int):
        raise Invalid(f"nic: {nic!r} is not a number of a network card, from 0 on")
    try:
        vlan = None if vlan is None else kinds.vlan(vlan)
    except ValueError as wrong:
        raise Invalid(f"vlan: {wrong}") from None
    seen = look(timeout)
    own = structure(host, seen)
    whom = None if to is None else str(to)
    asked = Path(own, seen, str(called), nic=nic, to=whom, fleet=fleet(own, told))
    return asked.ways(lambda bridge, port, tag: traced(timeout, seen, bridge, asked.flow(port, tag)), vlan)

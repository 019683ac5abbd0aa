"""What the functions of Salt's own Open vSwitch module asked and did, on this host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from corral.converge import Todo, converge
from corral.errors import Refused
from corral.ovs import compat
from corral.ovs.host import Host
from corral.ovs.model import Switch
from corral.ovs.wire import Wire

Planner = Callable[..., Todo]  # of the host, the declaration, and ``maker`` by name


def look(timeout: float) -> Host:
    """Return the switch of this host."""
    with Wire("", timeout) as daemon:
        return daemon.look()


def column(table: str, record: str, name: str, timeout: float) -> Any:
    """Return a column as ovsdb-server sends it; ``None`` where there is no such record."""
    with Wire("", timeout, compat.record(table, record, {})) as daemon:
        return compat.value(daemon.look(), name)


def printed(table: str, record: str, name: str, timeout: float) -> list[str] | bool:
    """Return a column as ovs-vsctl(8) prints it, in a list; False where there is no such record."""
    found = column(table, record, name, timeout)
    return False if found is None else [compat.text(found)]


def done(maker: str, timeout: float, declare: Callable[[], Switch], plan: Planner) -> bool:
    """Bring the host to a declaration, and return True; raise ``Refused`` with the reason."""
    answer = converge(
        maker,
        {},
        declare=declare,
        wire=lambda desired: Wire(maker, timeout, desired),
        plan=partial(plan, maker=maker),
    )
    if not answer["result"]:
        raise Refused(answer["comment"])
    return True

"""What the functions of Salt's own Open vSwitch module asked and did, on this host."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from corral.converge import Todo, converge
from corral.errors import Refused
from corral.ovs import compat, wire
from corral.ovs.columns import Record, read
from corral.ovs.host import Host
from corral.ovs.model import Switch
from corral.ovs.operations import select
from corral.ovs.rows import uuids

# Tables whose records ovs-vsctl(8) also calls by the name of what they belong to: its table, and its column.
OWNERS = {
    "AutoAttach": ("Bridge", "auto_attach"),
    "Controller": ("Bridge", "controller"),
    "IPFIX": ("Bridge", "ipfix"),
    "NetFlow": ("Bridge", "netflow"),
    "QoS": ("Port", "qos"),
    "sFlow": ("Bridge", "sflow"),
}
Planner = Callable[..., Todo]  # of the host, the declaration, and ``maker`` by name


class Wire(wire.Wire):
    """The daemons, where a record may be called by the bridge or port to which it belongs alone."""

    def lacks(self, todo: Todo, current: Host, desired: Switch) -> tuple[str, ...]:
        """Add what has no row: a bridge or port of the name, for which it might be taken, is not enough."""
        gone = [
            f"db.{table}.{name}: there is no such record."
            for (table, name), record in current.columns.items()
            if record.row is None and table in OWNERS
        ]
        return tuple(dict.fromkeys((*super().lacks(todo, current, desired), *gone)))

    def _records(self) -> dict[tuple[str, str], Record]:
        found = super()._records()
        for (table, name), record in found.items():
            if record.row is None and table in OWNERS:
                found[table, name] = self._owned(table, name, record)
        return found

    def _owned(self, table: str, owner: str, nothing: Record) -> Record:
        of, column = OWNERS[table]
        (answer,) = self.database.transact([select(of, [column], [["name", "==", owner]])])
        ids = uuids(answer["rows"][0][column]) if answer["rows"] else []
        if len(ids) > 1:
            raise Refused(f"db.{table}.{owner}: are {len(ids)} records: call one by its target or UUID.")
        if not ids:
            return nothing
        where = [["_uuid", "==", ["uuid", ids[0]]]]
        (answer,) = self.database.transact([select(table, ["_uuid", *nothing.types], where)])
        for row in answer["rows"]:
            values = {name: read(kind, row[name]) for name, kind in nothing.types.items()}
            return Record(nothing.types, row, values)
        return nothing


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

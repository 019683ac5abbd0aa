"""Open vSwitch on this host: one read of the database, one guarded write, and ovs-vswitchd's answer to it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from corral import converge
from corral.change import Change
from corral.errors import Invalid, NotInstalled, Refused, Unavailable
from corral.guard import Undo
from corral.ovs import groups
from corral.ovs.back import flows_at_risk, undo
from corral.ovs.columns import ALONE, NAMED_BY, Declared, Record, Type, read, types
from corral.ovs.flows import Difference, Flow, as_declared, commands
from corral.ovs.flows import changes as flow_changes
from corral.ovs.flows import cookie as flow_cookie
from corral.ovs.host import Host, Spec, of_flows, of_groups
from corral.ovs.model import Switch
from corral.ovs.needs import interfaces_touched, lacking, records_needed
from corral.ovs.ofctl import BUNDLES, OpenFlow
from corral.ovs.operations import Operation, operations, select
from corral.ovs.ovsdb import TIMEOUT, Database, JsonRpc, Late
from corral.ovs.parts import ROOT
from corral.ovs.rows import atoms, fault, host, mapping, requests, tables
from corral.ovs.shorthand import written_out

# ovs-ctl and the packages put the database in one of these (ovsdb-server(1), FILES).
DATABASES = ("/etc/openvswitch/conf.db", "/var/lib/openvswitch/conf.db")
NOBODY = "00000000-0000-0000-0000-000000000000"
NOT_ADDED = (-1, ["set", []])  # the ofport of an interface that ovs-vswitchd has not added
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def _rundir() -> Path:
    """Return the folder of the sockets, which Open vSwitch's own tools take from OVS_RUNDIR too."""
    return Path(os.environ.get("OVS_RUNDIR", "/var/run/openvswitch"))


class Wire(converge.Wire[Host, Switch]):
    """The daemons of one host.

    maker
        What the bridges and ports made here are marked with.
    timeout
        Seconds within which each daemon must answer.
    desired
        What is declared: it says which columns and which bridges' flows are worth a look.
    """

    guarded = True

    def __init__(self, maker: str, timeout: float = TIMEOUT, desired: Switch | None = None) -> None:
        self.maker, self.timeout = maker, _seconds(timeout)
        self.database = Database(str(_rundir() / "db.sock"), self.timeout)
        declared = desired.declared() if desired is not None else {}
        self.wanted = written_out(declared.get("bridges", {}))
        self.columns: Declared = declared.get("db", {})

    def read(self) -> Host:
        """Look at the database once ovs-vswitchd has applied it, so that its errors are current."""
        wanted, applied, found = self._look()
        if applied < wanted:
            self._applied(wanted)
            found = self._look()[2]
        asked(self.timeout, "version")  # a switch whose ovs-vswitchd is dead is not as declared
        return found

    def look(self) -> Host:
        """Look at the database, whatever ovs-vswitchd is doing."""
        return self._look()[2]

    def _look(self) -> tuple[int, int, Host]:
        if not os.path.exists(self.database.path):
            raise _not_there("ovsdb-server", self.database.path)
        devices = (
            _devices()
        )  # before the database, or a port made between the two looked like somebody else's
        answers = self.database.transact([select(*request) for request in requests()])
        rows = tables([answer["rows"] for answer in answers])
        if not rows[ROOT]:
            raise Unavailable("The Open vSwitch database is empty: run ovs-vsctl init, or start its service.")
        (one,) = rows[ROOT]
        found = host(rows, devices)
        whole = replace(found, columns=self._records(), flows=self._flows(found))
        whole = replace(whole, groups=self._groups(found))
        return one["next_cfg"], one["cur_cfg"], whole

    def _records(self) -> dict[tuple[str, str], Record]:
        """Read what ``db`` speaks of, with the types that the schema gives."""
        if not self.columns:
            return {}
        schema = self.database.call("get_schema", ["Open_vSwitch"])
        wanted = [(table, name) for table, records in self.columns.items() for name in records]
        kinds = {table: types(table, schema) for table in self.columns}
        answers = self.database.transact([_lookup(table, name, kinds[table]) for table, name in wanted])
        found = {}
        for (table, name), answer in zip(wanted, answers, strict=True):
            row = answer["rows"][0] if answer["rows"] else None
            values = {name: read(kind, row[name]) for name, kind in kinds[table].items()} if row else {}
            found[table, name] = Record(kinds[table], row, values)
        return found

    def _flows(self, current: Host) -> dict[str, Difference]:
        """Compare the flows of each bridge with the declared ones."""
        found = {}
        for name, bridge in self.wanted.bridges.items():
            if not bridge or "flows" not in bridge:
                continue
            spec = current.bridges.get(name)
            flows, openflow = bridge["flows"], self._openflow(bridge, spec)
            there = _connected(name, spec) if spec else set()
            made = there | self._names(name)
            if spec and _in_common(bridge, spec):
                found[name] = openflow.difference(name, flows, flow_cookie(self.maker), made, there)
            else:
                found[name] = as_declared(openflow.spelt(name, flows, made))
        return found

    def _groups(self, current: Host) -> dict[str, groups.Groups]:
        """Read the groups of each bridge, and whose they are, beside the declared ones."""
        found = {}
        for name, bridge in self.wanted.bridges.items():
            if not bridge or "groups" not in bridge:
                continue
            spec, row = current.bridges.get(name), current.rows.bridges.get(name)
            made = self._names(name) | (_connected(name, spec) if spec else set())
            records = groups.records(mapping(row["external_ids"])) if row else {}
            openflow = self._openflow(bridge, spec)
            there = spec is not None and _in_common(bridge, spec)
            found[name] = openflow.groups(name, bridge["groups"], made, there, records)
        return found

    def _names(self, bridge: str) -> set[str]:
        """Return the names that a bridge and what is on it are declared to have."""
        return {last for path, last in self.wanted.names() if path[0] == bridge}

    def bare(self) -> Host:
        return Host({})

    def lacks(self, todo: converge.Todo, current: Host, desired: Switch) -> tuple[str, ...]:
        return (*lacking(todo, current, _devices()), *records_needed(todo, current, self.columns))

    def undo(self, todo: converge.Todo, current: Host, desired: Switch) -> Undo:
        there = [name for name in flows_at_risk(todo) if name in current.bridges]
        flows = {name: self._all_flows(name, current) for name in there}
        return undo(todo, current, flows, {name: self._all_groups(name, current) for name in there})

    def _all_flows(self, bridge: str, current: Host) -> dict[str, Flow]:
        """Return all flows of a bridge; none where none can be read, which is where none can be written."""
        with contextlib.suppress(Refused, Unavailable):
            openflow = self._openflow({}, current.bridges[bridge])
            return dict(openflow.difference(bridge, [], 0, (), ()).here)
        return {}

    def _all_groups(self, bridge: str, current: Host) -> groups.Groups:
        """Return all groups of a bridge; none where none can be read."""
        records = groups.records(mapping(current.rows.bridges[bridge]["external_ids"]))
        with contextlib.suppress(Refused, Unavailable):
            return self._openflow({}, current.bridges[bridge]).groups(bridge, [], (), True, records)
        return groups.Groups()

    def apply(self, todo: converge.Todo, current: Host, desired: Switch) -> None:
        """Write a plan as one transaction, wait for ovs-vswitchd, and raise ``Refused`` with its errors."""
        if not all(of_flows(change) for change in todo):
            results = self.database.transact(operations(current, todo, self.maker))
            (root,) = results[-1]["rows"]
            self._applied(root["next_cfg"])
        faults = self._faults()
        refused = [f"{n}: {faults[n]}" for n in sorted(interfaces_touched(todo, current)) if n in faults]
        if refused:
            raise Refused(f"ovs-vswitchd could not set up {'; '.join(refused)}.")
        self._write_flows([change for change in todo if of_flows(change) or of_groups(change)])

    def _write_flows(self, todo: list[Change]) -> None:
        """Change the groups and flows of each bridge in one bundle: its ports have their numbers now."""
        if not todo:
            return
        now = self._look()[2]
        for bridge in dict.fromkeys(change.path[0] for change in todo):
            mark = flow_cookie(self.maker)
            flows = [change for change in todo if change.path[0] == bridge and of_flows(change)]
            exact = any(change.removes for change in flows)
            left = list(flow_changes(bridge, now.flows[bridge], mark, exact)) if flows else []
            around = list(groups.makings(todo, bridge)), list(groups.removals(todo, bridge))
            if left or any(around):
                openflow = self._openflow(self.wanted.bridges[bridge] or {}, now.bridges[bridge])
                openflow.write(bridge, list(commands(left, mark)), *around)
            if around[1]:
                self._forget(todo, bridge, now)

    def _forget(self, todo: list[Change], bridge: str, now: Host) -> None:
        """Write down that groups are nobody's any more, once they are gone."""
        before = now.groups[bridge].records
        after = groups.forgotten(todo, bridge, before, self.maker)
        self.database.transact([groups.recorded(bridge, before, after)])

    def _openflow(self, declared: Spec, bridge: Spec | None) -> OpenFlow:
        spoken = (bridge or {}).get("protocols")
        protocols = declared.get("protocols", spoken)
        both = [version for version in protocols or () if version in (spoken or ())]
        return OpenFlow(both or protocols or (), self.timeout)

    def _applied(self, wanted: int) -> None:
        """Wait until ovs-vswitchd has applied a configuration (ovs-vswitchd.conf.db(5), cur_cfg)."""
        deadline = time.monotonic() + self.timeout
        follow = ("cur_cfg", "Open_vSwitch")
        changed = self.database.monitor(*follow, ["cur_cfg"])
        while not any(row["new"]["cur_cfg"] >= wanted for row in changed.values() if "new" in row):
            try:
                changed = self.database.update(*follow, deadline)
            except Late:
                raise Unavailable(
                    f"The database has the configuration, but ovs-vswitchd has not applied it within"
                    f" {self.timeout:g} s: is it running?"
                ) from None
        self.database.call("monitor_cancel", [follow[0]])

    def _faults(self) -> dict[str, str | None]:
        """Return what is wrong with the interfaces that ovs-vswitchd has not added, by name."""
        selects = [
            select("Interface", ["name", "error", "ofport"], [["ofport", "==", number]])
            for number in NOT_ADDED
        ]
        return {row["name"]: fault(row) for found in self.database.transact(selects) for row in found["rows"]}

    def close(self) -> None:
        self.database.close()


def _in_common(declared: Spec, bridge: Spec) -> bool:
    """Whether a bridge, as it is, can be asked in a version of OpenFlow that is declared for it."""
    wanted, spoken = declared.get("protocols"), bridge.get("protocols")
    return not (wanted and spoken) or not {*wanted}.isdisjoint({*spoken} & {*BUNDLES})


def _connected(name: str, bridge: Spec) -> set[str]:
    """Return the names that flows of a bridge may use: its own, and those of its interfaces."""
    ports = {port for port, spec in bridge["ports"].items() if "error" not in spec}
    return {name, *ports, *(member for bond in bridge["bonds"].values() for member in bond["members"])}


def _lookup(table: str, name: str, kinds: Mapping[str, Type]) -> Operation:
    """Return what finds a record by its name, its target, or its UUID; ``.`` is the only one of its table."""
    columns = ["_uuid", *kinds]
    if name == "." and table in ALONE:
        return select(table, columns)
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name):
        return select(table, columns, [["_uuid", "==", ["uuid", name]]])
    by = NAMED_BY.get(table, "name")
    return select(table, columns, [[by, "==", name]] if by in kinds else [["_uuid", "==", ["uuid", NOBODY]]])


def _devices() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def _seconds(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise Invalid(f"timeout: {timeout!r} is not a number of seconds above 0")
    return float(timeout)


def asked(timeout: float, *commands: str) -> list[str]:
    """Return ovs-vswitchd's answers on its control socket, which ovs-appctl(8) uses too."""
    timeout = _seconds(timeout)
    pidfile = _rundir() / "ovs-vswitchd.pid"
    try:
        pid = int(pidfile.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        raise _not_there("ovs-vswitchd", str(pidfile)) from None
    daemon = JsonRpc(str(_rundir() / f"ovs-vswitchd.{pid}.ctl"), "ovs-vswitchd", timeout)
    try:
        return [daemon.call(command, []) for command in commands]
    finally:
        daemon.close()


def links(timeout: float) -> dict[str, str]:
    """Return ``up`` or ``down`` by interface."""
    database = Database(str(_rundir() / "db.sock"), _seconds(timeout))
    try:
        (answer,) = database.transact([select("Interface", ["name", "link_state"])])
    finally:
        database.close()
    return {row["name"]: str(state) for row in answer["rows"] for state in atoms(row["link_state"])}


def _not_there(daemon: str, path: str) -> Unavailable:
    """Return the error for a file that a daemon makes when it starts and that is missing."""
    if not shutil.which("ovs-vswitchd", path=PATH):
        return NotInstalled("Open vSwitch is not installed on this host (Debian package openvswitch-switch).")
    if not any(os.path.exists(database) for database in DATABASES):
        return NotInstalled("Open vSwitch has no database on this host: its service has never been started.")
    return Unavailable(f"{daemon} is not running: there is no {path}.")

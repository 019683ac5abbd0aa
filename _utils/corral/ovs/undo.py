"""Leading back from a plan for the switch, when its guard says so."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from corral.change import Change
from corral.converge import ATTEMPTS
from corral.errors import Conflict
from corral.ovs import groups
from corral.ovs.back import back, marks
from corral.ovs.flows import PREFIX, Flow, commands
from corral.ovs.host import Host
from corral.ovs.operations import operations
from corral.ovs.wire import Wire

NOBODY = "guard"  # what is made again has the mark that it had, or none


def revert(data: Mapping[str, Any], network: Any, rebooted: bool) -> None:
    """Lead back from a plan, and return when ovs-vswitchd has applied it."""
    with contextlib.closing(_Reverting(data)) as daemon:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                daemon.lead_back()
                break
            except Conflict:
                if attempt == ATTEMPTS:
                    raise
        daemon.settle()
        if not rebooted:  # flows do not outlast ovs-vswitchd, ours no more than others'
            daemon.restore_flows()


class _Reverting(Wire):
    """The daemons of this host, and what is to be as it was."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(NOBODY)
        self.data = data
        looked_at: dict[str, dict[str, Any]] = {}
        for (table, name, *_), _ in data["columns"]:
            looked_at.setdefault(table, {})[name] = {}
        self.columns = looked_at

    def lead_back(self) -> None:
        """Write all that is not as it was in one transaction, which fails when somebody else is at it."""
        now = self.look()
        todo = back(now, self.data)
        if todo:
            self.database.transact(operations(now, todo, NOBODY, marks(self.data)))

    def settle(self) -> None:
        """Wait until ovs-vswitchd has applied what is in the database."""
        wanted, applied, _ = self._look()
        if applied < wanted:
            self._applied(wanted)

    def restore_flows(self) -> None:
        """Put back the flows and groups that are missing, and take away ours that were not there."""
        now = self.look()
        for bridge, was in self.data["flows"].items():
            if bridge in now.bridges:
                self._restore(bridge, now, {key: Flow(text, cookie) for key, (text, cookie) in was.items()})

    def _restore(self, bridge: str, now: Host, was: Mapping[str, Flow]) -> None:
        switch = self._openflow({}, now.bridges[bridge])
        here = switch.difference(bridge, [], 0, (), ()).here
        lines: list[str] = []
        for key, flow in was.items():
            if here.get(key) != flow:
                lines += commands([Change((bridge, "flows", key), None, flow.text)], flow.cookie)
        for key, flow in here.items():
            if key not in was and flow.cookie >> 32 == PREFIX:
                lines += commands([Change((bridge, "flows", key), flow.text, None)], flow.cookie)
        found = self._all_groups(bridge, now)
        before, records = self.data["groups"].get(bridge, (found.here, groups.written(found.records)))
        todo = list(groups.back(bridge, found, before))
        if lines or todo:
            around = list(groups.makings(todo, bridge)), list(groups.removals(todo, bridge))
            switch.write(bridge, lines, *around)
        if groups.records(records) != found.records:
            self.database.transact([groups.recorded(bridge, found.records, groups.records(records))])

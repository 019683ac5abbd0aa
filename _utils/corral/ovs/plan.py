"""What it takes to bring a switch to its declaration; pure.

Names of bridges, ports and interfaces are one space on a host, so whatever holds a name that the
declaration gives to something else is released just before it is needed: at every step each name is
in one place only. What merely has to go goes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corral.change import Change, Path
from corral.converge import Todo
from corral.errors import Invalid, Refused
from corral.kinds import interface_name
from corral.ovs.host import CHILDREN, DEFAULTS, MAPS, Bridges, Host, Spec, copied, made, step
from corral.ovs.model import NEEDS_LACP, SECRETS, TUNNELS, Switch, Where, names, needs_lacp, vlan_fault

# What a plan says of a new object whether it was mentioned or not.
FRESH: dict[str, Spec] = {
    "bridges": {"datapath_type": "system"},
    "ports": {"type": "system"},
    "bonds": {"mode": "active-backup"},
}
# The only maker whose bridges and ports are purged when no longer declared. Not the id of the state: what was
# made under an id that was changed since would be nobody's, and stay for ever.
MANAGED = "ovs.switch_managed"


def plan(current: Host, desired: Switch, exact: bool = False, within: bool = False) -> Todo:
    """Return the changes from a host's switch to the declaration.

    exact
        Take away what ``switch_managed`` once made and what is no longer declared, and options that
        are not mentioned beside mentioned ones.
    within
        The declaration is a part of bridges that must already be there: make no bridge.

    Raises ``Refused`` or ``Invalid`` when no plan keeps to the declaration.
    """
    wanted = desired.declared()
    claims = {name: _path(where) for where, name in names(desired)}
    planner = _Planner(current, claims, exact, within)
    planner.doom(wanted)
    for name, bridge in wanted.get("bridges", {}).items():
        if bridge is not None:
            planner.bridge(name, bridge)
    for path in list(planner.doomed):
        planner.remove(path)
    return tuple(planner.todo)


def _path(where: Where) -> Path:
    """Return the path of the bridge, port or bond that a place in a declaration belongs to."""
    return tuple(str(step) for step in where[1:4])


class _Planner:
    """The switch as it is after the steps so far, and where each name is in it."""

    def __init__(self, current: Host, claims: Mapping[str, Path], exact: bool, within: bool) -> None:
        self.owners, self.exact, self.within = current.owners, exact, within
        self.claims = claims  # where each name is declared
        self.bridges, self.shared = current.bridges, True
        self.todo: list[Change] = []
        self.doomed: dict[Path, str] = {}  # what must go → "declared" or "purge"
        self.displaced: dict[tuple[str, str], Spec] = {}  # what was released, to be made again elsewhere
        self.holders: dict[str, Path] = {}  # where each name is
        for bridge, spec in self.bridges.items():
            for kind in CHILDREN:
                for name, child in spec[kind].items():
                    self._hold((bridge, kind, name), child)

    # What has to go

    def doom(self, wanted: Mapping[str, Any]) -> None:
        bridges = wanted.get("bridges", {})
        for kind in CHILDREN:
            for name in wanted.get(kind, {}):
                if name in self.bridges:
                    raise Refused(f"{kind}.{name}: is a bridge and goes only with bridges.{name}: null")
                self._doom_port(name)
        for name, bridge in bridges.items():
            if bridge is None and name in self.bridges:
                self.doomed[(name,)] = "declared"
            for kind in CHILDREN:
                for port, settings in (bridge or {}).get(kind, {}).items():
                    if settings is None:
                        self._doom_port(port, on=name)
        if self.exact and "bridges" in wanted:
            self._doom_undeclared(bridges)

    def _doom_port(self, name: str, on: str | None = None) -> None:
        holder = self.holders.get(name)
        if holder and holder[-1] == name and on in (None, holder[0]):
            self.doomed[holder] = "declared"

    def _doom_undeclared(self, bridges: Mapping[str, Any]) -> None:
        for name, spec in self.bridges.items():
            if name not in bridges:
                if self.owners.get(name) == MANAGED:
                    self.doomed[(name,)] = "purge"
                continue
            declared = bridges[name] or {}
            for kind in (kind for kind in CHILDREN if kind in declared):
                for port in sorted(spec[kind].keys() - declared[kind].keys() - {name}):
                    if self.owners.get(port) == MANAGED:
                        self.doomed[name, kind, port] = "purge"

    def remove(self, path: Path) -> None:
        """Take a bridge, port or bond away unless that has already happened."""
        spec = self._spec(path)
        if spec is None:
            return
        if len(path) == 1:
            self._emit(path, spec, None, self._cut_off(path, spec))
            gone = [(name, child) for kind in CHILDREN for name, child in spec[kind].items()]
        else:
            self._emit(path, spec, None)
            self.displaced[path[1], path[2]] = spec
            gone = [(path[2], spec)]
        for name, child in gone:
            for held in (name, *child.get("members", ())):
                self.holders.pop(held, None)

    def _cut_off(self, path: Path, bridge: Spec) -> str:
        """Return what a bridge's removal takes from others; refuse when nobody asked for it by name."""
        others = [name for kind in CHILDREN for name in bridge[kind] if name != path[0]]
        if self.doomed[path] == "purge":
            strange = [name for name in others if self.owners.get(name) != MANAGED]
            if strange:
                raise Refused(
                    f"bridges.{path[0]}: is no longer declared but carries {', '.join(strange)}, which"
                    f" {MANAGED} did not make; move that away, or declare the bridge null to remove it"
                )
        strange = [name for name in others if name not in self.owners]
        return f"disconnects {', '.join(strange)}" if strange else ""

    # What has to be there

    def bridge(self, name: str, declared: Mapping[str, Any]) -> None:
        settings = {key: value for key, value in declared.items() if key not in CHILDREN}
        if name in self.bridges:
            spec = self.bridges[name]
            self._settle((name,), spec, self._merged("bridges", spec, settings))
        else:
            self._claim_bridge(name)
            if self.within:
                self._own()[name] = made("bridges", {}, name)
            else:
                self._emit((name,), None, self._merged("bridges", FRESH["bridges"], settings))
            self._hold((name, "ports", name), {})
        for kind, one in (("bonds", self._bond), ("ports", self._port)):
            for child, spec in declared.get(kind, {}).items():
                if spec is not None:
                    one((name, kind, child), spec)

    def _claim_bridge(self, name: str) -> None:
        holder = self.holders.get(name)
        if holder is None:
            return
        if holder not in self.doomed and holder[:1] not in self.doomed:
            raise Refused(
                f"bridges.{name}: the name is in use by {holder[0]}.{holder[1]}.{holder[2]};"
                f" declare that null first"
            )
        self.remove(holder)

    def _port(self, path: Path, declared: Mapping[str, Any]) -> None:
        there = self.holders.get(path[-1]) == path
        if not there:
            self._release(path[-1], path)
        spec = self._spec(path) if there else self.displaced.get(("ports", path[-1]))
        if path[0] == path[-1] and "type" in declared:
            declared = {**declared, "type": "internal"}  # the local port's default
        new = self._merged("ports", spec or FRESH["ports"], declared)
        if not there or {"type", "options"} & declared.keys():
            _check_type(path, new)
        _check_vlans(path, new, declared)
        if there:
            self._settle(path, spec or {}, new)
        else:
            self._emit(path, None, new)
            self._hold(path, new)

    def _bond(self, path: Path, declared: Mapping[str, Any]) -> None:
        there = self.holders.get(path[-1]) == path
        if not there:
            self._release(path[-1], path)
        spec = self._spec(path) if there else self.displaced.get(("bonds", path[-1]))
        had = (spec or {}).get("members", ())
        members = declared.get("members", self._unclaimed(path, had)) or ()
        new = self._merged("bonds", spec or FRESH["bonds"], {**declared, "members": sorted(members)})
        _check_bond(path, new, declared, there)
        for member in new["members"]:
            self._release(member, path)
        if there:
            self._settle(path, spec or {}, new)
            for member in set(had) - set(new["members"]):
                del self.holders[member]
        else:
            self._emit(path, None, new)
        self._hold(path, new)

    def _unclaimed(self, bond: Path, members: Iterable[str]) -> list[str]:
        """Return the members that a bond keeps unasked: those that are not declared in another place."""
        return [member for member in members if self.claims.get(member, bond) == bond]

    def _release(self, name: str, taker: Path) -> None:
        """Take a name out of the port or bond that holds it now, for ``taker`` to have it."""
        holder = self.holders.get(name)
        if holder is None or holder == taker:
            return
        if name in self.bridges:
            if (name,) not in self.doomed:
                raise Refused(f"bridges.{'.'.join(taker)}: {name} is a bridge on this host")
            self.remove((name,))
            return
        spec = self._spec(holder) or {}
        left = [member for member in spec.get("members", ()) if member != name]
        if holder[-1] == name or not left or holder in self.doomed:
            self.remove(holder)
        else:
            self._emit((*holder, "members"), spec["members"], left)
            del self.holders[name]

    # One object

    def _settle(self, path: Path, spec: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        for change in list(_leaves(path, spec, new)):
            self._emit(change.path, change.old, change.new)

    def _merged(self, kind: str, spec: Mapping[str, Any], declared: Mapping[str, Any]) -> Spec:
        """Return an object's spec with the declared values in it: ``None`` is the default again."""
        new = {key: value for key, value in spec.items() if key not in ("error", *CHILDREN)}
        for key, value in declared.items():
            if key in MAPS:
                purged = self.exact and key == "options"
                kept = {k: v for k, v in new.get(key, {}).items() if not purged or k in SECRETS}
                new[key] = {k: v for k, v in {**kept, **value}.items() if v is not None}
            else:
                new[key] = DEFAULTS[kind].get(key) if value is None else value
        return {key: value for key, value in new.items() if value not in (None, [], {})}

    def _spec(self, path: Path) -> Spec | None:
        node: Any = self.bridges
        for part in path:
            node = node.get(part)
            if node is None:
                return None
        return dict(node)

    def _emit(self, path: Path, old: Any, new: Any, takes: str = "") -> None:
        change = Change(path, old, new, takes)
        self.todo.append(change)
        step(self._own(), change)

    def _own(self) -> Bridges:
        """Return the switch in memory as our own copy, made when it is first needed."""
        if self.shared:
            self.bridges, self.shared = copied(self.bridges), False
        return self.bridges

    def _hold(self, path: Path, spec: Mapping[str, Any]) -> None:
        self.holders[path[-1]] = path
        for member in spec.get("members", ()):
            self.holders[member] = path


def _check_type(path: Path, port: Spec) -> None:
    """Raise ``Invalid`` for what ovs-vswitchd would refuse: no far end, a name that Linux does not take."""
    kind, at = str(port.get("type")), f"bridges.{'.'.join(path)}"
    required = "remote_ip" if kind in TUNNELS else "peer" if kind == "patch" else ""
    if required and required not in port.get("options", {}):
        raise Invalid(f"{at}.options.{required}: is required for type {kind}")
    if kind in ("system", "internal"):
        try:
            interface_name(path[-1])
        except ValueError as wrong:
            raise Invalid(f"{at}: {wrong}") from None


def _check_bond(path: Path, bond: Spec, declared: Mapping[str, Any], there: bool) -> None:
    at = f"bridges.{'.'.join(path)}"
    if not bond.get("members"):
        why = (
            " to make the bond"
            if not there or "members" in declared
            else ", all it has is declared elsewhere"
        )
        raise Invalid(f"{at}.members: is required{why}")
    said = not there or bool({"mode", "lacp"} & declared.keys())
    if said and needs_lacp(bond.get("mode"), bond.get("lacp")):
        raise Invalid(f"{at}.lacp: {NEEDS_LACP}")
    _check_vlans(path, bond, declared)


def _check_vlans(path: Path, new: Spec, declared: Mapping[str, Any]) -> None:
    """Raise ``Invalid`` where what is declared does not go with what is there and was not mentioned."""
    vlans = {key: new.get(key) for key in ("tag", "trunks", "vlan_mode")}
    wrong = vlan_fault(*vlans.values()) if vlans.keys() & declared.keys() else None
    if wrong:
        key, why = wrong
        there = [f"{one}: null (it is {now})" for one, now in vlans.items() if now and one not in declared]
        raise Invalid(f"bridges.{'.'.join((*path, key))}: {why}; or declare {' or '.join(there)}")


def _leaves(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Compare two specs of one object, its maps key by key; the children of a bridge are none of it."""
    for key in dict.fromkeys([*new, *old]):
        if key in CHILDREN:
            continue
        if key in MAPS:
            yield from _leaves((*path, key), old.get(key, {}), new.get(key, {}))
        elif old.get(key) != new.get(key):
            yield Change((*path, key), old.get(key), new.get(key))

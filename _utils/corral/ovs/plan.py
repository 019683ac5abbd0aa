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
from corral.errors import Refused
from corral.ovs import columns, flows, groups
from corral.ovs.host import CHILDREN, DEFAULTS, MAPS, QUIET, Bridges, Host, Spec, copied, made, step
from corral.ovs.model import Switch
from corral.ovs.options import OPTIONS
from corral.ovs.own import SECRETS
from corral.ovs.parts import HANGS, MANY, PARTS, ROOT
from corral.ovs.results import check_bond, check_mirror, check_part, check_type, check_vlans
from corral.ovs.shorthand import Wanted, written_out

# What a plan says of a new object whether it was mentioned or not.
FRESH: dict[str, Spec] = {
    "bridges": {"datapath_type": "system"},
    "ports": {"type": "system"},
    "bonds": {"mode": "active-backup"},
}
# The only maker whose bridges and ports are purged when no longer declared. Not the id of the state: what was
# made under an id that was changed since would be nobody's, and stay for ever.
MANAGED = "ovs.switch_managed"


def plan(
    current: Host, desired: Switch, exact: bool = False, within: bool = False, maker: str = MANAGED
) -> Todo:
    """Return the changes from a host's switch to the declaration.

    exact
        Take away what ``maker`` once made and what is no longer declared, and options that are not
        mentioned beside mentioned ones.
    within
        The declaration is a part of bridges that must already be there: make no bridge.
    maker
        The state function that the declaration is for.

    Raises ``Refused`` or ``Invalid`` when no plan keeps to the declaration.
    """
    declared = desired.declared()
    wanted = written_out(declared.get("bridges", {}))
    planner = _Planner(current, wanted, exact, within, maker)
    planner.doom(declared)
    planner.switch({key: declared[key] for key in (*HANGS[ROOT], *SWITCH_MAPS) if key in declared})
    for name, bridge in wanted.bridges.items():
        if bridge is not None:
            planner.bridge(name, bridge)
    for path in list(planner.doomed):
        planner.remove(path)
    for name, bridge in wanted.bridges.items():
        planner.mirrors(name, bridge or {})
        if bridge is not None and "groups" in bridge:
            found = current.groups.get(name) or groups.as_declared(bridge["groups"])
            planner.todo += groups.changes(name, found, maker, exact)
        if bridge is not None and "flows" in bridge:
            difference = current.flows.get(name) or flows.as_declared(bridge["flows"])
            planner.todo += flows.changes(name, difference, flows.cookie(maker), exact)
    return (*planner.todo, *columns.changes(current.columns, declared.get("db", {})))


SWITCH_MAPS = ("other_config", "external_ids")


class _Planner:
    """The switch as it is after the steps so far, and where each name is in it."""

    def __init__(self, current: Host, wanted: Wanted, exact: bool, within: bool, maker: str) -> None:
        self.current, self.wanted, self.exact, self.maker = current, wanted, exact, maker
        self.owners = current.owners
        self.needed = set(wanted.bridges) if within else wanted.implied  # bridges that must be there already
        self.claims = {name: path for path, name in wanted.names()}  # where each name is declared
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

    def doom(self, declared: Mapping[str, Any]) -> None:
        for kind in CHILDREN:
            for name in declared.get(kind, {}):
                if name in self.bridges:
                    raise Refused(f"{kind}.{name}: is a bridge and goes only with bridges.{name}: null")
                self._doom_port(name)
        for name, bridge in self.wanted.bridges.items():
            if bridge is None and name in self.bridges:
                self.doomed[(name,)] = "declared"
            elif bridge is None:
                self._doom_fake(name)
            for kind in CHILDREN:
                for port, settings in (bridge or {}).get(kind, {}).items():
                    if settings is None:
                        self._doom_port(port, on=name)
        if self.exact and "bridges" in declared:
            self._doom_undeclared()

    def _doom_fake(self, name: str) -> None:
        """Let a fake bridge go with the ports that are on it, as ``ovs-vsctl del-br`` does."""
        holder = self.holders.get(name)
        fake = self._spec(holder) if holder else None
        if holder and fake and fake.get("fake_bridge"):
            for path, spec in self._children(holder[0]):
                if spec.get("tag") == fake.get("tag"):
                    self.doomed[path] = "declared"

    def _children(self, bridge: str) -> list[tuple[Path, Spec]]:
        spec = self.bridges[bridge]
        return [((bridge, kind, name), child) for kind in CHILDREN for name, child in spec[kind].items()]

    def _doom_port(self, name: str, on: str | None = None) -> None:
        holder = self.holders.get(name)
        if holder and (self._spec(holder) or {}).get("fake_bridge") and holder[-1] == name:
            raise Refused(f"ports.{name}: is a fake bridge and goes only with bridges.{name}: null")
        if holder and holder[-1] == name and on in (None, holder[0]):
            self.doomed[holder] = "declared"

    def _doom_undeclared(self) -> None:
        for name in self.bridges:
            if name not in self.wanted.bridges:
                if self.owners.get(name) == self.maker:
                    self.doomed[(name,)] = "purge"
                continue
            declared = self.wanted.bridges[name] or {}
            for path, spec in self._children(name):
                vlans = self.wanted.exact.get((path[0], path[1]), frozenset())
                undeclared = path[2] not in declared.get(path[1], {}) and path[2] != name
                meant = vlans is None or spec.get("tag") in vlans
                if undeclared and meant and self.owners.get(path[2]) == self.maker:
                    self.doomed[path] = "purge"

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
            strange = [name for name in others if self.owners.get(name) != self.maker]
            if strange:
                raise Refused(
                    f"bridges.{path[0]}: is no longer declared but carries {', '.join(strange)}, which"
                    f" {self.maker} did not make; move that away, or declare the bridge null to remove it"
                )
        strange = [name for name in others if name not in self.owners]
        return f"disconnects {', '.join(strange)}" if strange else ""

    # What has to be there

    def switch(self, declared: Mapping[str, Any]) -> None:
        """Plan what is set for the switch as a whole."""
        spec = self.current.switch
        new = self._merged(ROOT, (ROOT,), spec, declared)
        self.todo += _leaves((ROOT,), spec, new)

    def bridge(self, name: str, declared: Mapping[str, Any]) -> None:
        # Mirrors come last: what they name must be there.
        settings = {
            key: value
            for key, value in declared.items()
            if key not in (*CHILDREN, "flows", "groups", "mirrors")
        }
        if name in self.bridges:
            spec = self.bridges[name]
            self._settle((name,), spec, self._merged("bridges", (name,), spec, settings))
        else:
            self._claim_bridge(name)
            if name in self.needed:
                self._own()[name] = made("bridges", {}, name)
            else:
                self._emit((name,), None, self._merged("bridges", (name,), FRESH["bridges"], settings))
            self._hold((name, "ports", name), {})
        for kind, one in (("bonds", self._bond), ("ports", self._port)):
            for child, spec in declared.get(kind, {}).items():
                if spec is not None:
                    one((name, kind, child), spec)

    def mirrors(self, name: str, declared: Mapping[str, Any]) -> None:
        if "mirrors" not in declared:
            return
        spec = self.bridges[name]
        new = self._merged("bridges", (name,), spec, {"mirrors": declared["mirrors"]})
        for mirror, settings in new.get("mirrors", {}).items():
            if mirror in declared["mirrors"]:
                check_mirror((name, "mirrors", mirror), settings, {*spec["ports"], *spec["bonds"]})
        self._settle((name,), spec, {**spec, "mirrors": {}, **new})

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
        moved = [] if there else self._on_fake(path, declared)
        if not there:
            self._release(path[-1], path)
        spec = self._spec(path) if there else self.displaced.get(("ports", path[-1]))
        if path[0] == path[-1] and "type" in declared:
            declared = {**declared, "type": "internal"}  # the local port's default
        new = self._merged("ports", path, self._of_type(spec or FRESH["ports"], declared), declared)
        if not there or {"type", "options"} & declared.keys():
            check_type(path, new)
        check_vlans(path, new, declared)
        if there:
            self._follow(path, spec or {}, new)
            self._settle(path, spec or {}, new)
        else:
            self._emit(path, None, new)
            self._hold(path, new)
        for old, child in moved:
            self.doomed[old] = "declared"
            self.remove(old)
            place = (path[0], *old[1:])
            self._emit(place, None, {**child, "tag": new.get("tag")})
            self._hold(place, child)

    def _on_fake(self, path: Path, declared: Mapping[str, Any]) -> list[tuple[Path, Spec]]:
        """Return what is on a fake bridge that gets another parent and is not declared: it goes along."""
        holder = self.holders.get(path[-1])
        fake = self._spec(holder) if holder else None
        if not (holder and fake and fake.get("fake_bridge") and declared.get("fake_bridge")):
            return []
        return [
            (other, {key: value for key, value in spec.items() if key != "error"})
            for other, spec in self._children(holder[0])
            if other != holder and spec.get("tag") == fake.get("tag") and other[2] not in self.claims
        ]

    def _of_type(self, spec: Spec, declared: Mapping[str, Any]) -> Spec:
        """Return a port's spec without the options that the type declared for it does not have."""
        known = OPTIONS.get(str(declared.get("type") or DEFAULTS["ports"]["type"]))
        if "type" not in declared or declared["type"] == spec.get("type") or "options" not in spec:
            return spec
        kept = {key: value for key, value in spec["options"].items() if known and key in known}
        return {**spec, "options": kept}

    def _bond(self, path: Path, declared: Mapping[str, Any]) -> None:
        there = self.holders.get(path[-1]) == path
        if not there:
            self._release(path[-1], path)
        spec = self._spec(path) if there else self.displaced.get(("bonds", path[-1]))
        had = (spec or {}).get("members", ())
        members = declared.get("members", self._unclaimed(path, had)) or ()
        given = {**declared, "members": sorted(members)}
        new = self._merged("bonds", path, spec or FRESH["bonds"], given)
        check_bond(path, new, declared, there)
        for member in new["members"]:
            self._release(member, path)
        if there:
            self._settle(path, spec or {}, new)
            for member in set(had) - set(new["members"]):
                del self.holders[member]
        else:
            self._emit(path, None, new)
        self._hold(path, new)

    def _follow(self, path: Path, fake: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Take along what is on a fake bridge and is not declared, guests' ports mostly, to its new VLAN."""
        old, tag = fake.get("tag"), new.get("tag")
        if not (fake.get("fake_bridge") and new.get("fake_bridge")) or old in (tag, None):
            return
        for other, spec in self._children(path[0]):
            if other != path and spec.get("tag") == old and other[2] not in self.claims:
                self._emit((*other, "tag"), old, tag)

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

    def _merged(self, kind: str, path: Path, spec: Mapping[str, Any], declared: Mapping[str, Any]) -> Spec:
        """Return an object's spec with the declared values in it: ``None`` is the default again."""
        new = {key: value for key, value in spec.items() if key not in ("error", *CHILDREN)}
        defaults = PARTS[kind].defaults if kind in PARTS else DEFAULTS.get(kind, {})
        for key, value in declared.items():
            if key in MAPS:
                purged = self.exact and key == "options"
                kept = {k: v for k, v in new.get(key, {}).items() if not purged or k in SECRETS}
                new[key] = {k: v for k, v in {**kept, **value}.items() if v is not None}
            elif key in PARTS:
                new[key] = self._hung(key, (*path, key), new.get(key), value)
            elif kind in PARTS and value == defaults.get(key):
                new[key] = None
            else:
                new[key] = defaults.get(key) if value is None else value
        return {
            key: value
            for key, value in new.items()
            if value not in (None, [], {}) and (key not in QUIET or value != QUIET[key])
        }

    def _hung(self, key: str, path: Path, there: Any, declared: Any) -> Any:
        """Return what hangs on an object under a key: several by name, or one."""
        if not PARTS[key].key:
            return None if declared is None else self._part(key, path, there or {}, declared)
        found = dict(there or {})
        for name in there or {}:
            ours = self.current.makers.get((*path, name)) == self.maker
            if self.exact and ours and name not in declared:
                del found[name]
        for name, settings in declared.items():
            if settings is None:
                found.pop(name, None)
            else:
                found[name] = self._part(key, (*path, name), found.get(name, {}), settings)
        return found

    def _part(self, key: str, path: Path, there: Spec, declared: Spec) -> Spec:
        new = self._merged(key, path, there, declared)
        check_part(key, path, new)
        return new

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


def _leaves(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Compare two specs of one object, nested ones key by key; the children of a bridge are none of it."""
    for key in dict.fromkeys([*new, *old]):
        was, now = old.get(key), new.get(key)
        if key in CHILDREN or was == now:
            continue
        here = (*path, key)
        if key in MAPS or key in MANY:
            yield from _entries(key, here, was or {}, now or {})
        elif key in PARTS and was is not None and now is not None:
            yield from _leaves(here, was, now)
        else:
            yield Change(here, was, now)


def _entries(key: str, path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Compare what is under a key by name: texts of a map, or specs of what hangs there."""
    for name in dict.fromkeys([*new, *old]):
        was, now = old.get(name), new.get(name)
        if key in PARTS and was is not None and now is not None:
            yield from _leaves((*path, name), was, now)
        elif was != now:
            yield Change((*path, name), was, now)

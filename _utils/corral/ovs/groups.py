"""OpenFlow groups of a bridge beside the declared ones; pure.

A group has no cookie: whose it is stands in ``external_ids`` of its bridge, one key for each state function
that made some. At every moment these records name at least the groups that are there and ours, so they
are written before groups are made and forgotten after groups are gone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from corral.change import Change
from corral.errors import Invalid, Refused
from corral.ovs.flows import in_actions, named, numbers
from corral.ovs.own import GROUPS

LOCAL = 0xFFFE  # the number of a bridge's own port (OpenFlow 1.3, 7.2.1)
GONE = "not on the bridge"  # what is shown of a group that was ours and that somebody else took away
Records = Mapping[str, frozenset[str]]  # ids by maker


@dataclass(frozen=True)
class Groups:
    """The groups of a bridge by id, each with all of its text that follows the id.

    here
        Those that are there.
    declared
        The declared ones, as they would be read back.
    records
        The ids of those that Corral made, by maker.
    """

    here: Mapping[str, str] = field(default_factory=dict)
    declared: Mapping[str, str] = field(default_factory=dict)
    records: Records = field(default_factory=dict)


def parse(text: str) -> dict[str, str]:
    """Return the groups that ``ovs-ofctl dump-groups`` or ``ofp-parse`` prints."""
    found = (re.search(r"\bgroup_id=(\d+),(type=.*)", line) for line in text.splitlines())
    return {group[1]: unquoted(group[2]) for group in found if group}


def unquoted(text: str) -> str:
    """Return a text without quotes around such names of ports as ovs-ofctl does not quote."""
    return re.sub(r'"([A-Za-z][A-Za-z0-9]*)"', r"\1", text)


def as_declared(groups: Iterable[str]) -> Groups:
    """Return groups in the words of their declaration, for a host without ovs-ofctl."""
    found = {}
    for group in groups:
        rest = re.sub(r"(^|,)\s*group_id\s*=[^,]*,?", r"\1", group, count=1)
        found[str(number(group))] = rest.strip(" ,")
    return Groups(declared=found)


def number(group: str) -> int | None:
    """Return the id that a group is declared with; ``None`` when it has none."""
    head = group.partition("bucket")[0]
    found = re.search(r"(?:^|[,\s])group_id\s*=\s*(0[xX][0-9a-fA-F]+|\d+)\s*(?:,|$)", head)
    return int(found[1], 0 if found[1][:2] in ("0x", "0X") else 10) if found else None


def numbered(bridge: str, groups: Sequence[str], ports: Collection[str]) -> tuple[list[str], dict[str, int]]:
    """Return groups with numbers in place of the names of ports, and these numbers by name."""
    found = numbers(groups, [port for port in ports if port != bridge])
    spelt = []
    for group in groups:
        head, word, buckets = group.partition("bucket")
        spelt.append(head + word + in_actions(buckets, {**found, bridge: LOCAL}))
    return spelt, found


def spelt(bridge: str, groups: Sequence[str], shown: str, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the declared groups of a bridge from what ``ovs-ofctl ofp-parse`` prints of them.

    Raises ``Invalid`` for a setting that the version of OpenFlow has no words for.
    """
    found = {key: unquoted(named(text, ports)) for key, text in parse(shown).items()}
    for group in groups:
        text = found[str(number(group))]
        if "selection_method" in group.partition("bucket")[0] and "selection_method" not in text:
            raise Invalid(
                f"bridges.{bridge}.groups: {group!r} has a selection_method, for which OpenFlow15 must be"
                f" among the protocols of the bridge"
            )
    return found


def records(external_ids: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return what a bridge's ``external_ids`` say of groups that Corral made."""
    return {
        key.removeprefix(GROUPS): frozenset(value.split())
        for key, value in external_ids.items()
        if key.startswith(GROUPS)
    }


def written(found: Records) -> dict[str, str]:
    """Return records as ``external_ids``."""
    return {GROUPS + maker: " ".join(sorted(ids, key=int)) for maker, ids in found.items() if ids}


def changes(bridge: str, groups: Groups, maker: str, exact: bool) -> Iterator[Change]:
    """Yield what it takes to have the declared groups, and of ``maker``'s no others if ``exact``.

    Raises ``Refused`` where somebody else has another group with the same id.
    """
    ours = groups.records.get(maker, frozenset())
    for key, text in groups.declared.items():
        there = groups.here.get(key)
        if there not in (None, text) and key not in ours:
            others = [one for one, ids in groups.records.items() if key in ids]
            whose = f"which {others[0]} made" if others else "which is not Corral's"
            raise Refused(f"bridges.{bridge}.groups: group {key} is there already with {there}, {whose}")
        if there != text:
            yield Change((bridge, "groups", key), there, text)
    for key in sorted(ours - groups.declared.keys(), key=int) if exact else ():
        yield Change((bridge, "groups", key), groups.here.get(key, GONE), None)


def back(bridge: str, groups: Groups, was: Mapping[str, str]) -> Iterator[Change]:
    """Yield what leads back to the groups that were there; others' new ones stay."""
    for key, text in was.items():
        if groups.here.get(key) != text:
            yield Change((bridge, "groups", key), groups.here.get(key), text)
    ours = frozenset().union(*groups.records.values())
    for key, text in groups.here.items():
        if key in ours and key not in was:
            yield Change((bridge, "groups", key), text, None)


def claimed(todo: Iterable[Change], bridge: str, before: Records, maker: str) -> dict[str, frozenset[str]]:
    """Return the records with the groups in them that a plan makes: what is ours now is nobody else's."""
    new = {change.path[2] for change in _of(todo, bridge) if change.new is not None}
    found = {one: ids - new if one != maker else ids for one, ids in before.items()}
    return {**found, maker: before.get(maker, frozenset()) | new}


def forgotten(todo: Iterable[Change], bridge: str, before: Records, maker: str) -> dict[str, frozenset[str]]:
    """Return the records without the groups that a plan takes away."""
    gone = {change.path[2] for change in _of(todo, bridge) if change.new is None}
    return {**before, maker: before.get(maker, frozenset()) - gone}


def recorded(bridge: str, before: Records, after: Records) -> dict[str, Any]:
    """Return the operation that makes one record of another; it does nothing if others wrote meanwhile."""
    was, now = written(before), written(after)
    stale = [[key, value] for key, value in was.items() if now.get(key) != value]
    fresh = [[key, value] for key, value in now.items() if was.get(key) != value]
    mutations = [
        ["external_ids", "delete", ["map", stale]],  # of a map with values, only pairs that are equal
        ["external_ids", "insert", ["map", fresh]],  # leaves a key alone that is there
    ]
    return {"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]], "mutations": mutations}


def makings(todo: Iterable[Change], bridge: str) -> Iterator[str]:
    """Yield the lines for ``ovs-ofctl bundle`` that come before those of the flows that use a group."""
    for change in _of(todo, bridge):
        if change.new is not None:
            yield f"group add_or_mod group_id={change.path[2]},{change.new}"


def removals(todo: Iterable[Change], bridge: str) -> Iterator[str]:
    """Yield the lines that come after those of the flows: the flows that use a group go with it."""
    for change in _of(todo, bridge):
        if change.new is None:
            yield f"group delete group_id={change.path[2]}"


def _of(todo: Iterable[Change], bridge: str) -> Iterator[Change]:
    return (change for change in todo if change.path[:2] == (bridge, "groups"))

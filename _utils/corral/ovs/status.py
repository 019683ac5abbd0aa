"""The status texts of ovs-vswitchd as structure, and the verdict on a bond; pure.

``bond/show`` and ``lacp/show`` are text in every version. What changed from 2.3 to 3.7: tabs became
spaces (2.10), slaves became members (2.15), and lines were added. So every line is optional here,
unknown ones are passed over, and nothing depends on their order within a section.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from corral.ovs.checks import needs_lacp

Bond = dict[str, Any]
Lacp = dict[str, Any]

NOBODY = "00:00:00:00:00:00"  # the system id of a partner that was never heard
_SECTION = re.compile(r"^---- (.+) ----$", re.MULTILINE)
_MEMBER_OF_BOND = re.compile(r"^(?:slave|member) (\S+): (enabled|disabled)")
_MEMBER_OF_LACP = re.compile(r"^(?:slave|member): (\S+): (\w+) (attached|detached)")
_ACTIVE = re.compile(r"^active (?:slave|member)(?: mac: \S+?\((\S+)\))?$")
_MILLISECONDS = re.compile(r"(\d+) ms")


def sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Return the name and the lines, freed of their indent, of each ``---- name ----`` section."""
    _, *parts = _SECTION.split(text)
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        yield name, [line.strip() for line in body.splitlines() if line.strip()]


def bonds(shown: str, lacp_of: Mapping[str, Lacp], links: Mapping[str, str]) -> dict[str, Bond]:
    """Return every bond of ``bond/show`` with its verdict.

    lacp_of
        What ``lacp`` made of ``lacp/show``.
    links
        ``up`` or ``down`` by interface, from the database.
    """
    found = {}
    for name, lines in sections(shown):
        bond = _bond(lines)
        negotiated = lacp_of.get(name, {}).get("members", {})
        for member, state in bond["members"].items():
            state["link"] = links.get(member)
            seen = negotiated.get(member)
            state["lacp"] = f"{seen['status']} {seen['aggregation']}" if seen else None
            partner = seen["partner"].get("system_id") if seen else None
            state["partner"] = None if partner == NOBODY else partner
        found[name] = bond | verdict(bond)
    return found


def _bond(lines: list[str]) -> Bond:
    bond: Bond = {"mode": None, "lacp": None, "active_member": None, "up_delay": None, "down_delay": None}
    members: dict[str, dict[str, Any]] = {}
    member: dict[str, Any] = {}
    for line in lines:
        key, _, value = line.partition(": ")
        if match := _MEMBER_OF_BOND.match(line):
            member = members[match[1]] = {"enabled": match[2] == "enabled", "active": False}
        elif match := _ACTIVE.match(line):
            if match[1] is None:
                member["active"] = True
            elif match[1] != "none":
                bond["active_member"] = match[1]
        elif members and key == "may_enable":
            member["may_enable"] = value == "true"
        elif key == "bond_mode":
            bond["mode"] = value.split()[0]
        elif key == "lacp_status":
            bond["lacp"] = value
        elif key in ("updelay", "downdelay") and (delay := _MILLISECONDS.match(value)):
            bond["up_delay" if key == "updelay" else "down_delay"] = int(delay[1])
    for name, state in members.items():
        if state["active"]:
            bond["active_member"] = name  # before 2.3.1 this line alone says it
    return {**bond, "members": members}


def lacp(shown: str) -> dict[str, Lacp]:
    """Return ``lacp/show`` as structure, by bond."""
    return {name: _lacp(lines) for name, lines in sections(shown)}


_WORDS = {"sys_id": "system_id", "sys_priority": "system_priority", "aggregation key": "key"}


def _lacp(lines: list[str]) -> Lacp:
    found: Lacp = {"members": {}}
    here: dict[str, Any] = found
    for line in lines:
        if match := _MEMBER_OF_LACP.match(line):
            here = {"status": match[2], "aggregation": match[3], "actor": {}, "partner": {}}
            found["members"][match[1]] = here
            continue
        key, _, value = line.partition(":")
        key, value = key.strip(), value.strip()
        side, _, rest = key.partition(" ")
        if side in ("actor", "partner"):
            state = value.split() if rest == "state" else _number(value)
            here.setdefault(side, {})[_WORDS.get(rest, rest)] = state
        elif key == "status":
            mode, *more = value.split() or [""]
            found |= {"mode": mode, "negotiated": "negotiated" in more}
        elif key == "may_enable":
            here[key] = value == "true"
        else:
            here[_WORDS.get(key, key)] = _number(value)
    return found


def _number(value: str) -> int | str | None:
    if value == "none":
        return None
    return int(value) if value.isdigit() else value


def verdict(bond: Bond) -> dict[str, Any]:
    """Return whether a bond is ``healthy``, its ``state`` and the ``reason``.

    Healthy is a bond all of whose members are enabled and, with LACP, current and attached to one
    partner; degraded one that still forwards over some; down one that forwards over none. What LACP
    calls negotiated is not enough: one member that has a partner makes the whole bond so.
    """
    members = bond["members"]
    if needs_lacp(bond["mode"], bond["lacp"]):
        return _verdict("down", "balance-tcp forwards nothing while LACP is off")
    if not members:
        return _verdict("down", "the bond has no members")
    partner = _main_partner(members)
    reasons = [f"{name}: {why}" for name, state in members.items() if (why := _ailing(state, partner))]
    enabled = any(state["enabled"] for state in members.values())
    return _verdict("healthy" if not reasons else "degraded" if enabled else "down", "; ".join(reasons))


def _verdict(state: str, reason: str) -> dict[str, Any]:
    return {"healthy": state == "healthy", "state": state, "reason": reason}


def _main_partner(members: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the partner that the attached members share, or most of them."""
    partners = [m["partner"] for m in members.values() if (m["lacp"] or "").endswith(" attached")]
    return max(partners, key=partners.count, default=None)


def _ailing(member: Mapping[str, Any], partner: str | None) -> str:
    """Return what is wrong with a member, the cause before its effects; empty when nothing is."""
    if member["link"] == "down":
        return "its link is down"
    status, _, aggregation = (member["lacp"] or "").partition(" ")
    if status == "defaulted":
        return "no LACP partner answers (defaulted)"
    if status == "expired":
        return "its LACP partner has stopped answering, or not answered yet (expired)"
    if partner and member["partner"] != partner and member["lacp"]:
        return f"it is cabled to LACP partner {member['partner']}, the bond to {partner}"
    if aggregation == "detached":
        return f"LACP does not attach it to partner {member['partner']} (detached)"
    return "" if member["enabled"] else "it is disabled"

"""Which probes guard a change: those declared, or what answers of the usual ones, asked before the change."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from corral.guard.model import AT, WORDS, Guard, Probe
from corral.guard.probes import ONCE, Target, preferred

RESOLVING = 5.0  # seconds; the system's resolver knows no timeout of ours
MASTER_PORT = 4506  # Salt's default
TRIES = 2  # before the change: the first packet may be lost to the search for a MAC address

NOBODY = (
    f"{AT}: neither a default gateway nor a Salt master answers this host, so nothing would tell that the"
    f" change has cut it off; name somebody else in {AT}.probes."
)


def chosen(guard: Guard, opts: Mapping[str, Any]) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return who has answered and is to answer again after the change, and a sentence for each who has not.

    opts
        The minion's ``__opts__``, which name its masters.
    """
    if guard.probes is None:
        found = tuple(one for word in WORDS for one in _answering(_named(word, opts)))
        return found, () if found else (NOBODY,)
    targets: list[Target] = []
    silent: list[str] = []
    for number, probe in enumerate(guard.probes):
        at = f"{AT}.probes[{number}]"
        found = tuple(_answering(_meant(probe, opts)))
        targets += [one for one in found if one not in targets]
        if not found:
            silent.append(_silence(at, probe))
    return tuple(targets), tuple(silent)


def _silence(at: str, probe: Probe) -> str:
    if probe.word == "gateway":
        return f"{at}: no default gateway answers this host before the change."
    if probe.word == "salt_master":
        return f"{at}: no Salt master of this minion can be reached before the change."
    key, value = ("ping", probe.ping) if probe.ping else ("tcp", probe.tcp)
    return f"{at}.{key}: {value} does not answer before the change."


def _meant(probe: Probe, opts: Mapping[str, Any]) -> Iterator[Target]:
    if probe.word:
        yield from _named(probe.word, opts)
    elif probe.ping:
        yield Target("ping", probe.ping)
    else:
        host, _, port = probe.tcp.rpartition(":")
        yield Target("tcp", host.strip("[]"), int(port))


def _named(word: str, opts: Mapping[str, Any]) -> Iterator[Target]:
    return _routers() if word == "gateway" else masters(opts)


def _routers() -> Iterator[Target]:
    """Yield the default gateway of each version of IP, to be asked by ARP where it answers no ICMP."""
    for version in (4, 6):
        asked = (
            Target(how, way.address, word="gateway") for how in ("ping", "arp") for way in preferred(version)
        )
        yield from itertools.islice(filter(_answers, asked), 1)


def _answering(targets: Iterator[Target]) -> Iterator[Target]:
    return (one for one in targets if _answers(one))


def _answers(target: Target) -> bool:
    return any(target.answers(ONCE) for _ in range(TRIES))


def masters(opts: Mapping[str, Any]) -> Iterator[Target]:
    """Yield the addresses of the Salt masters of a minion; none for one that has none."""
    if opts.get("local") or opts.get("file_client") == "local" or opts.get("master_type") == "disable":
        return
    named = opts.get("master") or ()
    for one in [named] if isinstance(named, str) else named:
        host, port = _split(str(one), int(opts.get("master_port") or MASTER_PORT))
        yield from (Target("tcp", address, port, word="salt_master") for address in _resolved(host))


def _split(master: str, port: int) -> tuple[str, int]:
    """Return host and port of a master as a minion's configuration names it."""
    if master.startswith("["):
        host, _, given = master[1:].partition("]")
        return host, int(given.removeprefix(":") or port)
    host, colon, given = master.partition(":")
    if colon and given.isdigit():
        return host, int(given)
    return master, port  # a name, an address, or an IPv6 address without brackets


def _resolved(host: str) -> list[str]:
    """Return the addresses of a name: now, since after the change nobody may be there to tell."""
    found: list[str] = []

    def ask() -> None:
        try:
            found.extend(str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError:
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(RESOLVING)
    return list(dict.fromkeys(found))

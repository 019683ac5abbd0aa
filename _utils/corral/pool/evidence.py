"""Why guests did not get ready, as far as the host can tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SHOWN = 5  # guests that are told about one by one
TAIL = 4096  # bytes of a console log to look for its last line in
NICS = Path("/sys/class/net")


def sentence(at: str, total: int, failures: Mapping[str, str], facts: Callable[[str], Sequence[str]]) -> str:
    """Return what to tell of the guests that failed.

    at
        The path of the pool.
    total
        How many guests were to be started.
    failures
        Why, by name.
    facts
        Returns more about a guest that was started.
    """
    whole = "1 guest is" if len(failures) == 1 else f"{len(failures)} guests are"
    head = f"{whole} not ready, of {total} to be started: "
    grouped: dict[str, list[str]] = {}
    told: list[str] = []
    for name, why in failures.items():
        if why.startswith("not started") or len(told) == SHOWN:
            grouped.setdefault(why, []).append(name)
        else:
            told.append(f"{name}: {'; '.join((why, *facts(name)))}")
    told += [f"{_names(names)}: {why}" for why, names in grouped.items()]
    return f"{at}: {head}{'. '.join(told)}."


def _names(names: Sequence[str]) -> str:
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]}, {names[1]} … {names[-1]} ({len(names)} guests)"


def sent(mac: str, nics: Path = NICS) -> int | None:
    """Return how many packets a guest has sent by a NIC; ``None`` when the NIC is not found.

    libvirt gives the host's side of a NIC the guest's MAC address with the first octet fe.
    """
    for nic in nics.glob("vnet*") if nics.is_dir() else ():
        try:
            if (nic / "address").read_text().strip() == f"fe{mac[2:]}":
                return int((nic / "statistics" / "rx_packets").read_text())
        except OSError:
            continue  # it has just gone
    return None


def last_words(log: str) -> str:
    """Return the last line of a console log that says something."""
    try:
        with Path(log).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = ["".join(filter(str.isprintable, line)).strip() for line in text.splitlines()]
    return next((line[:120] for line in reversed(lines) if line), "")

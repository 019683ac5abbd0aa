"""What may be declared about the way out of a host: a bridge, its cards, and the address of the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from corral.errors import Invalid
from corral.link.model import Link
from corral.model import plain
from corral.ovs.model import Bridge, Switch

OF_HOST = ("addresses", "gateway", "routes", "mtu", "persist")  # what is no setting of the bridge


@dataclass(frozen=True)
class Uplink:
    """A bridge over network cards, which has the addresses of the host.

    switch
        The bridge with its ports and bonds.
    link
        The bridge as a network device of the host, which takes over what the cards have.
    cards
        The network cards that it leads out by, and where each is declared.
    mtu
        In bytes, if it is declared.
    """

    name: str
    switch: Switch
    link: Link
    cards: Mapping[str, str]
    mtu: int | None = None

    @classmethod
    def declare(cls, name: str, data: Mapping[str, Any]) -> Self:
        """Build it from the arguments of a state; raises ``Invalid`` with a sentence for each wrong value."""
        given = plain(data)
        # Unless it is said otherwise: a card that gets its address back at boot has no use of it as a port.
        host = {"persist": "auto", **{key: given.pop(key) for key in OF_HOST if key in given}}
        wrong: list[str] = []
        mtu = None
        try:
            link = Link.declare({**host, "name": name, "up": True}, at=f"links.{name}")
            mtu = host.get("mtu")
        except Invalid as invalid:
            wrong.append(str(invalid))
        try:
            switch = Switch.declare({"bridges": {name: _with_mtu(name, given, mtu)}})
            wrong += _faults(name, switch.bridges[name])
        except Invalid as invalid:
            wrong.append(str(invalid))
        if wrong:
            raise Invalid("; ".join(wrong))
        cards = dict(_cards(name, switch.bridges[name]))
        said = {key: value for key, value in link.declared().items() if key != "mtu"}
        taking = Link.declare({**said, "takes_over": list(cards)}, at=link.at)
        return cls(name, switch, taking, cards, mtu)


def _with_mtu(name: str, bridge: dict[str, Any], mtu: int | None) -> dict[str, Any]:
    """Return a bridge whose own port is as wide as declared: Open vSwitch sets and keeps it."""
    ports = bridge.get("ports", {})
    own = ports.get(name, {}) if isinstance(ports, dict) else None
    if mtu is None or not isinstance(own, dict):  # the latter will be told as what it is
        return bridge
    if "mtu" in own:
        raise Invalid(f"bridges.{name}.ports.{name}.mtu: is declared as mtu of the uplink")
    return {**bridge, "ports": {**ports, name: {**own, "mtu": mtu}}}


def _faults(name: str, bridge: Bridge | None) -> Iterator[str]:
    at = f"bridges.{name}"
    assert bridge is not None  # it is declared as a mapping
    if "parent" in bridge.model_fields_set:
        yield f"{at}.parent: a fake bridge leads out by its parent; declare that one"
    cards = dict(_cards(name, bridge))
    if not cards:
        yield f"{at}.ports: no network card is named, here or as a member of a bond, to lead out by"
    if "lo" in cards:
        yield f"{cards['lo']}: lo leads nowhere"


def _cards(name: str, bridge: Bridge | None) -> Iterator[tuple[str, str]]:
    """Yield the devices of the host on a bridge, and where each is declared."""
    if bridge is None:
        return
    for port, spec in bridge.ports.items():
        if spec is not None and port != name and spec.type in (None, "system") and spec.peer is None:
            yield port, f"bridges.{name}.ports.{port}"
    for bond, many in bridge.bonds.items():
        for number, member in enumerate((many.members if many else None) or ()):
            yield member, f"bridges.{name}.bonds.{bond}.members[{number}]"

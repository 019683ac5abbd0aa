"""What may be declared about a subnet that dnsmasq serves."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, field_validator
from typing_extensions import Self

from corral.errors import Invalid
from corral.kinds import (
    Address,
    AddressRange,
    Flag,
    InterfaceName,
    Mac,
    Name,
    Network,
    Number,
    Seconds,
    range_ends,
)
from corral.model import Model

OWN = "_declared"  # the owner of a subnet's own reservations; no Name begins with "_"
LEASE_SECONDS = 3600
MTU_MIN, MTU_MAX = 68, 65535  # RFC 2132, 5.1
LONGEST_LEASE = 2**32 - 2  # the next number is "for ever" (RFC 2131, 3.3)
# Options that have a key of their own, by dnsmasq's name and by number (RFC 2132).
KEYED = {
    "router": "router",
    "3": "router",
    "dns-server": "dns_servers",
    "6": "dns_servers",
    "domain-name": "domain",
    "15": "domain",
    "28": "broadcast",
    "mtu": "mtu",
    "26": "mtu",
    "lease-time": "lease_time",
    "51": "lease_time",
}


def _label(value: Any) -> str:
    """Return one label of a host name, as dnsmasq takes it in a reservation.

    A word that it reads as a lease time there (``12h``, ``infinite``) is no name (dnsmasq(8), --dhcp-host).
    """
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", value):
        raise ValueError(f"{value!r} is not a host name (one label: letters, digits, '-', at most 63)")
    if re.fullmatch(r"\d+[smhdw]?|infinite|ignore", value, re.IGNORECASE):
        raise ValueError(f"{value!r} is a lease time or a keyword to dnsmasq, not a host name")
    return value


def _domain(value: Any) -> str:
    text = value.strip(".").lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", text):
        raise ValueError(f"{value!r} is not a domain name")
    return text


def _option_values(value: Any) -> tuple[str, ...]:
    """Return the values of an option; none for ``null``, which takes the option away."""
    if value is None:
        return ()
    values = value if isinstance(value, list | tuple) else [value]
    for one in values:
        if isinstance(one, bool) or not isinstance(one, str | int):
            raise ValueError(f"a {type(one).__name__} is not a text or a whole number, or a list of these")
        if not str(one) or not str(one).isprintable() or set(str(one)) & set('"\\'):
            raise ValueError(f"{one!r} is not a value that dnsmasq can be given (no quotes, no '\\\\')")
    if not values:
        raise ValueError("has no value (null takes the option away)")
    return tuple(map(str, values))


def option_name(value: Any) -> str:
    """Return the name, or the number without zeros before it, of an option that has no key of its own."""
    text = str(value)
    if re.fullmatch(r"[0-9]+", text):
        text = text.lstrip("0")
    if text in KEYED:
        raise ValueError(f"is declared by the key {KEYED[text]!r}")
    if not re.fullmatch(r"[a-z][a-z0-9-]*|[1-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-4]", text):
        raise ValueError(f"{value!r} is neither the name nor the number (1–254) of a DHCP option")
    return text


HostLabel = Annotated[str, BeforeValidator(_label)]
Domain = Annotated[str, BeforeValidator(_domain)]
OptionName = Annotated[str, BeforeValidator(option_name)]
OptionValues = Annotated[tuple[str, ...], BeforeValidator(_option_values)]


class Reservation(Model):
    """An address that one MAC gets, and nobody else."""

    mac: Mac
    address: Address
    name: HostLabel | None = None

    def shown(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"mac"}, exclude_none=True)


class Guests(Model):
    """Whose leases are to be given back: one MAC, or a list of them."""

    macs: tuple[Mac, ...]

    @field_validator("macs", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]


class Subnet(Model):
    """One IPv4 subnet on one device of this host, or of one of its network namespaces."""

    name: Name
    namespace: Name | None = None  # None: the host's own
    interface: InterfaceName
    network: Network
    range: AddressRange | None = None  # None: reservations only
    router: Address | None = None  # None: no router is announced
    broadcast: Address | None = None  # may be said, and is the network's in any case
    domain: Domain | None = None
    dns_servers: tuple[Address, ...] = ()
    mtu: Number | None = None  # None: guests are told none
    dns: Flag = False  # answer DNS on the subnet, too
    lease_time: Seconds = LEASE_SECONDS
    ping_check: Flag = False
    options: dict[OptionName, OptionValues] = {}
    reservations: tuple[Reservation, ...] = ()

    @classmethod
    def declare(cls, data: Any, at: str = "") -> Self:
        subnet = super().declare(data, at)
        wrong = faults(subnet, OWN, subnet.reservations, {}, f"{at}.reservations")
        if wrong:
            raise Invalid("; ".join(wrong))
        return subnet

    @property
    def at(self) -> str:
        return f"dhcp.{self.name}"

    @property
    def prefix(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.network)

    @field_validator(
        "dns", "lease_time", "ping_check", "dns_servers", "options", "reservations", mode="before"
    )
    @classmethod
    def _null_is_default(cls, value: Any, info: ValidationInfo) -> Any:
        return cls.model_fields[info.field_name or ""].default if value is None else value

    @field_validator("options", mode="before")
    @classmethod
    def _options_once(cls, options: Any) -> Any:
        names = [str(name).lstrip("0") for name in options] if isinstance(options, Mapping) else []
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is declared more than once")
        return {str(name): values for name, values in options.items()} if names else options

    @field_validator("options")
    @classmethod
    def _options_that_are(cls, options: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {name: values for name, values in options.items() if values}

    @field_validator("network")
    @classmethod
    def _room_for_guests(cls, network: str) -> str:
        if ":" in network:
            raise ValueError(f"{network} is not an IPv4 network")
        if ipaddress.ip_network(network).prefixlen > 30:
            raise ValueError(f"{network} has no addresses to lease")
        return network

    @field_validator("range")
    @classmethod
    def _range_inside(cls, ends: str | None, info: ValidationInfo) -> str | None:
        inside = _hosts(info)
        if ends is None or inside is None:
            return ends
        version, low, high = range_ends(ends)
        if version != 4 or low < inside[0] or high > inside[1]:
            raise ValueError(
                f"{ends} does not lie among the hosts of {info.data['network']} ({_text(inside)})"
            )
        return ends

    @field_validator("router")
    @classmethod
    def _router_inside(cls, router: str | None, info: ValidationInfo) -> str | None:
        inside = _hosts(info)
        if router is None or inside is None:
            return router
        number = int(ipaddress.ip_address(router))
        if ":" in router or not inside[0] <= number <= inside[1]:
            raise ValueError(f"{router} is not a host of {info.data['network']}")
        if info.data.get("range"):
            _, low, high = range_ends(info.data["range"])
            if low <= number <= high:
                raise ValueError(f"{router} lies in the range, so a guest could lease it")
        return router

    @field_validator("broadcast")
    @classmethod
    def _broadcast_of_network(cls, said: str | None, info: ValidationInfo) -> str | None:
        right = (
            str(ipaddress.ip_network(info.data["network"]).broadcast_address)
            if "network" in info.data
            else None
        )
        if said is not None and right is not None and said != right:
            raise ValueError(f"{said} is not the broadcast address of {info.data['network']} ({right})")
        return said

    @field_validator("dns_servers")
    @classmethod
    def _dns_by_ipv4(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            if ":" in server:
                raise ValueError(f"{server} is not an IPv4 address")
        return servers

    @field_validator("mtu")
    @classmethod
    def _mtu_in_bounds(cls, mtu: int | None) -> int | None:
        if mtu is not None and not MTU_MIN <= mtu <= MTU_MAX:
            raise ValueError(f"{mtu} is not an MTU ({MTU_MIN}–{MTU_MAX})")
        return mtu

    @field_validator("lease_time")
    @classmethod
    def _lease_long_enough(cls, seconds: int) -> int:
        if seconds < 120:
            raise ValueError(f"{seconds} s is shorter than dnsmasq's minimum of 120 s")
        if seconds > LONGEST_LEASE:
            raise ValueError(f"{seconds} s is longer than a lease can be ({LONGEST_LEASE} s)")
        return seconds


def by_address(reservations: Iterable[Reservation]) -> tuple[Reservation, ...]:
    """Return reservations in their normal order."""
    return tuple(sorted(reservations, key=lambda one: int(ipaddress.ip_address(one.address))))


def faults(
    subnet: Subnet,
    owner: str,
    mine: Iterable[Reservation],
    others: Mapping[str, Iterable[Reservation]],
    at: str,
) -> tuple[str, ...]:
    """Return a sentence for each reservation that the subnet cannot hold.

    subnet
        What they are to be part of.
    owner, mine
        Whose reservations these are, and all of them.
    others
        What is reserved now, by owner; the entry of ``owner`` itself is not looked at.
    at
        The path of ``mine``, which each sentence begins with.
    """
    taken: dict[tuple[str, str], str] = {}
    for whose, theirs in others.items():
        if whose != owner:
            holder = "the subnet itself" if whose == OWN else repr(whose)
            for one in theirs:
                taken.update((key, f"reserved for {one.mac} by {holder}") for key in _keys(one))
    found = []
    for index, one in enumerate(mine):
        path = f"{at}[{index}]"
        misplaced = _misplaced(subnet, one.address)
        if misplaced:
            found.append(f"{path}.address: {one.address} {misplaced}")
        for field, value in _keys(one):
            if (field, value) in taken:
                found.append(f"{path}.{field}: {value} is already {taken[field, value]}")
            taken.setdefault((field, value), f"reserved by {path}")
    return tuple(found)


def _keys(one: Reservation) -> list[tuple[str, str]]:
    keys = [("mac", one.mac), ("address", one.address)]
    return [*keys, ("name", one.name.lower())] if one.name else keys


def _misplaced(subnet: Subnet, address: str) -> str:
    one = ipaddress.ip_address(address)
    if one not in subnet.prefix:
        return f"lies outside {subnet.network}"
    if one in (subnet.prefix.network_address, subnet.prefix.broadcast_address):
        return f"is the network or broadcast address of {subnet.network}"
    return "is the router" if address == subnet.router else ""


def _hosts(info: ValidationInfo) -> tuple[int, int] | None:
    """Return the first and last host of the network, if the network was right."""
    if "network" not in info.data:
        return None
    network = ipaddress.ip_network(info.data["network"])
    return int(network.network_address) + 1, int(network.broadcast_address) - 1


def _text(ends: tuple[int, int]) -> str:
    return "-".join(str(ipaddress.IPv4Address(end)) for end in ends)

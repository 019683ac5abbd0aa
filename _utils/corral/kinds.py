"""Scalar types with one normal form, so that values from pillar and from a daemon compare equal."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID as _UUID

from pydantic import BeforeValidator, Strict

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _octets(value: Any) -> str:
    """Return a MAC address, or the start of one, in lower case with colons."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise ValueError(f"{value} is a number: YAML reads a MAC address of digits as one, put it in quotes")
    return str(value).lower().replace("-", ":")


def _mac(value: Any) -> str:
    text = _octets(value)
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text):
        raise ValueError(f"{value!r} is not a MAC address (52:54:00:12:34:56)")
    return text


def _mac_prefix(value: Any) -> str:
    text = _octets(value)
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){2}", text):
        raise ValueError(f"{value!r} is not a MAC prefix of three octets (52:54:00)")
    if int(text[:2], 16) & 1:
        raise ValueError(f"{value!r} is a prefix of multicast addresses, which no NIC may have")
    return text


def vlan(value: Any) -> int:
    """Return a VLAN id from 1 to 4094 (IEEE 802.1Q reserves 0 and 4095)."""
    number = _whole(value)
    if number is None or not 1 <= number <= 4094:
        raise ValueError(f"{value!r} is not a VLAN id (1–4094)")
    return number


def _vlan_set(value: Any) -> tuple[int, ...]:
    """Return sorted ids from a list of ids and ranges: ``[10, "20-29"]`` or ``"10,20-29"``."""
    return _vlans(value, vlan)


def _trunks(value: Any) -> tuple[int, ...]:
    """Return what a trunk carries: a VLAN set that may hold 0, the frames without a tag."""
    return _vlans(value, lambda one: 0 if _whole(one) == 0 else vlan(one))


def _vlans(value: Any, one: Callable[[Any], int]) -> tuple[int, ...]:
    parts = str(value).split(",") if isinstance(value, str | int) else value
    if not isinstance(parts, list | tuple | set | frozenset):
        raise ValueError(f"{value!r} is not a list of VLAN ids")
    found: set[int] = set()
    for part in parts:
        first, dash, last = (half.strip() for half in str(part).strip().partition("-"))
        if dash and not (first and last):
            raise ValueError(f"{part!r} is not a VLAN id (1–4094) or a range of them (20-29)")
        low, high = one(first), one(last if dash else first)
        if low > high:
            raise ValueError(f"{part!r} is a VLAN range that runs backwards")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _whole(value: Any) -> int | None:
    """Return a whole number from an int or digits; a bool is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def size_bytes(value: Any) -> int:
    """Return bytes from ``512M``, ``10GiB`` or a number of bytes; units are powers of 1024."""
    match = re.fullmatch(r"(\d+) ?([BKMGT]?)(iB)?", str(value)) if not isinstance(value, bool) else None
    if not match:
        raise ValueError(f"{value!r} is not a size (512M, 10G)")
    return int(match[1]) * _UNITS[match[2]]


def _size(value: Any) -> str:
    """Return a size in the largest unit that holds it exactly: ``1024M`` becomes ``1G``."""
    left = size_bytes(value)
    for unit in ("T", "G", "M", "K"):
        if left and left % _UNITS[unit] == 0:
            return f"{left // _UNITS[unit]}{unit}"
    return str(left)


def _seconds(value: Any) -> int:
    """Return seconds from ``30``, ``30s``, ``5m``, ``2h`` or ``1d``."""
    match = re.fullmatch(r"(\d+) ?([smhd]?)", str(value)) if not isinstance(value, bool) else None
    if not match:
        raise ValueError(f"{value!r} is not a duration (30s, 5m, 2h)")
    return int(match[1]) * _SECONDS[match[2]]


def _interface_address(value: Any) -> str:
    try:
        if "/" not in str(value) or "%" in str(value):
            raise ValueError
        return str(ipaddress.ip_interface(str(value)))
    except ValueError:
        raise ValueError(f"{value!r} is not an address with prefix length (192.0.2.1/24)") from None


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


def _network(value: Any) -> str:
    try:
        return str(ipaddress.ip_network(str(value)))
    except ValueError as wrong:
        raise ValueError(f"{value!r} is not a network (192.0.2.0/24): {wrong}") from None


def _range(value: Any) -> str:
    """Return ``first-last`` of an inclusive range of addresses."""
    first, _, last = (part.strip() for part in str(value).partition("-"))
    try:
        low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
        if low.version != high.version or int(low) > int(high):
            raise ValueError
    except ValueError:
        raise ValueError(f"{value!r} is not an address range (192.0.2.10-192.0.2.99)") from None
    return f"{low}-{high}"


def range_ends(text: str) -> tuple[int, int, int]:
    """Return the IP version and both ends, as numbers, of an ``AddressRange``."""
    first, _, last = text.partition("-")
    low = ipaddress.ip_address(first)
    return low.version, int(low), int(ipaddress.ip_address(last))


def _uuid(value: Any) -> str:
    try:
        return str(_UUID(str(value)))
    except ValueError:
        raise ValueError(f"{value!r} is not a UUID") from None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(
        r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value
    ):
        raise ValueError(
            f"{value!r} is not a name (letters, digits, '.', '_' and '-', at most 63, no '-' at an end)"
        )
    return value


def interface_name(value: Any) -> str:
    """Return a name that Linux takes for a network device: 1 to 15 bytes, no '/', no white space."""
    plain = isinstance(value, str) and re.fullmatch(r"[^\s/:]+", value) and value not in (".", "..")
    if not plain or len(value.encode()) > 15:
        raise ValueError(f"{value!r} is not an interface name (1 to 15 bytes, no '/', ':' or space)")
    return value


def _absolute_path(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path")
    return value


def _setting(value: Any) -> str:
    """Return the text of one setting of a map of texts: ``true`` and ``4789`` need no quotes in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int):
        raise ValueError(f"a {type(value).__name__} is not a text, a whole number, true or false")
    return str(value)


def _sha256(value: Any) -> str:
    text = str(value).lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{value!r} is not a SHA-256 sum (64 hexadecimal digits)")
    return text


Mac = Annotated[str, BeforeValidator(_mac)]
MacPrefix = Annotated[str, BeforeValidator(_mac_prefix)]
Vlan = Annotated[int, BeforeValidator(vlan)]
VlanSet = Annotated[tuple[int, ...], BeforeValidator(_vlan_set)]
Trunks = Annotated[tuple[int, ...], BeforeValidator(_trunks)]
Size = Annotated[str, BeforeValidator(_size)]  # "512M"; size_bytes() gives the number
Seconds = Annotated[int, BeforeValidator(_seconds)]
InterfaceAddress = Annotated[str, BeforeValidator(_interface_address)]
Address = Annotated[str, BeforeValidator(_address)]
Network = Annotated[str, BeforeValidator(_network)]
AddressRange = Annotated[str, BeforeValidator(_range)]
Uuid = Annotated[str, BeforeValidator(_uuid)]
Name = Annotated[str, BeforeValidator(_name)]
InterfaceName = Annotated[str, BeforeValidator(interface_name)]
AbsolutePath = Annotated[str, BeforeValidator(_absolute_path)]
Sha256 = Annotated[str, BeforeValidator(_sha256)]
Setting = Annotated[str, BeforeValidator(_setting)]
Number = Annotated[int, Strict()]  # a whole number as YAML gives it: no text, no bool
Flag = Annotated[bool, Strict()]  # true or false, not "yes" in quotes
Text = Annotated[str, Strict()]

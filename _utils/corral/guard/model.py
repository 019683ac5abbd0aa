"""What may be declared about the guard of a change."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from corral.errors import Invalid
from corral.kinds import Address, Flag, Seconds
from corral.model import Model

WITHIN = 30  # seconds
WITHIN_MIN, WITHIN_MAX = 3, 3600
WORDS = ("gateway", "salt_master")
AIMED = ("ping", "tcp")
AT = "guard"


def _endpoint(value: Any) -> str:
    """Return an address with a TCP port, ``192.0.2.9:22`` or ``[2001:db8::9]:22``."""
    try:
        host, _, port = str(value).rpartition(":")
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed is not (address.version == 6) or not 1 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{value!r} is not an address with a TCP port (192.0.2.9:22, '[2001:db8::9]:22')"
        ) from None
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"


Endpoint = Annotated[str, BeforeValidator(_endpoint)]


class Probe(Model):
    """One thing that must answer this host: a word that names it, or an address and how to ask there."""

    word: Literal["gateway", "salt_master", ""] = ""
    ping: Address = ""
    tcp: Endpoint = ""

    @model_validator(mode="before")
    @classmethod
    def _one_of_them(cls, value: Any) -> Any:
        if isinstance(value, str) and value in WORDS:
            return {"word": value}
        if isinstance(value, Mapping) and len(value) == 1 and value.keys() <= set(AIMED):
            return value
        raise ValueError("is none of gateway, salt_master, {ping: ADDRESS} and {tcp: 'ADDRESS:PORT'}")


class Guard(Model):
    """When a change is taken back: unless all probes answer after it, ``within`` seconds.

    probes
        What must answer; ``None`` is the default gateways and the Salt masters that answer before the change.
    hold
        Leave it armed for the states that follow: the next whose guard does not hold asks for all of them.
    """

    within: Seconds = WITHIN
    probes: tuple[Probe, ...] | None = None
    hold: Flag = False

    @field_validator("within")
    @classmethod
    def _bounded(cls, within: int) -> int:
        if not WITHIN_MIN <= within <= WITHIN_MAX:
            raise ValueError(f"{within} s is not between {WITHIN_MIN} s and {WITHIN_MAX // 60} m")
        return within

    @field_validator("probes")
    @classmethod
    def _some(cls, probes: tuple[Probe, ...] | None) -> tuple[Probe, ...] | None:
        if probes == ():
            raise ValueError("name at least one probe, or leave probes out for the default ones")
        return probes


def guard(value: Any) -> Guard:
    """Return what is declared as ``guard``: ``true`` or a mapping; raises ``Invalid`` for anything else."""
    if value is True:
        return Guard()
    if not isinstance(value, Mapping):
        raise Invalid(f"{AT}: is none of true, false and a mapping with the keys within and probes")
    return Guard.declare(value, AT)

"""The options of tunnels and patch ports (ovs-vswitchd.conf.db(5), up to 3.7) and their values; pure.

Open vSwitch ignores an option that it does not know with no more than a line in its log, so a misspelt
one is an error here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping

Check = Callable[[str], str]  # the sentence about a wrong value, or nothing

_IPSEC = ("psk", "certificate", "private_key", "remote_cert", "remote_name")


def _address(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "" if value == "flow" else f"{value!r} is neither an IP address nor 'flow'"
    return ""


def _number(high: int, *words: str) -> Check:
    def check(value: str) -> str:
        try:
            good = 0 <= int(value, 0) <= high
        except ValueError:
            good = False
        also = "".join(f" or {word!r}" for word in words)
        return "" if good or value in words else f"{value!r} is not a number from 0 to {high}{also}"

    return check


def _one_of(*words: str) -> Check:
    def check(value: str) -> str:
        return "" if value in words else f"{value!r} is not {' or '.join(map(repr, words))}"

    return check


def _mac(value: str) -> str:
    good = re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value)
    return "" if good else f"{value!r} is not a MAC address"


def _any(value: str) -> str:
    return ""


_FLAG = _one_of("true", "false")
_PORT = _number(65535)
_ENDS: dict[str, Check] = {
    "remote_ip": _address,
    "local_ip": _address,
    "tos": _number(255, "inherit"),
    "ttl": _number(255, "inherit"),
    "df_default": _FLAG,
    "egress_pkt_mark": _number(0xFFFFFFFF),
    "packet_type": _one_of("legacy_l2", "legacy_l3", "ptap"),
    **dict.fromkeys(_IPSEC, _any),
}


def _keyed(bits: int) -> dict[str, Check]:
    return dict.fromkeys(("key", "in_key", "out_key"), _number((1 << bits) - 1, "flow"))


_ERSPAN: dict[str, Check] = {
    **_keyed(10),
    "erspan_ver": _one_of("1", "2", "flow"),
    "erspan_idx": _number(0xFFFFF, "flow"),
    "erspan_dir": _one_of("0", "1", "flow"),
    "erspan_hwid": _number(0x3F, "flow"),
}
_GRE = {**_ENDS, **_keyed(32), "csum": _FLAG, "seq": _FLAG}
OPTIONS: Mapping[str, Mapping[str, Check]] = {
    "vxlan": {
        **_ENDS,
        **_keyed(24),
        "dst_port": _PORT,
        "csum": _FLAG,
        "exts": _one_of("gbp", "gpe", "gbp,gpe", "gpe,gbp"),
    },
    "geneve": {**_ENDS, **_keyed(24), "dst_port": _PORT, "csum": _FLAG},
    "gre": _GRE,
    "ip6gre": _GRE,
    "stt": {**_ENDS, **_keyed(64), "dst_port": _PORT, "csum": _FLAG},
    "erspan": {**_ENDS, **_ERSPAN, "seq": _FLAG},
    "ip6erspan": {**_ENDS, **_ERSPAN, "seq": _FLAG},
    "gtpu": {**_ENDS, **_keyed(32), "dst_port": _PORT, "csum": _FLAG},
    "patch": {"peer": _any},
}
TUNNELS = tuple(kind for kind in OPTIONS if kind != "patch")
# What watches over a port, by the declaration's key.
_MILLISECONDS = _number(0x7FFFFFFF)
WATCHES: Mapping[str, Mapping[str, Check]] = {
    "bfd": {
        **dict.fromkeys(("enable", "forwarding_if_rx", "cpath_down", "check_tnl_key", "oam"), _FLAG),
        **dict.fromkeys(("min_rx", "min_tx", "decay_min_rx"), _MILLISECONDS),
        **dict.fromkeys(("bfd_local_src_mac", "bfd_local_dst_mac", "bfd_remote_dst_mac"), _mac),
        **dict.fromkeys(("bfd_src_ip", "bfd_dst_ip"), _address),
        "mult": _number(255),
    },
    "cfm": {
        "mpid": _number(8191),
        "interval": _MILLISECONDS,
        **dict.fromkeys(("extended", "demand"), _FLAG),
        "opstate": _one_of("up", "down"),
        "ccm_vlan": _number(4095, "random"),
        "ccm_pcp": _number(7),
    },
    "lldp": {"enable": _FLAG},
}


def faults(kind: str | None, options: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield the options of a type of port that are unknown or have a wrong value, each with a sentence."""
    known = OPTIONS.get(kind or "")
    if known is not None:
        rest = {key: value for key, value in options.items() if not key.startswith("ipsec_")}
        yield from _faults(known, f"is not an option of type {kind}", rest)


def watch_faults(watch: str, settings: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Yield the settings of ``bfd``, ``cfm`` or ``lldp`` that are unknown or wrong, each with a sentence."""
    yield from _faults(WATCHES[watch], f"is not a setting of {watch}", settings)


def _faults(
    known: Mapping[str, Check], unknown: str, settings: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        check = known.get(key)
        if check is None:
            yield key, unknown
        elif value is not None and (sentence := check(value)):
            yield key, sentence

"""Scalar types: one normal form, and sentences that say what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter

from corral import kinds
from corral.errors import Invalid
from corral.model import Model

NORMAL: list[tuple[Any, Any, Any]] = [
    (kinds.Mac, "52-60-2F-00-AA-01", "52:60:2f:00:aa:01"),
    (kinds.MacPrefix, "52:60:2F", "52:60:2f"),
    (kinds.Vlan, "12", 12),
    (kinds.VlanSet, [20, "10-12", 11], (10, 11, 12, 20)),
    (kinds.VlanSet, "7,9 - 10", (7, 9, 10)),
    (kinds.Size, "1024M", "1G"),
    (kinds.Size, "10GiB", "10G"),
    (kinds.Size, 100663296, "96M"),
    (kinds.Size, "1000", "1000"),
    (kinds.Seconds, "5m", 300),
    (kinds.Seconds, 30, 30),
    (kinds.InterfaceAddress, "172.31.110.1/24", "172.31.110.1/24"),
    (kinds.InterfaceAddress, "2001:DB8::1/64", "2001:db8::1/64"),
    (kinds.AddressRange, "10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9"),
    (kinds.Network, "10.0.0.0/255.255.255.0", "10.0.0.0/24"),
    (kinds.Uuid, "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    (kinds.Sha256, "sha256:" + "AB" * 32, "ab" * 32),
]
WRONG: list[tuple[Any, Any, str]] = [
    (kinds.Mac, "52:60:2f:00:aa", "is not a MAC address"),
    (kinds.Mac, yaml.safe_load("52:54:00:12:34:56"), "YAML reads a MAC address of digits as one"),
    (kinds.MacPrefix, yaml.safe_load("52:54:00"), "YAML reads a MAC address of digits as one"),
    (kinds.MacPrefix, "53:60:2f", "multicast"),
    (kinds.Vlan, 5000, "5000 is not a VLAN id (1–4094)"),
    (kinds.Vlan, 0, "0 is not a VLAN id"),
    (kinds.Vlan, True, "True is not a VLAN id"),
    (kinds.Vlan, "²", "is not a VLAN id"),
    (kinds.VlanSet, ["9-3"], "runs backwards"),
    (kinds.VlanSet, [-5], "-5 is not a VLAN id (1–4094) or a range"),
    (kinds.VlanSet, {"a": 1}, "is not a list of VLAN ids"),
    (kinds.Size, "10 apples", "is not a size"),
    (kinds.Size, True, "is not a size"),
    (kinds.Seconds, "soon", "is not a duration"),
    (kinds.InterfaceAddress, "172.31.110.1", "is not an address with prefix length"),
    (kinds.InterfaceAddress, "fe80::1%eth0/64", "is not an address with prefix length"),
    (kinds.AddressRange, "10.0.0.9-10.0.0.1", "is not an address range"),
    (kinds.AddressRange, "10.0.0.9-2001:db8::1", "is not an address range"),
    (kinds.Network, "10.0.0.1/24", "has host bits set"),
    (kinds.InterfaceName, "a-name-of-16-chr", "is not an interface name"),
    (kinds.InterfaceName, "ü" * 8, "is not an interface name"),
    (kinds.InterfaceName, "a/b", "is not an interface name"),
    (kinds.Name, "-x", "is not a name"),
    (kinds.Name, "../x", "is not a name"),
    (kinds.AbsolutePath, "var/x", "is not an absolute path"),
    (kinds.Sha256, "abc", "is not a SHA-256 sum"),
    (kinds.Number, "3", "is not valid"),
    (kinds.Flag, "yes", "is not valid"),
]


@pytest.mark.parametrize(("kind", "given", "normal"), NORMAL)
def test_normal_form(kind: Any, given: Any, normal: Any) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.validate_python(given) == normal
    assert adapter.validate_python(normal) == normal


@pytest.mark.parametrize(("kind", "given", "words"), WRONG)
def test_wrong_values_are_named_with_their_path(kind: Any, given: Any, words: str) -> None:
    class Holder(Model):
        value: kind

    with pytest.raises(Invalid) as refused:
        Holder.declare({"value": given}, "bridges.br0")
    assert str(refused.value).startswith("bridges.br0.value: ")
    assert words in str(refused.value)


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_size_keeps_its_bytes(number: int) -> None:
    assert kinds.size_bytes(TypeAdapter(kinds.Size).validate_python(number)) == number


@given(st.sets(st.integers(min_value=1, max_value=4094)))
def test_a_vlan_set_is_sorted_whatever_its_order(ids: set[int]) -> None:
    assert TypeAdapter(kinds.VlanSet).validate_python(list(ids)) == tuple(sorted(ids))


class Account(Model):
    user: kinds.Text
    password: SecretStr | None = None
    groups: dict[str, list[kinds.Vlan]] = {}


def test_every_error_is_told_with_its_path() -> None:
    with pytest.raises(Invalid) as refused:
        Account.declare({"groups": {"a": [1, 4095]}, "extra": 1}, "accounts.x")
    assert str(refused.value).split("; ") == [
        "accounts.x.user: is required",
        "accounts.x.groups.a[1]: 4095 is not a VLAN id (1–4094)",
        "accounts.x.extra: unknown key",
    ]


@pytest.mark.parametrize("secret", [12345678, ["hunter2"], {"p": "hunter2"}])
def test_a_secret_of_the_wrong_type_is_not_shown(secret: Any) -> None:
    with pytest.raises(Invalid) as refused:
        Account.declare({"user": "x", "password": secret}, "accounts.x")
    assert "accounts.x.password: " in str(refused.value)
    assert "1234" not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_secret_is_starred_in_what_is_shown() -> None:
    account = Account.declare({"user": "x", "password": "hunter2"})
    assert account.declared() == {"user": "x", "password": "**********"}


def test_not_mentioned_and_null_are_different() -> None:
    assert Account.declare({"user": "x"}).declared() == {"user": "x"}
    assert Account.declare({"user": "x", "password": None}).declared() == {"user": "x", "password": None}

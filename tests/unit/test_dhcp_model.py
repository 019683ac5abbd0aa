"""What may be declared about a subnet, its text, and its properties."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corral.change import changes
from corral.dhcp.leases import release_packet
from corral.dhcp.model import OWN, Guests, Reservation, Subnet, by_address, faults
from corral.dhcp.plan import Absent, Current, merged, plan, plan_absent, shown
from corral.dhcp.render import configuration, hosts, parse, parse_hosts
from corral.dhcp.status import NOT_READ, Lease, bound_devices, parse_leases, settled
from corral.errors import Invalid
from tests.support import subnets

CASES = Path(__file__).parent / "cases" / "dhcp"
LABELS = st.sampled_from(["a", "web-0", "Db", "x_1", "h"])


@st.composite
def reservations(draw: st.DrawFn, network: ipaddress.IPv4Network) -> list[dict[str, Any]]:
    count = draw(st.integers(0, 4))
    low = int(network.network_address) + 2
    numbers = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count, unique=True))
    macs = draw(st.lists(st.integers(0, 7), min_size=count, max_size=count, unique=True))
    names = draw(
        st.lists(st.none() | LABELS, min_size=count, max_size=count, unique_by=lambda n: n or object())
    )
    return [
        {
            "mac": f"52:54:00:00:00:{mac:02x}",
            "address": str(ipaddress.IPv4Address(low + number)),
            "name": name,
        }
        for mac, number, name in zip(macs, numbers, names, strict=True)
    ]


@st.composite
def declarations(draw: st.DrawFn) -> dict[str, Any]:
    """Return a declaration: two keys that must be there, and any others."""
    network = ipaddress.IPv4Network(draw(st.sampled_from(["10.7.0.0/24", "10.7.8.0/21", "192.168.4.16/28"])))
    first = int(network.network_address)
    low, high = sorted(draw(st.tuples(st.integers(9, 13), st.integers(9, 13))))
    ends = f"{ipaddress.IPv4Address(first + low)}-{ipaddress.IPv4Address(first + high)}"
    options = st.dictionaries(
        st.sampled_from(["ntp-server", "tftp-server", "66", 252]),
        st.sampled_from(["10.7.0.9", ["10.7.0.9", "10.7.0.8"], "a, b", "http://x/wpad.dat", "with space", 5]),
        max_size=3,
    )
    optional = {
        "range": st.sampled_from([ends, None]),
        "router": st.sampled_from([str(ipaddress.IPv4Address(first + 1)), None]),
        "broadcast": st.just(str(network.broadcast_address)),
        "domain": st.sampled_from(["vmworld", "Herd.Test.", None]),
        "dns_servers": st.sampled_from([["10.7.0.1"], ["10.7.0.1", "9.9.9.9"], [], None]),
        "dns": st.sampled_from([True, False, None]),
        "lease_time": st.sampled_from([120, "12h", 3600, None]),
        "ping_check": st.sampled_from([True, False, None]),
        "options": options | st.none(),
        "reservations": reservations(network) | st.none(),
        "namespace": st.sampled_from(["blue", "red-2", None]),
        "mtu": st.sampled_from([1450, 68, None]),
    }
    some = draw(st.fixed_dictionaries({}, optional=optional))
    return {"interface": draw(st.sampled_from(["br0", "ovsbr0"])), "network": str(network), **some}


def subnet(data: dict[str, Any]) -> Subnet:
    return subnets.desired("vmworld", data)


@given(declarations())
def test_what_is_rendered_is_read_back(data: dict[str, Any]) -> None:
    whole = subnet(data)
    read = parse("vmworld", configuration(whole))
    back = Subnet.declare({**read.fields, "reservations": [one.model_dump() for one in whole.reservations]})
    assert shown(back) == shown(whole)
    assert configuration(back) == configuration(whole)
    assert parse_hosts(hosts(whole.reservations)) == (by_address(whole.reservations), ())


@given(declarations())
def test_nothing_is_to_be_done_for_what_is_there(data: dict[str, Any]) -> None:
    assert plan(subnets.served(subnet(data)), subnet(data)) == ()


@given(declarations(), declarations())
def test_a_plan_leads_to_what_is_declared(before: dict[str, Any], after: dict[str, Any]) -> None:
    current, desired = subnets.served(subnet(before)), subnet(after)
    try:
        whole = merged(current, desired)
    except Invalid:
        with pytest.raises(Invalid):
            plan(current, desired)
        return
    assert plan(subnets.served(whole), desired) == ()
    assert shown(whole) == applied(shown(subnet(before)), plan(current, desired))


def applied(view: dict[str, Any], todo: Any) -> dict[str, Any]:
    """Carry a plan out on a subnet in the words of the declaration."""
    reserved = {one["mac"]: one for one in view.pop("reservations", [])}
    for change in todo:
        assert change.takes == "" and change.path[0] == "vmworld"
        if change.path[1] == "reservations":
            assert change.old == (
                {k: v for k, v in reserved.pop(change.path[2], {}).items() if k != "mac"} or None
            )
            if change.new:
                reserved[change.path[2]] = {"mac": change.path[2], **change.new}
        else:
            assert view.pop(change.path[1], None) == change.old
            view |= {change.path[1]: change.new} if change.new is not None else {}
    ordered = sorted(reserved.values(), key=lambda one: ipaddress.ip_address(one["address"]))
    return {**view, "reservations": ordered} if ordered else view


@given(declarations())
def test_absent_removes_all_that_is_shown(data: dict[str, Any]) -> None:
    absent = Absent(name="vmworld")
    assert changes(plan_absent(subnets.served(subnet(data)), absent)) == {
        "vmworld": {"old": shown(subnet(data)), "new": None}
    }
    assert plan_absent(Current(), absent) == ()


RESERVED = st.lists(
    st.builds(
        lambda mac, number, name: Reservation(
            mac=f"52:54:00:00:00:0{mac}", address=f"10.7.0.{number}", name=name
        ),
        st.integers(0, 3),
        st.integers(1, 3),
        st.none() | LABELS,
    ),
    max_size=4,
    unique_by=lambda one: one.mac,
)


@given(RESERVED, RESERVED, RESERVED)
def test_no_write_that_dnsmasq_has_not_read_passes_for_done(written: Any, read: Any, declared: Any) -> None:
    """Whatever is declared: if it seems to be there, then the file and dnsmasq both have it."""
    if settled(written, read) == by_address(declared):
        assert by_address(written) == by_address(read) == by_address(declared)


def test_dnsmasqs_side_of_a_doubt_is_shown() -> None:
    mine = Reservation(mac="52:54:00:00:00:01", address="10.7.0.1", name="a")
    moved = Reservation(mac="52:54:00:00:00:01", address="10.7.0.2", name="a")
    (doubt,) = settled([moved], [mine])
    assert (doubt.address, doubt.name) == ("10.7.0.1", NOT_READ)


@pytest.mark.parametrize("file", sorted((CASES / "render").glob("*.yaml")), ids=lambda file: file.stem)
def test_golden_text(file: Path) -> None:
    whole = subnet(yaml.safe_load(file.read_text()))
    assert configuration(whole) == file.with_suffix(".conf").read_text()


def test_names_that_dnsmasq_would_misread() -> None:
    for name in ("12h", "7", "30S", "infinite", "ignore", "a.b", "-a", "", "a" * 64, "ä"):
        with pytest.raises(Invalid, match=r"name: "):
            Reservation.declare({"mac": "52:54:00:00:00:01", "address": "10.7.0.1", "name": name})


def test_faults_of_a_pool_beside_others() -> None:
    whole = subnet({"interface": "br0", "network": "10.7.0.0/24", "router": "10.7.0.1"})
    one, two = ({"mac": f"52:54:00:00:00:0{n}", "address": f"10.7.0.1{n}", "name": f"n{n}"} for n in (1, 2))
    theirs = {"db": [Reservation.declare(one)], "web": [Reservation.declare(two)]}
    assert faults(whole, "web", theirs["web"], theirs, "pools.web") == ()
    mine = [Reservation.declare({**two, "name": "N1"}), Reservation.declare({**one, "address": "10.7.0.1"})]
    assert faults(whole, "web", mine, {**theirs, OWN: []}, "pools.web") == (
        "pools.web[0].name: n1 is already reserved for 52:54:00:00:00:01 by 'db'",
        "pools.web[1].address: 10.7.0.1 is the router",
        "pools.web[1].mac: 52:54:00:00:00:01 is already reserved for 52:54:00:00:00:01 by 'db'",
        "pools.web[1].name: n1 is already reserved for 52:54:00:00:00:01 by 'db'",
    )


LEASES = """\
1795256124 52:60:2f:00:00:03 172.31.110.60 web-7 *
0 52:60:2F:00:00:01 172.31.110.9 * 01:52:60:2f:00:00:01
duid 00:01:00:01:2e:6b:7d:2e:52:54:00:12:34:56
1795256124 83 fd00::1 x 00:01
"""


def test_leases_are_read_by_address() -> None:
    assert parse_leases(LEASES) == (
        Lease(0, "52:60:2f:00:00:01", "172.31.110.9", None, "01:52:60:2f:00:00:01"),
        Lease(1795256124, "52:60:2f:00:00:03", "172.31.110.60", "web-7", None),
    )


@given(st.integers(0, len(LEASES)))
def test_a_lease_that_is_cut_off_is_none(length: int) -> None:
    assert set(parse_leases(LEASES[:length])) <= set(parse_leases(LEASES))


def test_devices_that_servers_are_bound_to() -> None:
    text = """\
UNCONN 0 0 0.0.0.0%br0:67 0.0.0.0:* users:(("dnsmasq",pid=27,fd=4))
UNCONN 0 0 0.0.0.0%if2:67 0.0.0.0:* users:(("dnsmasq",pid=28,fd=4))
UNCONN 0 0        0.0.0.0:67 0.0.0.0:* users:(("dhcpd",pid=7,fd=5))
UNCONN 0 0        0.0.0.0:67 0.0.0.0:*
"""
    assert bound_devices(text) == {27: "br0", 28: "if2", 7: ""}


def test_a_release_is_a_bootp_packet() -> None:
    lease = Lease(0, "52:60:2f:00:00:01", "172.31.110.9", None, None)
    packet = release_packet(lease, ipaddress.IPv4Address("172.31.110.1"))
    assert len(packet) == 300
    assert packet[:4] == bytes([1, 1, 6, 0])
    assert packet[12:16] == bytes([172, 31, 110, 9]) and packet[28:34].hex(":") == lease.mac
    assert packet[236:249] == bytes([99, 130, 83, 99, 53, 1, 7, 54, 4, 172, 31, 110, 1])


def test_an_option_has_one_name_and_goes_by_null() -> None:
    needed = {"interface": "br0", "network": "10.7.0.0/24"}
    options = subnet({**needed, "options": {"066": 5, "ntp-server": None, 42: ["a", "b"]}}).options
    assert options == {"66": ("5",), "42": ("a", "b")}
    assert subnet({**needed, "lease_time": 2**32 - 2}).lease_time == 2**32 - 2


@pytest.mark.parametrize(
    "line", ["dhcp-option=003,10.7.0.1", "dhcp-option=option:²,x", "dhcp-option=tag:a,6,x"]
)
def test_a_line_of_another_hand_is_no_field(line: str) -> None:
    assert parse("vmworld", line).strays == (line,)
    assert parse("vmworld", "dhcp-option=066,x").fields["options"] == {"66": ["x"]}


def test_lines_that_are_no_leases() -> None:
    assert parse_leases("soon 52:60:2f:00:00:03 10.7.0.1 * *\n² 52:60:2f:00:00:03 10.7.0.1 * *\n") == ()
    assert parse_leases("0 52:60:2f:00:00:03 10.7.0.999 * *\n0 52:60:2f:00:00:03 a.b.c.d * *\n") == ()


def test_macs_whose_leases_are_to_be_given_back() -> None:
    for said in ("52:54:00:12:34:56", ["52-54-00-12-34-56"]):
        assert Guests.declare({"macs": said}).macs == ("52:54:00:12:34:56",)
    for wrong in (41135085296, True, None, {"a": 1}, ["52:54"]):
        with pytest.raises(Invalid, match=r"dhcp\.release\.macs\[0\]: "):
            Guests.declare({"macs": wrong}, "dhcp.release")

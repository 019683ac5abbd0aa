"""A mesh of tunnels with the flows of many networks, and what a port costs up to 10,000 of them."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.clock import Rounds
from bench.figures import PEERS, Figure, ratio
from bench.salt import BenchError, Salt, changed
from bench.switch import BRIDGE, PING, Ports, Switch, corral, raw, vxlan
from lab.host import Host

TITLE = "Mesh"
NETWORKS = 200
MEMBERS = 10  # hosts that have a network
RAW_MOST = 3000  # one ovs-vsctl takes minutes for more: it looks for each port among all
SIZES = (100, 300, 1000, 3000, 10000)
CURVE = Path(__file__).with_name("curve.svg")
DRAW = Path(__file__).with_name("draw.py")


def mesh(count: int) -> Ports:
    """Tunnels to so many hosts, on which flows say the key."""
    ports = vxlan(count)
    return {
        name: {**port, "options": {"remote_ip": port["options"]["remote_ip"], "key": "flow"}}
        for name, port in ports.items()
    }


def flows(networks: int, ports: Ports) -> list[str]:
    """For each network a flow that floods to the hosts that have it, and one that takes its frames in."""
    names = list(ports)
    found = ["table=0,priority=0,actions=drop"]
    for network in range(networks):
        members = (names[(network * MEMBERS + number) % len(names)] for number in range(MEMBERS))
        out = ",".join(f"output:{name}" for name in dict.fromkeys(members))
        key, vlan = network + 1, network + 1
        found.append(f"table=1,priority=1,dl_vlan={vlan},actions=pop_vlan,set_field:{key}->tun_id,{out}")
        found.append(
            f"table=2,priority=1,tun_id={key},"
            f"actions=push_vlan:0x8100,set_field:{vlan + 4096}->vlan_vid,normal"
        )
    return found


def measure(ports: int, rounds: int, sizes: Sequence[int] = SIZES) -> list[Figure]:
    """Return the figures of a mesh of so many tunnels, and draw the curve."""
    with Host() as host:
        switch = Switch(host)
        found = _beside_floor(switch, mesh(ports), rounds)
        return [*found, *_curve(switch, sizes)]


def _beside_floor(switch: Switch, ports: Ports, count: int) -> list[Figure]:
    declared = flows(NETWORKS, ports)
    salt = corral(switch.host, "mesh", ports, flows=declared, fail_mode="secure")
    converge = functools.partial(salt.call, "state.apply", "switch")
    book = switch.host.state / "flows"
    book.write_text("\n".join(declared) + "\n")
    rounds = Rounds()

    def floor() -> None:
        switch.run(*raw(ports))
        switch.run("ovs-ofctl", "--bundle", "-O", "OpenFlow14", "add-flows", BRIDGE, str(book))

    for number in range(count + 1):  # the first one is for bytecode and caches
        kept = rounds if number else Rounds()
        kept.time("ping", lambda: salt.call("test.ping"))
        kept.time("raw", floor)
        _full(switch, ports, declared)
        _clear(switch)
        kept.time("first", converge)
        _full(switch, ports, declared)
        if changed(kept.time("again", converge)):
            raise BenchError("the second run changed something")
        _clear(switch)
    many = f"{len(ports)} tunnels with the flows of {NETWORKS} networks"
    beside = f"ovs-vsctl + ovs-ofctl --bundle + {PING}"
    return [
        ratio(rounds, f"{many}, first run", beside, "first", "raw", "ping", goal=1.5),
        ratio(rounds, f"{many}, nothing to do", PING, "again", "ping", goal=1.2),
    ]


def _full(switch: Switch, ports: Ports, declared: list[str]) -> None:
    switch.full(ports)
    there = switch.run("ovs-ofctl", "-O", "OpenFlow14", "dump-aggregate", BRIDGE)
    if f"flow_count={len(declared)}" not in there:
        raise BenchError(f"not {len(declared)} flows: {there}")


def _clear(switch: Switch) -> None:
    switch.clear()
    switch.run("ovs-ofctl", "del-flows", BRIDGE)


def _curve(switch: Switch, sizes: Sequence[int]) -> list[Figure]:
    """Measure one run of each size, and draw it."""
    points = []
    for size in sizes:
        ports = vxlan(size)
        salt = corral(switch.host, f"curve-{size}", ports)
        points.append({"ports": size, **_point(switch, salt, ports)})
    data = PEERS / "curve.json"
    data.write_text(json.dumps(points))
    subprocess.run([str(PEERS / "draw/bin/python"), str(DRAW), str(data), str(CURVE)], check=True)
    few, many = points[len(points) // 2], points[-1]
    share = [one["first"] / one["ports"] for one in (few, many)]
    return [
        Figure(
            f"{many['ports']} VXLAN ports, a port's share of the first run",
            f"the same of {few['ports']} ports (curve.svg)",
            share[1] / share[0],
            ours=many["first"],
            theirs=few["first"],
        )
    ]


def _point(switch: Switch, salt: Salt, ports: Ports) -> dict[str, float]:
    rounds = Rounds()
    converge = functools.partial(salt.call, "state.apply", "switch")
    rounds.time("ping", lambda: salt.call("test.ping"))
    if len(ports) <= RAW_MOST:
        rounds.time("raw", lambda: switch.run(*raw(ports)))
        switch.full(ports)
        switch.clear()
    rounds.time("first", converge)
    switch.full(ports)
    if changed(rounds.time("again", converge)):
        raise BenchError("the second run changed something")
    switch.clear()
    return {name: seconds[0] for name, seconds in rounds.seconds.items()}

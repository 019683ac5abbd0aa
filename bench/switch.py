"""Open vSwitch: many ports by one state, beside one raw transaction, Salt's old states and Ansible."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
from collections.abc import Mapping
from typing import Any

import yaml

from bench.clock import Rounds
from bench.figures import ANSIBLE, SALT_PEER, Figure, ratio
from bench.salt import BenchError, Salt, changed
from lab.host import Host

TITLE = "Open vSwitch"
BRIDGE = "bench0"
MAKE = ("ovs-vsctl", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev")
PING = "salt-call test.ping"
RUNS = {"first": "first run", "again": "nothing to do"}
MANY = 1000  # ports, to tell what one of them takes
PATIENCE = 300  # seconds for ovs-vswitchd, which takes long for 10,000 ports
Ports = dict[str, dict[str, Any]]


def vxlan(count: int) -> Ports:
    """Tunnel ports, each to a host of its own."""
    return {
        f"vx{number}": {
            "type": "vxlan",
            "options": {"remote_ip": f"10.{number // 250}.{number % 250}.1", "key": str(number + 1)},
        }
        for number in range(count)
    }


def access(count: int) -> Ports:
    """Internal ports on an access VLAN."""
    return {f"in{number}": {"type": "internal", "tag": 10} for number in range(count)}


def measure(ports: int, rounds: int, peer_rounds: int) -> list[Figure]:
    """Return the figures; *ports* for the raw floor, 200 and 100 for the peers."""
    with Host() as host:
        switch = Switch(host)
        return [
            *_beside_floor(switch, vxlan(ports), rounds),
            *_beside_salt(switch, vxlan(200), peer_rounds),
            *_beside_ansible(switch, access(100), peer_rounds),
        ]


class Switch:
    """The bridge that all work on, with nothing in it at the start of each try."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.run(*MAKE)

    def run(self, *argv: str) -> str:
        """Run a command and return its output; ``BenchError`` when it fails."""
        done = self.host.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"{argv[0]}: {done.stderr}{done.stdout}")
        return str(done.stdout)

    def writes(self) -> int:
        """How many transactions have changed the configuration so far."""
        return int(self.run("ovs-vsctl", "get", "Open_vSwitch", ".", "next_cfg"))

    def count(self) -> int:
        return len(self.run("ovs-vsctl", "list-ports", BRIDGE).split())

    def clear(self) -> None:
        self.run("ovs-vsctl", "del-br", BRIDGE)
        self.run(*MAKE)

    def full(self, ports: Ports) -> None:
        """Raise ``BenchError`` unless the bridge has so many ports, and none of them an error."""
        faulty = self.run("ovs-vsctl", "--bare", "--columns=name", "find", "Interface", "error!=[]").split()
        if self.count() != len(ports) or faulty:
            raise BenchError(f"{self.count()} of {len(ports)} ports, faulty: {faulty[:3]}")


def _clauses(commands: Any) -> list[str]:
    return [word for command in commands for word in ("--", *command)][1:]


def raw(ports: Ports) -> list[str]:
    """Return one ovs-vsctl with a clause for everything."""
    commands: list[list[str]] = []
    for name, port in ports.items():
        tag = [f"tag={port['tag']}"] if "tag" in port else []
        options = [f"options:{key}={value}" for key, value in port.get("options", {}).items()]
        commands += [
            ["add-port", BRIDGE, name, *tag],
            ["set", "Interface", name, f"type={port['type']}", *options],
        ]
    return ["ovs-vsctl", *_clauses(commands)]


def corral(host: Host, name: str, ports: Ports, **more: Any) -> Salt:
    """Return a minion whose pillar declares the bridge with these ports and, by key, what else is on it."""
    bridge: Mapping[str, Any] = {"datapath_type": "netdev", "ports": ports, **more}
    switch = {"timeout": PATIENCE, "bridges": {BRIDGE: bridge}}
    return Salt(host, name, {"corral": {"roles": ["switch"], "switch": switch}})


def _beside_floor(switch: Switch, ports: Ports, count: int) -> list[Figure]:
    salt = corral(switch.host, "corral", ports)
    salt.sls("bench_nop", {"bench": {"test.nop": [{"bridges": salt.pillar["corral"]["switch"]["bridges"]}]}})
    rounds = Rounds()
    converge = functools.partial(salt.call, "state.apply", "switch")
    converge()  # bytecode, caches
    switch.clear()
    writes = set()
    for _ in range(count):
        rounds.time("ping", lambda: salt.call("test.ping"))
        rounds.time("nop", lambda: salt.call("state.apply", "bench_nop"))
        rounds.time("raw", lambda: switch.run(*raw(ports)))
        switch.full(ports)
        switch.clear()
        before = switch.writes()
        rounds.time("first", converge)
        between = switch.writes()
        switch.full(ports)
        if changed(rounds.time("again", converge)):
            raise BenchError("the second run changed something")
        writes.add((between - before, switch.writes() - between))
        switch.clear()
    (first_writes, again_writes), *others = sorted(writes)
    if others:
        raise BenchError(f"rounds differ in their numbers of transactions: {writes}")
    many = f"{len(ports)} VXLAN ports"
    return [
        ratio(rounds, f"{many}, first run", f"one raw ovs-vsctl + {PING}", "first", "raw", "ping", goal=1.5),
        ratio(rounds, f"{many}, nothing to do", PING, "again", "ping", goal=1.2),
        ratio(rounds, f"{many}, nothing to do", "the same declaration given to test.nop", "again", "nop"),
        ratio(rounds, "(Salt alone: the same declaration given to test.nop)", PING, "nop", "ping"),
        Figure(f"{many}, first run", "transactions written", first_writes, "transaction", goal=1),
        Figure(f"{many}, nothing to do", "transactions written", again_writes, "transactions", goal=0),
    ]


def _against(
    switch: Switch, ports: Ports, count: int, peer: str, run_peer: Any, start_peer: Any
) -> list[Figure]:
    """Return a peer's first run and its run with nothing to do, beside ours on the same ports.

    start_peer
        The same run of the peer without any port, which is not what a port costs.
    """
    kind = vxlan if "options" in next(iter(ports.values())) else access
    many = kind(MANY)
    ours = {
        name: corral(switch.host, f"{name}-{peer}", some)
        for name, some in (("ours", ports), ("many", many), ("start", {}))
    }
    rounds = Rounds()
    for _ in range(count):
        rounds.time("ours start", lambda: ours["start"].call("state.apply", "switch"))
        for name, there in (("many", many), ("ours", ports)):
            for run in RUNS:
                rounds.time(f"{name} {run}", functools.partial(ours[name].call, "state.apply", "switch"))
                switch.full(there)
            switch.clear()
        rounds.time("theirs start", start_peer)
        for run in RUNS:
            rounds.time(f"theirs {run}", run_peer)
            switch.full(ports)
        switch.clear()
    what = f"{len(ports)} {'VXLAN' if kind is vxlan else 'VLAN'} ports"
    return [
        *(
            ratio(rounds, f"{what}, {said}", peer, f"ours {run}", f"theirs {run}")
            for run, said in RUNS.items()
        ),
        *(_each(rounds, f"each of {what}, {said}", peer, run, len(ports)) for run, said in RUNS.items()),
    ]


def _each(rounds: Rounds, what: str, peer: str, run: str, ports: int) -> Figure:
    """Return what a port takes beside a peer: a run without what it takes for no port at all.

    Ours is taken from many ports, since a hundred of them are lost in what the start of Salt varies by.
    """

    def share(who: str, start: str, number: int) -> float:
        pairs = zip(rounds.seconds[f"{who} {run}"], rounds.seconds[start], strict=True)
        return statistics.median(took - before for took, before in pairs) / number

    own, other = share("many", "ours start", MANY), share("theirs", "theirs start", ports)
    count = len(rounds.seconds["ours start"])
    return Figure(
        what, f"{peer} (ms each)", own / other, goal=0.01, ours=own * 1000, theirs=other * 1000, rounds=count
    )


def _beside_salt(switch: Switch, ports: Ports, count: int) -> list[Figure]:
    salt = Salt(switch.host, "salt-peer", {}, SALT_PEER)
    states = {}
    for name, port in ports.items():
        options = port["options"]
        arguments = {
            "bridge": BRIDGE,
            "tunnel_type": port["type"],
            "id": int(options["key"]),
            "remote": options["remote_ip"],
            "dst_port": 4789,
        }
        states[name] = {"openvswitch_port.present": [{key: value} for key, value in arguments.items()]}
    salt.sls("bench_ports", states)
    salt.sls("bench_none", {"bench": {"test.nop": []}})
    run, start = (functools.partial(salt.call, "state.apply", sls) for sls in ("bench_ports", "bench_none"))
    return _against(switch, ports, count, "Salt 3007 openvswitch_port.present", run, start)


def _beside_ansible(switch: Switch, ports: Ports, count: int) -> list[Figure]:
    task = {
        "openvswitch.openvswitch.openvswitch_port": {
            "bridge": BRIDGE,
            "port": "{{ item }}",
            "tag": 10,
            "set": "Interface {{ item }} type=internal",
        },
    }
    python = f"ansible_python_interpreter={ANSIBLE.with_name('python')}"

    def run(loop: list[str]) -> None:
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        book = switch.host.state / f"play{len(loop)}.yml"
        book.write_text(yaml.safe_dump([{**play, "tasks": [{**task, "loop": loop}]}]))
        done = switch.host.run(
            [str(ANSIBLE), "-i", "localhost,", "-e", python, str(book)],
            env={**os.environ, "ANSIBLE_LOCALHOST_WARNING": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BenchError(f"ansible-playbook: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    runs = (functools.partial(run, list(ports)), functools.partial(run, []))
    return _against(switch, ports, count, "Ansible openvswitch_port", *runs)

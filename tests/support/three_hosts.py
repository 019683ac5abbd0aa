"""Three throw-away hypervisors on one underlay, with the real encapsulations between them.

The underlay is a Linux bridge in a network namespace of its own: the machine's own network has no part in it.
A host's address in it is on a bridge of Open vSwitch that has the card as a port, as the user-space datapath
wants it for tunnels.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.host import Host
from lab.minion import Minion
from lab.tree import Tree

CARD, UNDERLAY = "uplink", "br-phy"
CTL = "/usr/share/openvswitch/scripts/ovs-ctl"
NAMES = ("hv1", "hv2", "hv3")
PEERS = {name: f"192.0.2.{number}" for number, name in enumerate(NAMES, 1)}
PEERS_V6 = {name: f"2001:db8::{number}" for number, name in enumerate(NAMES, 1)}
SECONDS = 60
IMAGES, LOGS = "/var/lib/libvirt/images", "/var/log/libvirt/qemu"
SSH = """
import asyncio, asyncssh, sys

async def run(address, key, command):
    who = {"username": "root", "client_keys": [key], "known_hosts": None}
    async with asyncssh.connect(address, connect_timeout=30, config=None, **who) as guest:
        print((await guest.run(command, check=True, timeout=30)).stdout)

asyncio.run(run(*sys.argv[1:]))
"""
UDHCPC = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
echo "ip=$ip router=$router mtu=$mtu server=$serverid"
"""
Answer = dict[str, Any]


class Hypervisor:
    """One of the three, with a masterless minion whose id is its name."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host, self.name = host, host.hostname
        self.minion = Minion(host, folder, grains={})

    def sh(self, *argv: str, stdin: str | None = None) -> str:
        """Return the output of a command inside; it must succeed."""
        done = self.ask(*argv, stdin=stdin)
        assert done.returncode == 0, f"{self.name}: {argv}: {done.stdout}{done.stderr}"
        return str(done.stdout).strip()

    def ask(self, *argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside that may fail."""
        nothing = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return self.host.run(argv, capture_output=True, text=True, timeout=SECONDS, **nothing)

    def vsctl(self, *argv: str) -> str:
        return self.sh("ovs-vsctl", "--timeout=20", *argv)

    def state(self, function: str, name: str, test: bool = False, **arguments: Any) -> Answer:
        """Run one state, as ``salt-call`` does."""
        words = [f"{key}={json.dumps(value)}" for key, value in {"test": test, **arguments}.items()]
        answer = self.minion.call("state.single", function, name, *words)
        assert isinstance(answer, dict), answer
        (only,) = answer.values()
        return dict(only)

    def apply(self, sls: str, pillar: Mapping[str, Any], *words: str) -> dict[str, Answer]:
        """Run an SLS with this pillar, and return its states by their id."""
        answer = self.minion.call("state.apply", sls, f"pillar={json.dumps(pillar)}", *words)
        assert isinstance(answer, dict), answer
        return {state["__id__"]: state for state in answer.values()}

    # Endpoints: a namespace with an internal port in it, which stands for a guest with a card

    def endpoint(self, space: str, bridge: str, address: str | None = None, mtu: int | None = None) -> str:
        """Have an endpoint join a network as a guest does, by the name of a bridge; return its MAC."""
        port = f"e-{space}"
        self.vsctl("add-port", bridge, port, "--", "set", "interface", port, "type=internal")
        return self.endpoint_of(space, port, address, mtu)

    def endpoint_of(self, space: str, port: str, address: str | None = None, mtu: int | None = None) -> str:
        """Put an internal port that is there into a namespace."""
        self.sh("ip", "netns", "add", space)
        self.sh("ip", "link", "set", port, "netns", space)
        if address is not None:
            self.inside(space, "ip", "address", "add", address, "dev", port)
        self.inside(space, "ip", "link", "set", port, "up", *(() if mtu is None else ("mtu", str(mtu))))
        (link,) = json.loads(self.inside(space, "ip", "-json", "link", "show", port))
        return str(link["address"])

    def inside(self, space: str, *argv: str) -> str:
        """Run a command in an endpoint."""
        return self.sh("ip", "netns", "exec", space, *argv)

    def reaches(self, space: str, address: str, *options: str) -> bool:
        """Return whether an address answers an endpoint within some seconds."""
        ping = ("ping", "-n", "-q", "-c", "1", "-i", "0.2", "-w", "10", *options, address)
        return self.ask("ip", "netns", "exec", space, *ping).returncode == 0

    def silent(self, space: str, address: str) -> bool:
        """Return whether an address answers none of several requests of an endpoint."""
        ping = ("ping", "-n", "-q", "-c", "5", "-i", "0.2", "-W", "1", address)
        return self.ask("ip", "netns", "exec", space, *ping).returncode == 1

    def neighbour(self, space: str, address: str) -> str:
        """Return the MAC by which an endpoint knows an address."""
        (entry,) = json.loads(self.inside(space, "ip", "-json", "neighbour", "show", address))
        return str(entry["lladdr"])

    def lease(self, space: str) -> dict[str, str]:
        """Have an endpoint ask for an address; return what it is offered, or nothing."""
        script = self.minion.folder / "udhcpc"
        script.write_text(UDHCPC)
        script.chmod(0o755)
        card = f"e-{space}"
        client = ("busybox", "udhcpc", "-f", "-n", "-q", "-i", card, "-t", "20", "-T", "1", "-s", str(script))
        said = self.ask("ip", "netns", "exec", space, *client, "-O", "mtu").stdout
        bound = [line for line in said.splitlines() if line.startswith("ip=")]
        return dict(pair.split("=", 1) for pair in bound[-1].split()) if bound else {}

    # Real guests

    def guest(self, name: str, bridge: str) -> None:
        """Start a guest that asks for an address and lets in whoever has the key of the lab."""
        disk, image = f"{IMAGES}/{name}.raw", Tree.prepare().disk
        self.sh("cp", "--sparse=always", str(image), disk)
        answer = self.state(
            "guest.running",
            name,
            **{"memory": "96M", "type": "qemu", "tcg_cache": "16M", "boot": ["hd"]},
            disks=[{"path": disk, "format": "raw"}],
            nics=[{"bridge": bridge, "offload": False}],
            console_log=f"{LOGS}/{name}-console.log",
        )
        assert answer["result"] is True, answer

    def guest_address(self, name: str) -> str:
        """Wait until a guest says on its console what it has leased; nothing tells when a file grows."""
        log, end = f"{LOGS}/{name}-console.log", time.monotonic() + SECONDS
        while True:
            said = re.search(r"corral-guest: lease (\S+)", self.ask("cat", log).stdout)
            if said:
                return said[1]
            assert time.monotonic() < end, f"{name} has no lease\n{self.flows()}"
            time.sleep(0.1)

    def in_guest(self, space: str, address: str, command: str) -> str:
        """Run a command in a guest, over SSH out of a namespace of this host."""
        key = str(Tree.prepare().key)
        return self.inside(space, sys.executable, "-c", SSH, address, key, command)

    def vlan(self, network: str) -> int:
        """Return the VLAN that this host chose for a network."""
        return int(self.vsctl("get", "bridge", "br-int", f"external_ids:corral-vlan-{network}").strip('"'))

    def flows(self, bridge: str = "br-tun") -> str:
        return self.sh("ovs-ofctl", "--names", "--no-stats", "dump-flows", bridge)

    def restart_switch(self) -> None:
        """Stop Open vSwitch and start it again, without what ``ovs-ctl restart`` does to keep the flows."""
        quiet = ("--no-mlockall", "--no-full-hostname")
        self.sh(CTL, "stop")
        self.sh(CTL, *quiet, f"--system-id={self.host.name}", "start")

    def clean(self) -> None:
        """Remove what a test made, past Corral."""
        for name in self.sh("virsh", "-q", "list", "--all", "--name").split():
            self.ask("virsh", "-q", "destroy", name)
            self.ask("virsh", "-q", "undefine", name)
        for space in self.sh("ip", "netns", "list").split("\n"):
            if space:
                self.sh("ip", "netns", "delete", space.split()[0])
        for bridge in self.vsctl("list-br").split():
            if bridge != UNDERLAY:
                self.vsctl("--if-exists", "del-br", bridge)


@contextlib.contextmanager
def wired() -> Iterator[int]:
    """A network namespace with the bridge ``wire``, as long as it is used: the number of a process in it."""
    with subprocess.Popen(
        [
            "unshare",
            "--net",
            "--",
            "sh",
            "-c",
            "ip link add wire type bridge && ip link set wire up && echo up && cat",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        yield holder.pid
        holder.stdin.close()


def _join(wire: int, one: Hypervisor) -> None:
    """Give a host a card in the underlay, and its address there."""
    plug = f"to-{one.name}"
    commands = [
        f"link add {plug} type veth peer name {CARD} netns {one.host.pid}",
        f"link set {plug} master wire up",
    ]
    argv = ["nsenter", f"--target={wire}", "--net", "--", "ip", "-batch", "-"]
    subprocess.run(argv, input="\n".join(commands), text=True, check=True, timeout=SECONDS)
    one.vsctl(
        *("add-br", UNDERLAY, "--", "set", "bridge", UNDERLAY, "datapath_type=netdev", "--"),
        *("add-port", UNDERLAY, CARD),
    )
    one.sh("ip", "link", "set", CARD, "up")
    one.sh("ip", "link", "set", UNDERLAY, "up")
    one.sh("ip", "address", "add", f"{PEERS[one.name]}/24", "dev", UNDERLAY)
    one.sh("ip", "address", "add", f"{PEERS_V6[one.name]}/64", "dev", UNDERLAY, "nodad")


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hypervisor]]:
    """The three, by name."""
    with contextlib.ExitStack() as stack:
        wire = stack.enter_context(wired())
        folder = tmp_path_factory.mktemp("fleet")
        found = {}
        for name in NAMES:
            host = stack.enter_context(Host(name, nics=0, oz_bridge=None))
            found[name] = Hypervisor(host, folder / name)
            _join(wire, found[name])
        assert len({os.readlink(f"/proc/{one.host.pid}/ns/net") for one in found.values()}) == len(NAMES)
        yield found


@pytest.fixture
def three(fleet: dict[str, Hypervisor]) -> Iterator[list[Hypervisor]]:
    """The three in their order; what a test made on them is gone at its end."""
    yield list(fleet.values())
    for one in fleet.values():
        one.clean()

"""Fixtures of the DHCP tests: a bridge of their own, and clients that really ask for leases on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dhcp_net import BRIDGE, NET, OTHER, OTHER_BRIDGE, Ask, forget, make_bridge, sh

SCRIPT = """#!/bin/sh
[ "$1" = bound ] || exit 0
echo "ip=$ip router=$router domain=$domain broadcast=$broadcast ntp=$ntpsrv mtu=$mtu lease=$lease"
exit 0
"""


@pytest.fixture
def bridge() -> Iterator[str]:
    make_bridge()
    yield BRIDGE
    for subnet in (NET, OTHER):
        forget(subnet)
    for device in (BRIDGE, OTHER_BRIDGE):
        subprocess.run(["ip", "link", "delete", device], check=False, capture_output=True)


@pytest.fixture
def ask(bridge: str, tmp_path: Path) -> Iterator[Ask]:
    """Ask for a lease as the guest of a MAC: ``ask("52:…")`` → ``{"ip": …}``; empty when nobody answers.

    within
        The network namespace that the bridge is in.
    """
    script = tmp_path / "udhcpc"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    made: list[str] = []

    def run(mac: str, *options: str, tries: int = 5, within: str = "") -> dict[str, str]:
        tail = mac.replace(":", "")[-4:]
        space, port = f"tdhcp-{tail}{within}", f"vtdhcp{tail}"
        ip = ("ip", "-n", within) if within else ("ip",)
        if space not in made:
            made.append(space)
            sh("ip", "netns", "add", space)
            ends = (
                "link",
                "add",
                port,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                space,
                "address",
                mac,
            )
            sh(*ip, *ends)
            sh("ip", "-n", space, "link", "set", "eth0", "up")
        sh(*ip, "link", "set", port, "master", bridge, "up")
        client = [
            "busybox",
            "udhcpc",
            "-f",
            "-n",
            "-q",
            "-i",
            "eth0",
            "-t",
            str(tries),
            "-T",
            "1",
            "-s",
            script,
        ]
        said = subprocess.run(
            ["ip", "netns", "exec", space, *client, *options],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        bound = [line for line in said.stdout.splitlines() if line.startswith("ip=")]
        return dict(pair.split("=", 1) for pair in bound[-1].split(" ")) if bound else {}

    yield run
    for space in made:
        sh("ip", "netns", "delete", space)

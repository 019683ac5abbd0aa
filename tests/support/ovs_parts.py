"""A bridge with three ports, and what hangs on the switch, past Corral."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

A = "brt-ovs-a"
NETDEV = {"datapath_type": "netdev"}
TABLES = (
    "Controller",
    "Manager",
    "Mirror",
    "NetFlow",
    "sFlow",
    "IPFIX",
    "QoS",
    "Queue",
    "SSL",
    "Open_vSwitch",
)
REPORTED = {"cur_cfg", "statistics", "status", "is_connected", "role"}  # what ovs-vswitchd writes


@pytest.fixture
def parts(switch: ModuleType) -> Iterator[Callable[[], Any]]:
    """A bridge with three ports, and all that a state could move beyond bridges and ports."""
    switch.vsctl("add-br", A, "--", "set", "bridge", A, "datapath_type=netdev")
    for port in ("brt-p1", "brt-p2", "brt-p3"):
        switch.vsctl("add-port", A, port, "--", "set", "interface", port, "type=internal")

    def look() -> Any:
        found = {}
        for table in TABLES:
            listed = json.loads(switch.vsctl("--format=json", "list", table))
            kept = [index for index, name in enumerate(listed["headings"]) if name not in REPORTED]
            found[table] = sorted(([row[index] for index in kept] for row in listed["data"]), key=repr)
        ports = switch.vsctl("--columns=name,qos,mac,protected,cvlans,external_ids", "list", "Port")
        interfaces = "name,bfd,lldp,cfm_mpid,other_config,ingress_policing_rate,ofport_request,mac"
        bridge = switch.vsctl(
            "--columns=controller,mirrors,netflow,sflow,ipfix,protocols", "list", "Bridge", A
        )
        return (
            found,
            sorted(ports.split("\n\n")),
            bridge,
            switch.vsctl(f"--columns={interfaces}", "list", "Interface"),
        )

    yield look
    switch.clean()
    for command in (("del-manager",), ("del-ssl",)):
        switch.vsctl(*command)
    for table in ("QoS", "Queue"):
        switch.vsctl("--all", "destroy", table)

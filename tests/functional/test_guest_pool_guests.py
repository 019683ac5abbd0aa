"""Pools of real systems: they boot, lease, let us in over SSH, and obey their power button."""

from __future__ import annotations

from typing import Any

import pytest

from lab.tree import Tree
from tests.support.pool_rig import FOLDER, NETWORK, State, running

IMAGE = "tpool-linux"


@pytest.fixture(scope="module")
def tree(salt: Any, pool_host: None) -> Any:
    """The small guest of the lab, as an image."""
    made = Tree.prepare()
    arguments = {"source": "file", "format": "raw", "path": str(made.disk)}
    (answer,) = salt.cmd("state.single", "image.present", IMAGE, **arguments).values()
    assert answer["result"] is True, answer
    yield made
    (answer,) = salt.cmd("state.single", "image.absent", IMAGE).values()
    assert answer["result"] is True, answer


def test_from_a_lease_to_a_readout(state: State, salt: Any, tree: Tree, pools: None) -> None:
    """S0.6 and S0.7, with two guests on a switch in user space."""
    declared = {
        "replicas": 2,
        "image": IMAGE,
        "guest": {"memory": "96M", "type": "qemu", "tcg_cache": "16M"},
        "networks": [{**NETWORK, "offload": False}],
        "disk": {"directory": str(FOLDER)},
        "boot": {"ready": "lease", "timeout": "5m"},
    }
    answer = state("guest_pool.running", "tpool-linux", **declared)
    assert answer["result"] is True, answer
    by_ssh = {**declared, "boot": {"ready": "ssh", "timeout": "2m"}}
    assert state("guest_pool.running", "tpool-linux", **by_ssh)["result"] is True
    said = salt.cmd("guest_pool.readout", "tpool-linux", "uname -n", key=str(tree.key), timeout=120)
    assert said == {
        f"tpool-linux-00{index}": {
            "address": f"10.77.0.{10 + index}",
            "status": 0,
            "stdout": f"tpool-linux-00{index}\n",
            "stderr": "",
        }
        for index in range(2)
    }
    failed = salt.cmd("guest_pool.readout", "tpool-linux", "ls /nowhere", key=str(tree.key), timeout=120)
    assert {one["status"] for one in failed.values()} == {1}
    assert all("No such file" in one["stderr"] for one in failed.values())
    slow = salt.cmd("guest_pool.readout", "tpool-linux", "sleep 60", key=str(tree.key), timeout=5)
    assert {one["error"] for one in slow.values()} == {"no answer within 5 s"}
    stranger = salt.cmd("guest_pool.readout", "tpool-linux", user="nobody", key=str(tree.key), timeout=120)
    assert all("denied" in one["error"].lower() for one in stranger.values()), stranger
    stopped = state("guest_pool.stopped", "tpool-linux", shutdown_timeout="60s")
    assert stopped["result"] is True
    assert running() == []
    off = salt.cmd("guest_pool.readout", "tpool-linux", key=str(tree.key))
    assert {one["error"] for one in off.values()} == {"it is stopped"}

"""The first preview of all: on a host where none of the products is installed yet."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.salt_here import REPO

PROGRAMS = ["ovs-vswitchd", "ovsdb-server", "dnsmasq", "libvirtd", "qemu-img", "virsh", "oz-install", "nft"]
FOLDERS = ["/etc/openvswitch", "/run/openvswitch", "/var/lib/openvswitch", "/run/libvirt", "/var/lib/libvirt"]
# They go for one command only, and with them the network.
WITHOUT = """
for program in {programs}; do mount --bind /dev/null "$program"; done
for folder in {folders}; do mount -t tmpfs tmpfs "$folder"; done
exec "$@"
"""
STATES = {"ovs", "link", "cmd", "dhcp", "image", "guest_pool"}


@pytest.fixture
def bare() -> tuple[str, ...]:
    """The words before a command that make this a host without the products for it."""
    programs = [path for name in PROGRAMS if (path := shutil.which(name))]
    assert len(programs) == len(PROGRAMS), programs
    folders = [folder for folder in FOLDERS if Path(folder).is_dir()]
    script = WITHOUT.format(programs=" ".join(programs), folders=" ".join(folders))
    return ("unshare", "--mount", "--net", "sh", "-ec", script, "sh")


def test_a_preview_shows_what_a_first_run_would_make(
    salt_call: Callable[..., Any], bare: tuple[str, ...], file_root: Path, tmp_path: Path
) -> None:
    example = yaml.safe_load((REPO / "pillar/s0.sls").read_text())
    example["corral"]["roles"].remove("hypervisor")  # its states ask for a package manager and for systemd
    (tmp_path / "pillar").mkdir()
    (tmp_path / "pillar/top.sls").write_text(yaml.safe_dump({"base": {"*": ["host"]}}))
    (tmp_path / "pillar/host.sls").write_text(yaml.safe_dump(example))

    preview = salt_call("state.highstate", "test=True", within=bare, file_roots={"base": [str(file_root)]})
    assert isinstance(preview, dict), preview
    states = {key.split("_|-")[0]: state for key, state in preview.items()}
    del states["sysctl"]  # of a kernel that is there
    assert states.keys() == STATES
    failed = {name: state["comment"] for name, state in states.items() if state["result"] is not None}
    assert not failed, failed
    assert all(state["changes"] for state in states.values()), preview
    assert len(states["guest_pool"]["changes"]) >= example["corral"]["pools"]["fedora-guest"]["replicas"]

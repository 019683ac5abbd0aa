"""Fixtures of the links that come back after a reboot: a device, and a host that can bring it up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corral.link import persist
from tests.support.link_keepers import LINK, Networkd, make, run, texts


@pytest.fixture
def link() -> Iterator[str]:
    before = texts().keys()
    make()
    yield LINK
    run("ip", "link", "delete", LINK)
    for path in texts().keys() - before:
        Path(path).unlink()


@pytest.fixture
def networkd(link: str, tmp_path: Path) -> Iterator[Networkd]:
    one = Networkd(tmp_path / "networkd")
    yield one
    one.stop()


@pytest.fixture(params=["networkd", "ifupdown", "networkmanager", "ifcfg"])
def manager(request: pytest.FixtureRequest, link: str) -> Iterator[str]:
    """A host that has one of them, as far as a look at its files tells."""
    signs = {
        "networkd": [persist.NETIF / "state"],
        "ifupdown": [persist.MAIN, Path("/usr/local/sbin/ifup")],
        "networkmanager": [persist.NM_RUN / "x"],
        "ifcfg": [Path("/etc/sysconfig/network-scripts/ifup-eth")],
    }[request.param]
    for sign in signs:
        sign.parent.mkdir(parents=True, exist_ok=True)
        sign.write_text("source /etc/network/interfaces.d/*\n")
        sign.chmod(0o755)
    yield request.param
    for sign in signs:
        sign.unlink(missing_ok=True)
    if request.param == "networkmanager":
        persist.NM_RUN.rmdir()

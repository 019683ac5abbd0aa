"""What virsh is asked, by a program in its place: guests and pools that go while they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from corral.errors import Refused, Unavailable
from corral.image import programs
from corral.image.virsh import destroy, destroy_pools

URI = "qemu:///system"
# Does what the test gave for a command, and nothing else.
VIRSH = """#!/bin/sh
shift 3
echo "$*" >> "$0.asked"
case "$*" in
{cases}
esac
"""

Fake = Callable[..., Path]


@pytest.fixture
def virsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put a virsh on the path: ``virsh(list="echo web", destroy="exit 1")``; returns what it was asked."""

    def put(**cases: str) -> Path:
        lines = [f"'{name.replace('_', '-')}'*) {act} ;;" for name, act in cases.items()]
        program = tmp_path / "virsh"
        program.write_text(VIRSH.format(cases="\n".join(lines)))
        program.chmod(0o755)
        monkeypatch.setattr(programs, "FOLDERS", str(tmp_path))
        return tmp_path / "virsh.asked"

    return put


GOES = 'test -e "$0.gone" || echo web'  # is there until it was asked to go
FAILS = ': > "$0.gone"; echo "error: domain is not running" >&2; exit 1'


def test_guest_that_powers_off_by_itself(virsh: Fake) -> None:
    asked = virsh(list=GOES, destroy=FAILS)
    destroy(URI, "web")
    assert asked.read_text().splitlines() == [
        "list --name",
        "destroy --domain web",
        "list --name",
        "list --all --name",
    ]


def test_guest_that_does_not_go(virsh: Fake) -> None:
    virsh(list="echo web", destroy="echo 'error: not permitted' >&2; exit 1")
    with pytest.raises(Refused, match="not permitted"):
        destroy(URI, "web")


def test_pool_that_goes_while_it_is_looked_at(virsh: Fake, tmp_path: Path) -> None:
    virsh(pool_list=GOES, pool_dumpxml=FAILS)
    destroy_pools(URI, tmp_path)


def test_pool_that_goes_by_itself(virsh: Fake, tmp_path: Path) -> None:
    virsh(pool_list=GOES, pool_dumpxml=f"echo '<path>{tmp_path}</path>'", pool_destroy=FAILS)
    destroy_pools(URI, tmp_path)


def test_pool_that_does_not_go(virsh: Fake, tmp_path: Path) -> None:
    seen = f"echo '<path>{tmp_path}</path>'"
    virsh(pool_list="echo web", pool_dumpxml=seen, pool_destroy="echo 'error: busy' >&2; exit 1")
    with pytest.raises(Refused, match="busy"):
        destroy_pools(URI, tmp_path)


def test_pool_of_which_nothing_is_heard(virsh: Fake, tmp_path: Path) -> None:
    """A scratch folder is given up only when its pool is known to be gone."""
    virsh(pool_list='echo web; /bin/rm "$0"')
    with pytest.raises(Unavailable, match="virsh is not installed"):
        destroy_pools(URI, tmp_path)

"""The lock under which one run at a time works on a pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral.errors import Refused
from corral.pool import lock


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FOLDER", tmp_path / "pool")


def test_one_run_at_a_time_works_on_a_pool() -> None:
    busy = pytest.raises(Refused, match=r"^pools\.web: another run is at work on this pool\.$")
    with lock.locked("web"), lock.locked("db"), busy, lock.locked("web"):
        pass
    with lock.locked("web"):
        pass


def test_what_goes_wrong_under_the_lock_is_not_blamed_on_another_run() -> None:
    with pytest.raises(BlockingIOError), lock.locked("web"):
        raise BlockingIOError

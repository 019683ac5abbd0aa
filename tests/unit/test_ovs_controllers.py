"""Controllers and managers: the verdict on each."""

from __future__ import annotations

from typing import Any

import pytest

from corral.ovs import controllers

STATUS = {
    "state": "BACKOFF",
    "last_error": "Connection refused",
    "sec_since_connect": "7",
    "sec_since_disconnect": "3",
}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"target": "tcp:192.0.2.1:6653", "is_connected": True, "status": {"state": "ACTIVE"}}, ""),
        ({"target": "ptcp:6653", "is_connected": False, "status": {}}, ""),
        (
            {"target": "ssl:192.0.2.1:6653", "is_connected": False, "status": STATUS},
            "ssl:192.0.2.1:6653 is not connected (BACKOFF: Connection refused)",
        ),
        (
            {"target": "tcp:192.0.2.1:6653", "is_connected": False, "status": {}},
            "tcp:192.0.2.1:6653 is not connected (not tried yet)",
        ),
    ],
    ids=["connected", "listens", "refused", "new"],
)
def test_verdict(row: dict[str, Any], reason: str) -> None:
    found = controllers.peer(row)
    assert (found["healthy"], found["reason"]) == (reason == "", reason)


def test_status_of_a_peer() -> None:
    found = controllers.peer(
        {"target": "tcp:192.0.2.1:6653", "is_connected": False, "role": "master", "status": STATUS}
    )
    assert found == {
        "target": "tcp:192.0.2.1:6653",
        "connected": False,
        "role": "master",
        "state": "BACKOFF",
        "last_error": "Connection refused",
        "sec_since_connect": 7,
        "sec_since_disconnect": 3,
        "healthy": False,
        "reason": "tcp:192.0.2.1:6653 is not connected (BACKOFF: Connection refused)",
    }


def test_as_a_whole() -> None:
    good = controllers.peer({"target": "ptcp:6653", "is_connected": False, "status": {}})
    bad = controllers.peer({"target": "tcp:192.0.2.1:6640", "is_connected": False, "status": {}})
    assert controllers.summary({"br0": [good]}, [])["healthy"] is True
    assert controllers.summary({"br0": [good, bad]}, [bad])["reason"] == (
        "br0: tcp:192.0.2.1:6640 is not connected (not tried yet);"
        " manager: tcp:192.0.2.1:6640 is not connected (not tried yet)"
    )

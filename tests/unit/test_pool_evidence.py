"""What is told of guests that did not get ready, and of the host they are on."""

from __future__ import annotations

from pathlib import Path

from corral.pool.evidence import last_words, sent, sentence
from corral.pool.meter import Meter


def test_each_is_told_with_what_can_be_seen_of_it() -> None:
    failures = {"web-001": "not ready 9 s after its start", "web-007": "stopped by itself (crashed)"}
    facts = {
        "web-001": ["it is running", "no lease of 52:54:00:00:00:01 in one"],
        "web-007": ["it is stopped"],
    }
    assert sentence("pools.web", 101, failures, lambda name: facts[name]) == (
        "pools.web: 2 guests are not ready, of 101 to be started:"
        " web-001: not ready 9 s after its start; it is running; no lease of 52:54:00:00:00:01 in one."
        " web-007: stopped by itself (crashed); it is stopped."
    )


def test_many_are_told_together() -> None:
    failures = {
        **{f"web-{n:03d}": "not ready 9 s after its start" for n in range(8)},
        **{f"web-{n:03d}": "not started, since 5 guests before it failed" for n in range(8, 101)},
    }
    told = sentence("pools.web", 101, failures, lambda _: ["it is running"])
    assert told.startswith("pools.web: 101 guests are not ready, of 101 to be started: web-000: not ready")
    assert told.count("it is running") == 5
    assert "web-005, web-006, web-007: not ready 9 s after its start." in told
    assert told.endswith(
        "web-008, web-009 … web-100 (93 guests): not started, since 5 guests before it failed."
    )


def test_a_nic_is_found_by_its_address(tmp_path: Path) -> None:
    nic = tmp_path / "vnet7"
    (nic / "statistics").mkdir(parents=True)
    (nic / "address").write_text("fe:60:2f:01:02:03\n")
    (nic / "statistics" / "rx_packets").write_text("12\n")
    (tmp_path / "vnet8").mkdir()
    assert sent("52:60:2f:01:02:03", tmp_path) == 12
    assert sent("52:60:2f:01:02:04", tmp_path) is None
    assert sent("52:60:2f:01:02:03", tmp_path / "nowhere") is None


def test_the_last_words_of_a_console(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 9000 + b"\nudhcpc: no lease, failing\x1b\r\n\r\n\0")
    assert last_words(str(log)) == "udhcpc: no lease, failing"
    assert last_words(str(tmp_path / "none")) == ""


def proc(folder: Path, idle: int, waiting: int) -> Path:
    (folder / "pressure").mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  100 0 100 {idle} {waiting} 0 0 0 0 0\ncpu0 1 2 3\n")
    (folder / "meminfo").write_text("MemTotal: 8 kB\nMemAvailable:    2048 kB\n")
    some = "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0 avg300=0 total=0\n"
    (folder / "pressure" / "memory").write_text(some)
    return folder


def test_what_the_host_has_left(tmp_path: Path) -> None:
    now = [0.0]
    meter = Meter(proc(tmp_path, idle=0, waiting=0), clock=lambda: now[0])
    first = meter.look()
    assert (first.idle, first.memory, first.tight) == (None, 2 << 20, True)
    proc(tmp_path, idle=300, waiting=700)
    assert meter.look().idle is None, "too soon"
    now[0] = 1.0
    assert meter.look().idle == 0.3, "waiting for a disk is not idle"
    (tmp_path / "pressure" / "memory").unlink()
    assert not meter.look().tight

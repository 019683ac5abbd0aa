"""What brings links up at boot, for the tests: real systemd-networkd, and the signs of the others."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corral.link import persist

LINK, PEER = "vt-keep0", "vt-keep1"
NETWORKD = Path("/lib/systemd/systemd-networkd")
FILE = Path(f"/etc/systemd/network/00-corral-{LINK}.network")
DECLARED: dict[str, Any] = {
    "addresses": ["10.78.0.2/24", "10.78.8.2/24", "fd78::2/64"],
    "mtu": 1400,
    "up": True,
    "gateway": "10.78.0.1",
    "routes": [
        {"to": "10.79.0.0/16", "via": "10.78.8.1", "metric": 50},
        {"to": "10.80.0.0/16"},
        {"to": "fd79::/64", "via": "fd78::1"},
    ],
}
State = Callable[..., dict[str, Any]]


def run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def make() -> None:
    run("ip", "link", "add", LINK, "type", "veth", "peer", "name", PEER)
    run("ip", "link", "set", PEER, "up")


def made_anew() -> None:
    run("ip", "link", "delete", LINK)
    make()


def texts() -> dict[str, str]:
    """Return every file that a state of this product could move."""
    found = {}
    for folder in ("/etc/systemd/network", "/etc/network", "/etc/NetworkManager", "/etc/sysconfig"):
        for path in Path(folder).rglob("*"):
            if path.is_file():
                found[str(path)] = f"{path.stat().st_mode:o} {path.read_text()}"
    return found


def seen() -> Any:
    (link,) = json.loads(run("ip", "-json", "address", "show", "dev", LINK))
    return texts(), link["mtu"], link["flags"], [one["local"] for one in link["addr_info"]]


class Networkd:
    """The real systemd-networkd; ``start`` returns when it has set the device up, if it has a file for it.

    It takes every device for one that udev has seen where ``/sys`` is read-only.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for folder in ("links", "leases", "lldp"):
            (persist.NETIF / folder).mkdir(parents=True, exist_ok=True)
        for path in (persist.NETIF, *persist.NETIF.iterdir()):
            shutil.chown(path, "systemd-network", "systemd-network")
        script = f"mount -o remount,ro,bind /sys && exec {NETWORKD}"
        with self.log.open("a") as log:
            self.daemon = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=log, stderr=log)
        configured = any("/systemd/network/" in path for path in texts())
        self.wait(LINK, "degraded") if configured else self.wait("lo", "carrier")

    def wait(self, name: str, state: str = "degraded") -> None:
        run(f"{NETWORKD}-wait-online", f"--interface={name}:{state}", "--timeout=30")

    def stop(self) -> None:
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(30)
            self.daemon = None
            shutil.rmtree(persist.NETIF)

    def reboot(self) -> None:
        self.stop()
        made_anew()
        self.start()


def booted_by_ifupdown(*names: str) -> None:
    """Have ifup do what is done on a host that has just started, by udev where that runs."""
    memory = Path("/run/network")
    shutil.rmtree(memory, ignore_errors=True)
    memory.mkdir()
    for name in names:
        run("ifup", "--allow=hotplug" if persist.UDEV.exists() else "--allow=auto", name)


def path_of(manager: str) -> str:
    return {
        "networkd": str(FILE),
        "ifupdown": f"/etc/network/interfaces.d/corral-{LINK}",
        "networkmanager": f"/etc/NetworkManager/system-connections/corral-{LINK}.nmconnection",
        "ifcfg": f"/etc/sysconfig/network-scripts/ifcfg-{LINK}",
    }[manager]

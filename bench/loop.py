"""A hand-written libvirt loop: clones, guests and leases as fast as we could make it, and nothing of Corral.

::

    python -m bench.loop GUESTS BASE WIDTH until-started|until-leased

Runs inside a throw-away hypervisor. WIDTH threads, each with a connection of its own, make a guest's overlay,
define it and start it; with ``until-leased`` a thread takes the next guest only when this one has its lease.
Prints the seconds from the first overlay to the last lease. The bridge, dnsmasq, its reservations and what
libvirt knows of QEMU are there before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libvirt

BRIDGE, NETWORK = "loop0", "172.31.111"
IMAGES = Path("/var/lib/libvirt/images")
LEASES = Path("/var/lib/misc/loop.leases")
LONGEST = 1800.0  # seconds

# The same guest as the pool of pillar/: 96 MiB, 16 MiB of translated code, one disk, one NIC.
DOMAIN = """<domain type='qemu'>
  <name>{name}</name><uuid>{uuid}</uuid>
  <memory unit='MiB'>96</memory><vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <features><acpi/><tcg><tb-cache unit='MiB'>16</tb-cache></tcg></features>
  <clock offset='utc'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
    </disk>
    <interface type='bridge'>
      <mac address='{mac}'/><source bridge='{bridge}'/><virtualport type='openvswitch'/><model type='virtio'/>
    </interface>
    <serial type='pty'/><memballoon model='none'/>
  </devices>
</domain>"""


class Loop:
    """The threads and what they share."""

    def __init__(self, guests: int, base: str, width: int, hold: bool) -> None:
        self.guests, self.base, self.width, self.hold = guests, base, width, hold
        self.connection = threading.local()
        self.leased: set[str] = set()
        self.changed = threading.Condition()

    def run(self) -> float:
        """Return the seconds to the last lease."""
        threading.Thread(target=self.watch, daemon=True).start()
        began = time.monotonic()
        with ThreadPoolExecutor(self.width) as threads:
            list(threads.map(self.guest, range(self.guests)))
        for number in range(self.guests):
            self.wait(number)
        return time.monotonic() - began

    def guest(self, number: int) -> None:
        if not hasattr(self.connection, "open"):
            self.connection.open = libvirt.open("qemu:///system")
        disk = IMAGES / f"loop-{number}.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self.base, str(disk))
        name = f"loop-{number}"
        xml = DOMAIN.format(
            name=name, uuid=uuid.uuid5(uuid.NAMESPACE_DNS, name), disk=disk, mac=mac(number), bridge=BRIDGE
        )
        self.connection.open.defineXML(xml).create()
        if self.hold:
            self.wait(number)

    def wait(self, number: int) -> None:
        with self.changed:
            if not self.changed.wait_for(lambda: mac(number) in self.leased, LONGEST):
                raise SystemExit(f"loop-{number} has no lease after {LONGEST:g} s")

    def watch(self) -> None:
        while len(self.leased) < self.guests:
            time.sleep(0.05)
            lines = LEASES.read_text().splitlines() if LEASES.exists() else []
            found = {line.split()[1] for line in lines if line.count(" ") > 2}
            with self.changed:
                self.leased |= found
                self.changed.notify_all()


def mac(number: int) -> str:
    return f"52:60:30:00:00:{number:02x}"


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def prepare(guests: int) -> None:
    """The bridge and dnsmasq; not part of what is timed."""
    run("ovs-vsctl", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev")
    run("ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    libvirt.open("qemu:///system").getDomainCapabilities(virttype="qemu")  # asked of QEMU once, then kept
    hosts = [f"--dhcp-host={mac(number)},{NETWORK}.{number + 100}" for number in range(guests)]
    run(
        *("dnsmasq", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--except-interface=lo"),
        *(
            f"--interface={BRIDGE}",
            "--dhcp-authoritative",
            "--dhcp-ignore-clid",
            f"--dhcp-leasefile={LEASES}",
        ),
        *(f"--dhcp-range={NETWORK}.100,{NETWORK}.200", f"--dhcp-option=option:router,{NETWORK}.1", *hosts),
    )


def main() -> None:
    """The command line."""
    if "CORRAL_LAB_HOST" not in os.environ:
        sys.exit("This fills a host with guests: it belongs inside a throw-away hypervisor.")
    guests, base, width, hold = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "until-leased"
    prepare(guests)
    print(Loop(guests, base, width, hold).run())


if __name__ == "__main__":
    main()

"""The small guest, and the install tree that the real ``oz-install`` installs it from.

The guest is the distribution's kernel for virtual machines and an initramfs of busybox and dropbear, on a
bootable disk of some 20 MiB. It takes its address, its router and its name by DHCP, and lets the key
``Tree.key`` in over SSH. The tree is laid out as Fedora's: its installer writes that disk to ``/dev/vda`` and
powers off.

Every part is kept in ``.lab/cache`` under a name made from what it was made of.

CLI: ``python -m lab.tree`` makes the tree; ``python -m lab.tree serve ADDRESS FOLDER`` serves it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import gzip
import hashlib
import http.server
import json
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.host import CHECKOUT, Host, LabError
from lab.initramfs import Initramfs

LAB = CHECKOUT / ".lab"
GUEST = Path(__file__).with_name("guest")
RELEASE = "fedora/23/os"  # the path below the server's address, as on Fedora's mirrors
PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")  # Debian, Ubuntu
# In the order in which they need each other; those built into the kernel are left out.
VIRTIO = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
GUEST_MODULES = (*VIRTIO, "failover", "net_failover", "virtio_net", "button", "evdev")
INSTALLER_MODULES = (*VIRTIO, "virtio_blk")
BUILDERS = ("tree", "initramfs")  # the files of this package whose change makes another guest
APT_LISTS = Path("/var/lib/apt/lists")
MIB = 1 << 20
SECTOR = 512
FIRST_SECTOR = 2048
SERVER_SECONDS = 10
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Tree:
    """The parts, made or found in the cache.

    key
        The SSH key that every guest lets in as root.
    disk
        The guest's bootable disk, raw.
    root
        The folder to serve; the install tree is ``RELEASE`` below it.
    """

    key: Path
    disk: Path
    root: Path

    @classmethod
    def prepare(cls) -> Tree:
        """Make what is missing; the first time this downloads a kernel package of some 30 MB."""
        LAB.mkdir(exist_ok=True)
        with (LAB / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            key = _key()
            kernel = _kernel()
            sources = [*sorted(GUEST.iterdir()), *(Path(__file__).with_name(f"{n}.py") for n in BUILDERS)]
            made_of = [path.read_bytes() for path in (*sources, key.with_suffix(".pub"))]
            name = f"guest-{_digest(kernel.name.encode(), *made_of)}"
            guest = _cached(name, functools.partial(_guest, kernel, key))
            os.utime(guest)
            _sweep()
        return cls(key=key, disk=guest / "disk.img", root=guest / "tree")


def _sweep() -> None:
    """Remove what a killed run left half made, and guests that nobody has asked for in a while.

    A guest just superseded may still be served to somebody.
    """
    cache = LAB / "cache"
    long_ago = time.time() - KEPT_SECONDS
    stale = [path for path in cache.glob("guest-*") if path.stat().st_mtime < long_ago]
    for path in [*cache.glob(".new-*"), *stale]:
        shutil.rmtree(path)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder *name* of the cache; *make* fills it if need be, in one step for all others."""
    cache = LAB / "cache"
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as scratch:
            new = Path(scratch, "new")
            new.mkdir()
            make(new)
            new.rename(folder)
    return folder


def _run(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed: run lab/setup.sh")
    if done.returncode:
        raise LabError(
            f"{' '.join(argv)}: exit status {done.returncode}\n{done.stderr}{done.stdout}".rstrip()
        )
    return done.stdout


def _key() -> Path:
    """Return the private key of this checkout, made once."""

    def make(folder: Path) -> None:
        comment = ("-N", "", "-C", "corral-lab")
        _run("ssh-keygen", "-q", "-t", "ed25519", *comment, "-f", str(folder / "id_ed25519"))

    return _cached("key", make) / "id_ed25519"


def _kernel() -> Path:
    """Return a folder with ``vmlinuz`` and ``modules/`` of the distribution's newest kernel for guests."""
    # apt takes about a second for each question; its answer changes when its lists do.
    asked = LAB / "cache/kernel.json"
    lists = APT_LISTS.stat().st_mtime_ns if APT_LISTS.is_dir() else 0
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(asked.read_text())
        if known["lists"] == lists and (LAB / "cache" / known["name"]).is_dir():
            return LAB / "cache" / str(known["name"])
    packages = _kernel_packages()
    version = re.search(r"Candidate: (\S+)", _run("apt-cache", "policy", packages[0]))
    if version is None:
        raise LabError(f"apt has no candidate for {packages[0]}: run apt-get update")
    folder = _cached(f"{packages[0]}_{version[1]}".replace(":", "%3a"), functools.partial(_unpack, packages))
    asked.write_text(json.dumps({"lists": lists, "name": folder.name}))
    return folder


def _kernel_packages() -> list[str]:
    for package in PACKAGES:
        with contextlib.suppress(LabError):  # apt-cache fails for a package of the other distribution
            depends = _run("apt-cache", "depends", package)
            break
    else:
        raise LabError(f"apt knows neither of {', '.join(PACKAGES)}: run apt-get update")
    found = re.search(r"Depends: (linux-image-\d\S*)", depends)
    if found is None:
        raise LabError(f"apt does not say which kernel {package} depends on")
    modules = found[1].replace("linux-image-", "linux-modules-")  # a package of its own in Ubuntu
    return [found[1], modules] if _run("apt-cache", "policy", modules) else [found[1]]


def _unpack(packages: list[str], folder: Path) -> None:
    scratch = folder.parent
    _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=scratch)
    for archive in scratch.glob("*.deb"):
        _run("dpkg", "-x", str(archive), str(scratch / "files"))
    (image,) = (scratch / "files/boot").glob("vmlinuz-*")
    shutil.copyfile(image, folder / "vmlinuz")
    (folder / "modules").mkdir()
    for tree in (scratch / "files/lib/modules", scratch / "files/usr/lib/modules"):
        for path in tree.rglob("*.ko*"):
            module = path.name.partition(".")[0]
            if module in {*GUEST_MODULES, *INSTALLER_MODULES}:
                (folder / "modules" / f"{module}.ko").write_bytes(_plain(path))


def _plain(module: Path) -> bytes:
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", str(module)], capture_output=True, check=True).stdout
    return module.read_bytes()


def _guest(kernel: Path, key: Path, folder: Path) -> None:
    """Make everything that is built from the kernel: the guest, its disk, and the tree that installs it."""
    seed = folder.parent / "seed"
    _run("gcc", "-Os", "-s", "-o", str(seed), str(GUEST / "seed.c"))
    (folder / "initrd.img").write_bytes(_guest_image(kernel, key, seed).packed())
    _disk(kernel / "vmlinuz", folder / "initrd.img", folder / "disk.img")
    boot = folder / "tree" / RELEASE / "images/pxeboot"
    boot.mkdir(parents=True)
    shutil.copyfile(kernel / "vmlinuz", boot / "vmlinuz")
    (boot / "initrd.img").write_bytes(_installer_image(kernel, folder / "disk.img").packed(level=1))


def _base_image(kernel: Path, modules: tuple[str, ...]) -> Initramfs:
    image = Initramfs()
    image.busybox()
    image.file("bin/modules", (GUEST / "modules").read_bytes(), 0o755)
    for number, module in enumerate(modules):
        path = kernel / "modules" / f"{module}.ko"
        if path.exists():
            image.file(f"modules/{number:02}-{module}.ko", path.read_bytes())
    return image


def _guest_image(kernel: Path, key: Path, seed: Path) -> Initramfs:
    image = _base_image(kernel, GUEST_MODULES)
    image.file("etc/inittab", (GUEST / "inittab").read_bytes())
    image.file("etc/rc", (GUEST / "rc").read_bytes(), 0o755)
    image.file("etc/dhcp", (GUEST / "dhcp").read_bytes(), 0o755)
    image.file("etc/acpi/PWRF/00000080", (GUEST / "power").read_bytes(), 0o755)
    image.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    image.file("etc/group", b"root:x:0:\n")
    image.file("etc/shells", b"/bin/sh\n")
    image.folder("etc/dropbear", 0o700)
    image.folder("var/run")
    image.program("usr/sbin/dropbear", "/usr/sbin/dropbear")
    image.program("bin/seed", str(seed))
    image.folder("root/.ssh", 0o700)
    image.file("root/.ssh/authorized_keys", key.with_suffix(".pub").read_bytes(), 0o600)
    return image


def _installer_image(kernel: Path, disk: Path) -> Initramfs:
    image = _base_image(kernel, INSTALLER_MODULES)
    image.file("init", (GUEST / "install").read_bytes(), 0o755)
    image.file("disk.img.gz", gzip.compress(disk.read_bytes(), 1, mtime=0))
    return image


def _disk(kernel: Path, initrd: Path, disk: Path) -> None:
    """Make a disk with a boot record and one FAT16 partition that syslinux boots."""
    need = kernel.stat().st_size + initrd.stat().st_size
    sectors = (need // MIB + 2) * MIB // SECTOR
    boot_record = next(
        (
            path
            for name in ("SYSLINUX", "syslinux/mbr")
            if (path := Path("/usr/lib", name, "mbr.bin")).exists()
        ),
        None,
    )
    if boot_record is None:
        raise LabError("syslinux is not installed: run lab/setup.sh")
    code = boot_record.read_bytes()
    bootable, fat16 = 0x80, 0x06
    partition = struct.pack(
        "<B3sB3sII", bootable, b"\xfe\xff\xff", fat16, b"\xfe\xff\xff", FIRST_SECTOR, sectors
    )
    with disk.open("wb") as file:
        file.write(code.ljust(446, b"\0") + partition.ljust(64, b"\0") + b"\x55\xaa")
        file.truncate((FIRST_SECTOR + sectors) * SECTOR)
    offset = FIRST_SECTOR * SECTOR
    drive = f"{disk}@@{offset}"
    geometry = ("-T", str(sectors), "-h", "16", "-s", "63", "-H", str(FIRST_SECTOR), "-N", "c0441010")
    _run("mformat", "-i", drive, *geometry, "::")
    _run("syslinux", "--offset", str(offset), "--install", str(disk))
    _run("mcopy", "-i", drive, str(kernel), "::vmlinuz")
    _run("mcopy", "-i", drive, str(initrd), "::initrd.img")
    _run("mcopy", "-i", drive, str(GUEST / "syslinux.cfg"), "::syslinux.cfg")


class Server:
    """An HTTP server of one folder, in a thread; ``url`` is that of the install tree.

    address, port
        Where it listens (port 0: any free one). Oz refuses ``localhost``.
    """

    def __init__(self, root: Path, address: str, port: int = 80) -> None:
        handler = functools.partial(_Handler, directory=str(root))
        self._server = http.server.ThreadingHTTPServer((address, port), handler)
        port = self._server.server_address[1]
        self.url = f"http://{address}{'' if port == 80 else f':{port}'}/{RELEASE}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(tree: Tree, host: Host) -> Iterator[str]:
    """Serve *tree* inside *host* on the address of its oz bridge, and yield the URL to put into a TDL."""
    if host.oz_bridge is None:
        raise LabError(f"{host.name} has no oz bridge to serve an install tree on")
    address = host.oz_bridge.partition("/")[0]
    server = host.popen(
        [sys.executable, "-m", "lab.tree", "serve", address, str(tree.root)],
        cwd=str(CHECKOUT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal's interrupt is not for it: its end is that of its input
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        if not url:
            raise LabError(f"the install tree could not be served on {address} in {host.name}")
        yield url
    finally:
        assert server.stdin is not None
        server.stdin.close()  # the server ends with its input
        with contextlib.suppress(subprocess.TimeoutExpired):  # or with its host
            server.wait(SERVER_SECONDS)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.tree", description="The small guest and its install tree."
    )
    verbs = parser.add_subparsers(metavar="VERB", dest="verb")
    serve = verbs.add_parser("serve", help="serve FOLDER on ADDRESS, print its URL, end with standard input")
    serve.add_argument("address")
    serve.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.verb != "serve":
            print(Tree.prepare().root)
            return 0
        with Server(arguments.folder, arguments.address) as server:
            print(server.url, flush=True)
            sys.stdin.read()
    except (LabError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Base images built by the real ``oz-install``, from the small install tree of the lab."""

from __future__ import annotations

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral.errors import Refused
from corral.image import build, model, wire
from corral.image.disk import let_pass
from corral.image.store import Store
from lab.tree import Server, Tree
from tests.support.expect import assert_failed
from tests.support.image_files import may

NAME = "t-oz"
BRIDGE = "ozbr0"
ADDRESS = "192.168.79.1"
PASSWORD = "pw-6fb1c8e2"
RUN = """
import json, sys
from corral.image import model, wire
wire.ensure(model.declare(sys.argv[1], json.loads(sys.argv[2])), lambda *step: print(*step, flush=True))
"""

State = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tree() -> Iterator[str]:
    with Server(Tree.prepare().root, ADDRESS, 0) as server:
        yield server.url


@pytest.fixture(scope="module")
def images() -> Iterator[Path]:
    folder = Path("/var/lib/libvirt/images/t-oz")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def declared(tree: str, images: Path) -> dict[str, Any]:
    return {
        "source": "oz",
        "tdl": {
            "os": "Fedora",
            "version": 23,
            "arch": "x86_64",
            "install": {"url": tree},
            "rootpw": PASSWORD,
            "description": "Fedora 23 guest (server base)",
            "disk": 1,
        },
        "build": {"bridge": BRIDGE, "memory": "512M", "type": "qemu"},
        "directory": str(images / "store"),
        "search": [str(images)],
    }


@pytest.fixture(scope="module")
def base(declared: dict[str, Any]) -> model.Base:
    """The image that the first test made, or made now when that test was not asked for."""
    return wire.ensure(model.declare(NAME, declared))


def with_tdl(declared: dict[str, Any], **tdl: Any) -> dict[str, Any]:
    return {**declared, "tdl": {**declared["tdl"], **tdl}}


def with_build(declared: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {**declared, "build": {**declared["build"], **options}}


def virsh(*argv: str) -> list[str]:
    done = subprocess.run(["virsh", *argv], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.split()


def oz_version() -> str:
    """The version of the installed oz, by the interpreter that oz-install names."""
    interpreter = Path("/usr/bin/oz-install").read_text().splitlines()[0].removeprefix("#!").split()
    ask = "import importlib.metadata; print(importlib.metadata.version('oz'))"
    return subprocess.check_output([*interpreter, "-c", ask], text=True).strip()


def host(images: Path) -> dict[str, Any]:
    """All that a build could leave on the host."""
    files = {p: p.lstat() for p in sorted(images.rglob("*"))}
    return {
        "files": {str(p): (s.st_ino, s.st_size, s.st_mode) for p, s in files.items()},
        "guests": virsh("list", "--all", "--name"),
        "pools": virsh("pool-list", "--all", "--name"),
        "media": sorted(str(p) for p in Path("/var/lib/oz").rglob("*")),
        "oz": pids_of("oz-install"),
    }


def nothing_left(images: Path) -> bool:
    seen = host(images)
    return not (seen["guests"] or seen["pools"] or seen["oz"] or (images / "store" / ".making").exists())


def pids_of(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(set(found) - {os.getpid()})


def test_four_ways(four_ways: Any, declared: dict[str, Any], images: Path) -> None:
    key = model.declare(NAME, declared).identity()["tdl"]
    store = Store(declared["directory"])
    changes = four_ways(
        "image.present",
        NAME,
        look=lambda: host(images),
        disturb=lambda: os.utime(store.record(NAME).current.path),  # type: ignore[union-attr]
        drift={f"{NAME}.base": {"old": "touched", "new": "intact"}},
        **declared,
    )
    assert changes == {NAME: {"old": None, "new": {"source": "oz", "format": "qcow2", "tdl": key}}}


def test_what_a_build_gives(base: model.Base, images: Path, declared: dict[str, Any]) -> None:
    assert (base.format, base.virtual_size, base.tools["oz"]) == ("qcow2", 1 << 30, oz_version())
    assert os.stat(base.path).st_mode & 0o777 == 0o440
    assert may("libvirt-qemu", "-r", base.path)
    assert not may("nobody", "-r", base.path)
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", base.path]))
    assert (info["format"], info["virtual-size"]) == ("qcow2", 1 << 30)
    assert "backing-filename" not in info
    assert nothing_left(images)
    assert PASSWORD not in Path(declared["directory"], f"{NAME}.json").read_text()


def test_cache_goes_by_content(base: model.Base, declared: dict[str, Any], state: State, salt: Any) -> None:
    same = [
        with_tdl(declared, description="said otherwise"),
        with_tdl(declared, version="23", install={"type": "url", **declared["tdl"]["install"]}),
        with_build(declared, memory="1G", timeout="1h"),
    ]
    for other in same:
        run = state("image.present", NAME, **other)
        assert (run["result"], run["changes"]) == (True, {})
    changed = state("image.present", NAME, test=True, **with_tdl(declared, kernelparam="quiet"))
    assert changed["changes"][f"{NAME}.tdl"]["old"] == base.tdl
    secret = state("image.present", NAME, test=True, **with_tdl(declared, rootpw="another"))
    assert secret["changes"] == {f"{NAME}.secrets": {"old": "********", "new": "********"}}
    shown = salt.cmd("oz.build", NAME, **{k: v for k, v in declared.items() if k != "source"})
    assert shown == salt.cmd("image.show", NAME, directory=declared["directory"])
    assert shown["path"] == base.path
    assert not {"secrets", "modified"} & shown.keys()


def test_tdl_of_a_declaration(declared: dict[str, Any], salt: Any) -> None:
    xml = salt.cmd("oz.tdl", "f23", tdl=declared["tdl"])
    assert xml.startswith('<template version="1.0">\n  <name>f23</name>')
    assert "<rootpw>********</rootpw>" in xml
    assert PASSWORD not in xml
    with pytest.raises(Exception, match=r"images\.f23\.tdl\.colour: unknown key"):
        salt.cmd("oz.tdl", "f23", tdl={**declared["tdl"], "colour": "red"})


# --- refusals: one sentence, and nothing on the host has changed ---


@pytest.fixture
def untouched(images: Path) -> Iterator[None]:
    before = host(images)
    yield
    assert host(images) == before


@pytest.mark.usefixtures("untouched")
class TestRefused:
    name = f"{NAME}-refused"

    def refused(self, state: State, declared: dict[str, Any], *said: str) -> None:
        assert_failed(state("image.present", self.name, **declared), *said)

    def test_system_that_oz_does_not_know(self, state: State, declared: dict[str, Any], salt: Any) -> None:
        said = f"images.{self.name}.tdl: the installed oz does not accept it: Unsupported Debian update 12."
        self.refused(state, with_tdl(declared, os="Debian", version=12), said)
        assert_failed(
            state("image.present", self.name, test=True, **with_tdl(declared, os="Debian", version=12)), said
        )
        tdl = with_tdl(declared, os="Slackware")["tdl"]
        answer = salt.cmd("oz.validate", self.name, tdl=declared["tdl"])
        assert answer == {"accepted": True, "oz": oz_version()}
        with pytest.raises(Exception, match="does not accept it: Unsupported Slackware update 23"):
            salt.cmd("oz.validate", self.name, tdl=tdl)

    def test_tdl_that_does_not_fit_the_schema(self) -> None:
        with pytest.raises(Refused, match="does not accept it: XML schema validation failed: line 1:"):
            build.accepted("images.x.tdl", "<template><name>x</name></template>")

    def test_bridge(self, state: State, declared: dict[str, Any]) -> None:
        at = f"images.{self.name}.build.bridge"
        self.refused(state, with_build(declared, bridge="brt-oz0"), f"{at}: brt-oz0 does not exist.")
        self.refused(state, with_build(declared, bridge="eth1"), f"{at}: eth1 is not a Linux bridge")
        preview = state("image.present", self.name, test=True, **with_build(declared, bridge="brt-oz0"))
        assert preview["result"] is None
        assert f"A run now would be refused: {at}" in preview["comment"]

    def test_install_tree_that_nobody_serves(self, state: State, declared: dict[str, Any]) -> None:
        tdl = with_tdl(declared, install={"url": f"http://{ADDRESS}:9/nothing/"})
        self.refused(state, tdl, f"images.{self.name}.tdl: oz-install failed:", "Connection refused", ADDRESS)

    def test_medium_with_another_checksum(self, state: State, declared: dict[str, Any], tree: str) -> None:
        iso = f"{tree}images/pxeboot/vmlinuz"
        at = f"images.{self.name}.tdl.install"
        self.refused(
            state,
            with_tdl(declared, install={"iso": iso, "sha256sum": iso}),
            f"{at}.sha256sum: {iso} has no sha256sum of vmlinuz.",
        )
        self.refused(
            state,
            with_tdl(declared, install={"iso": iso, "md5sum": f"{tree}none"}),
            f"{at}.md5sum: {tree}none cannot be fetched: the server says 404",
        )

    def test_libvirt_down(self, state: State, declared: dict[str, Any], tmp_path: Path) -> None:
        uri = f"qemu+unix:///system?socket={tmp_path}/none"
        down = with_build(declared, uri=uri)
        said = f"images.{self.name}: libvirt ({uri}) does not answer"
        self.refused(state, down, said)
        assert_failed(state("image.present", self.name, test=True, **down), said)

    def test_libvirt_stuck(self, state: State, declared: dict[str, Any]) -> None:
        daemon = int(Path("/run/libvirtd.pid").read_text())
        os.kill(daemon, signal.SIGSTOP)
        try:
            self.refused(state, declared, f"images.{self.name}: virsh gave no answer within 10 s.")
        finally:
            os.kill(daemon, signal.SIGCONT)


def test_oz_not_installed_yet(state: State, declared: dict[str, Any], images: Path, base: model.Base) -> None:
    program = Path("/usr/bin/oz-install")
    aside = program.with_name("oz-install.aside")
    program.rename(aside)
    try:
        before = host(images)
        preview = state("image.present", f"{NAME}-none", test=True, **declared)
        assert preview["result"] is None
        assert preview["changes"].keys() == {f"{NAME}-none"}
        said = "oz-install is not installed (package oz)"
        assert f"Previewed against an empty host: images.{NAME}-none: {said}" in preview["comment"]
        assert_failed(state("image.present", f"{NAME}-none", **declared), said)
        assert host(images) == before
    finally:
        aside.rename(program)


def test_lost_base_of_oz_is_not_made_anew_under_an_overlay(
    base: model.Base, state: State, declared: dict[str, Any], images: Path, tmp_path: Path
) -> None:
    lost = Path(base.path)
    overlay = images / "overlay.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(lost), "-F", "qcow2", str(overlay)]
    subprocess.run(create, check=True)
    shutil.move(lost, tmp_path / "lost")
    try:
        before = host(images)
        said = f"images.{NAME}: its base {lost} is gone while {overlay} uses it"
        assert_failed(state("image.present", NAME, **declared), said, "put the file back")
        assert host(images) == before
    finally:
        shutil.move(tmp_path / "lost", lost)
        overlay.unlink()


def test_what_oz_must_do_afterwards_is_asked_of_it(declared: dict[str, Any], tmp_path: Path) -> None:
    image = model.declare(NAME, with_build(with_tdl(declared, packages=["tcpdump"]), auto="# kickstart\n"))
    assert isinstance(image, model.OzImage)
    argv = build.prepare(tmp_path, image, "guest", {"rootpw": PASSWORD}, lambda *_: None)
    assert {"-u", "-a", "-d3"} < set(argv)
    assert not [word for word in argv if word.startswith("--") or PASSWORD in word]
    assert (tmp_path / "auto").read_text() == "# kickstart\n"
    assert f"sshprivkey = {tmp_path}/key" in (tmp_path / "oz.cfg").read_text()
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if path.name != "key.pub"} == {0}


def test_killed_build_is_cleaned_up_and_done_by_the_next_run(
    base: model.Base, declared: dict[str, Any], images: Path, state: State, repo: Path
) -> None:
    changed = with_tdl(declared, kernelparam="quiet")
    key = model.declare(NAME, changed).identity()["tdl"]
    argv = [sys.executable, "-c", RUN, NAME, json.dumps(changed)]
    env = {**os.environ, "PYTHONPATH": str(repo / "_utils")}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        steps: list[list[str]] = []
        for line in process.stdout:
            steps.append(line.rsplit(maxsplit=2))
            if line.startswith("finish installing"):
                break
        assert virsh("list", "--name") == [f"corral-build-{key}"]
        assert pids_of(PASSWORD) == [process.pid], "the password is in the arguments of a program"
        (scratch,) = (images / "store" / ".making").iterdir()
        guarded(scratch, f"corral-build-{key}-ramdisk")
        process.kill()
    gone(pids_of("oz-install"))
    assert steps[0][:2] == ["fetch the medium (kB)", "10240"]
    assert steps[-1] == ["finish installing", "0", "1200"]
    assert Store(declared["directory"]).find(NAME) == base

    preview = state("image.present", NAME, test=True, **changed)
    assert preview["changes"] == {
        f"{NAME}.unfinished.{scratch}": {"old": str(scratch), "new": None},
        f"{NAME}.tdl": {"old": base.tdl, "new": key},
    }
    run = state("image.present", NAME, **changed)
    assert (run["result"], run["changes"]) == (True, preview["changes"])
    assert nothing_left(images)
    again = state("image.present", NAME, **changed)
    assert (again["result"], again["changes"]) == (True, {})


def guarded(scratch: Path, *files: str) -> None:
    """Assert that nobody but root and QEMU gets to the files of a build, and QEMU to its disk only."""
    secret = {path.name: path for path in scratch.iterdir() if path.name != "disk.raw"}
    assert secret.keys() >= {"build.tdl", "oz.cfg", "note.json", "stdout", *files}
    assert {path.stat().st_mode & 0o077 for path in secret.values()} == {0}
    for user in ("nobody", "libvirt-qemu"):
        assert not may(user, "-r", scratch)
        assert not may(user, "-r", secret["build.tdl"])
    assert may("libvirt-qemu", "-w", scratch / "disk.raw")
    assert not may("nobody", "-r", scratch / "disk.raw")


def test_guarded_without_access_control_lists_too(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "none", str(tmp_path)], check=True)
    try:
        scratch = tmp_path / "scratch"
        scratch.mkdir(mode=0o700)
        (scratch / "disk.raw").touch()
        (scratch / "disk.raw").chmod(0o666)
        user = pwd.getpwnam("libvirt-qemu")
        let_pass(scratch, user.pw_uid, user.pw_gid)
        assert scratch.stat().st_mode & 0o777 == 0o710
        assert scratch.stat().st_gid == user.pw_gid
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def gone(pids: list[int]) -> None:
    """Assert that processes, killed by their parent's death, end at once."""
    for pid in pids:
        try:
            with open(os.pidfd_open(pid), "rb") as process:
                ended, _, _ = select.select([process], [], [], 5)
                assert ended, f"process {pid} outlives its parent"
        except ProcessLookupError:
            continue

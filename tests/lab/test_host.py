"""A throw-away hypervisor is private, and leaves nothing behind however it ends."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.host import CHECKOUT, Host, LabError, hosts
from tests.lab.remains import DEADLINE, nothing_is_left, processes_of, stop_hosts_of, wait_for_end

TOUCHED = ("/etc", "/opt", "/root", "/srv", "/usr", "/var/cache", "/var/lib", "/var/log", "/run")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A checkout of its own, with a file to lose."""
    shutil.copytree(CHECKOUT / "lab", tmp_path / "checkout/lab")
    (tmp_path / "checkout/deep").mkdir()
    (tmp_path / "checkout/deep/precious").write_text("still here")
    yield tmp_path / "checkout"
    stop_hosts_of(tmp_path / "checkout")


def start(checkout: Path, *options: str, command: str = "sleep 600") -> tuple[subprocess.Popen[str], str]:
    """Start a host from *checkout*; return its starter and its name when the command inside runs."""
    argv = [
        sys.executable,
        "-m",
        "lab.host",
        "run",
        *options,
        "--",
        "sh",
        "-c",
        f"echo $CORRAL_LAB_HOST; {command}",
    ]
    starter = subprocess.Popen(
        argv,
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    name = starter.stdout.readline().strip()
    assert name, starter.communicate(timeout=DEADLINE)[1]
    return starter, name


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_its_starter_is_signalled(checkout: Path, number: signal.Signals) -> None:
    """Whoever interrupts it does not want to keep it either."""
    starter, name = start(checkout, "--keep")
    namespace = os.readlink(f"/proc/{hosts()[name]}/ns/pid")
    assert processes_of(namespace)

    if number is signal.SIGINT:
        os.killpg(starter.pid, number)  # as a terminal does
    else:
        starter.send_signal(number)
    starter.communicate(timeout=DEADLINE)
    wait_for_end(name)

    assert (checkout / "deep/precious").read_text() == "still here"
    if number is signal.SIGKILL:  # nobody was left to remove its files: the next start does
        start(checkout, command="true")[0].wait(DEADLINE)
    else:
        assert starter.returncode == 128 + number
    nothing_is_left(name, namespace)


def test_the_machine_and_the_checkout_stay_as_they_were(checkout: Path) -> None:
    """What is written inside stays inside, but for what is written to the checkout."""
    inside = "; ".join(f"echo lab > {folder}/corral-lab-test" for folder in TOUCHED)
    command = (
        f"set -e; {inside}; echo here > {checkout}/new; hostname; ip link add lab-test type bridge; exit 7"
    )
    run = subprocess.run(
        [sys.executable, "-m", "lab.host", "run", "--hostname", "other", "--", "sh", "-c", command],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (7, "other\n"), run.stderr
    assert not [folder for folder in TOUCHED if Path(folder, "corral-lab-test").exists()]
    assert not Path("/sys/class/net/lab-test").exists()
    assert (checkout / "new").read_text() == "here\n"
    assert (checkout / "deep/precious").read_text() == "still here"


def test_a_checkout_in_a_private_folder_is_the_real_one() -> None:
    """Below /root or /opt, where people clone, the checkout inside is the machine's and nothing else is."""
    folder = Path("/opt/corral-lab-test")
    shutil.copytree(CHECKOUT / "lab", folder / "lab")
    try:
        start(folder, command="echo kept > written; echo lost > ../corral-lab-lost")[0].wait(DEADLINE)
        assert (folder / "written").read_text() == "kept\n"
        assert (folder / "lab/host.py").exists()
        assert not Path("/opt/corral-lab-lost").exists()
    finally:
        shutil.rmtree(folder)


def test_two_at_once_keep_apart_and_answer() -> None:
    with Host("first") as first, Host("second", nics=2, oz_bridge=None) as second:
        for host in (first, second):
            host.run(["ovs-vsctl", "--timeout=10", "add-br", f"br-{host.hostname}"], check=True)
            uri = host.run(["virsh", "-q", "-c", "qemu:///system", "uri"], capture_output=True, text=True)
            assert uri.stdout == "qemu:///system\n"
        bridges = first.run(["ovs-vsctl", "--timeout=10", "list-br"], capture_output=True, text=True).stdout
        assert bridges == "br-first\n"
        links = second.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        assert re.findall(r"eth\d", links) == ["eth2", "eth1", "eth1", "eth2"]
        assert "ozbr0" not in links
        assert "ovs-vswitchd.log" in first.logs()
    assert not first.state.exists()
    assert not second.state.exists()


def test_a_kept_one_can_be_entered_and_stopped(checkout: Path) -> None:
    starter, name = start(checkout, "--keep", command="true")
    said = starter.communicate(timeout=DEADLINE)[1]
    namespace = os.readlink(f"/proc/{hosts()[name]}/ns/pid")
    enter, stop = (re.search(rf"^  {verb}: +(.+)$", said, re.MULTILINE) for verb in ("enter", "stop"))
    assert enter and stop
    shell = functools.partial(subprocess.run, cwd="/", check=True, capture_output=True, text=True)
    assert shell(["sh", "-c", f"{enter[1]} -- hostname"]).stdout == "hypervisor\n"
    shell(["sh", "-c", stop[1]])
    nothing_is_left(name, namespace)


def test_one_that_fails_is_kept_on_demand() -> None:
    """What went wrong in it is to be looked at."""
    host = Host(keep=True)
    with pytest.raises(ValueError), host:
        raise ValueError
    assert host.kept
    namespace = os.readlink(f"/proc/{hosts()[host.name]}/ns/pid")
    subprocess.run(["sh", "-c", host.command("stop")], cwd="/", check=True)
    nothing_is_left(host.name, namespace)


def test_files_are_not_removed_through_a_mount(tmp_path: Path) -> None:
    """A folder with something mounted in it is refused: a removal would reach what is mounted."""
    (tmp_path / "precious").write_text("still here")
    state = tmp_path / "hosts/one"
    (state / "mounted").mkdir(parents=True)
    program = """if True:
        import sys; from pathlib import Path; from lab import host
        state = Path(sys.argv[1]); host.STATE = state.parent; host._remove(state)"""
    script = 'mount --bind "$1" "$2/mounted" && exec "$3" -c "$4" "$2"'
    argv = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), str(state), sys.executable, program]
    try:
        run = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
        assert "is mounted" in run.stderr
        assert (tmp_path / "precious").read_text() == "still here"
        assert (state / "mounted").exists()
    finally:
        (state / "mounted").rmdir()
        state.rmdir()


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(LabError, match="nics: 3 is not an even number"):
        Host(nics=3)
    stop = [sys.executable, "-m", "lab.host", "stop", "nobody"]
    run = subprocess.run(stop, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("lab: no throw-away hypervisor nobody is running here")


def test_the_kernel_inside_is_fit_for_guests() -> None:
    """Taps and pressure figures are there, forwarding is the host's own, and libvirt asks QEMU once only."""
    script = """
    set -e
    test -c /dev/net/tun
    grep -q avg10 /proc/pressure/memory
    echo 1 > /proc/sys/net/ipv4/ip_forward
    ! echo 1 2> /dev/null > /proc/sys/vm/overcommit_memory
    virsh -q domcapabilities | grep '<domain>'
    look='stat -c %Y:%i /var/cache/libvirt/qemu/capabilities/*'
    before=$($look)
    virsh -q domcapabilities > /dev/null
    test "$before" = "$($look)"
    """
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    with Host() as host:
        run = host.run(["bash", "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "<domain>qemu</domain>"
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == forwarding

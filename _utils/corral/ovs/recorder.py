"""What ovs-ofctl(8) would send to a switch, taken down by one that only listens.

It knows how a group reads that was written in another way, but tells it of one group at a time
(``parse-group``). What it sends, it prints for any number of them (``ofp-parse``).
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from corral.errors import Unavailable

HEADER = struct.Struct("!BBHI")  # version, type, length, xid (OpenFlow 1.3, 7.1.1)
GROUP_MOD = 15
ANSWERS = {0: 0, 20: 21}  # a hello to a hello, a barrier's reply to its request


def group_mods(program: str, version: str, lines: Iterable[str], timeout: float) -> tuple[str, str]:
    """Return how ovs-ofctl prints the groups that it reads from lines, or else what it complains of.

    program
        The path of ovs-ofctl.
    version
        The version of OpenFlow in whose words they are printed.
    timeout
        Seconds within which it must be done.
    """
    with tempfile.TemporaryDirectory(prefix="corral-") as folder:
        path, files = f"{folder}/switch", (Path(folder, "groups"), Path(folder, "messages"))
        files[0].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        seconds = f"--timeout={max(1, round(timeout))}"
        common = (program, "--no-names", seconds)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen(1)
            command = [*common, "-O", version, "add-groups", f"unix:{path}", str(files[0])]
            messages, said = _heard(server, command, timeout)
        if said:
            return "", said.replace(f"{files[0]}:", "")
        files[1].write_bytes(messages)
        return _printed([*common, "ofp-parse", str(files[1])], timeout), ""


def _printed(command: list[str], timeout: float) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=True, timeout=timeout + 1
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as failed:
        raise Unavailable(f"ovs-ofctl cannot print groups: {failed}") from None
    return done.stdout


def _heard(server: socket.socket, command: list[str], timeout: float) -> tuple[bytes, str]:
    """Run ovs-ofctl as the switch that it talks to; return its messages of groups, and its complaint."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process,
    ):
        assert process.stdout is not None
        try:
            messages = _messages(server, process.stdout, timeout)
            failed = process.wait(timeout + 1)
        except (TimeoutError, subprocess.TimeoutExpired):
            process.kill()
            raise Unavailable(f"ovs-ofctl has not read the groups within {timeout:g} s.") from None
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    complaint = "\n".join(line for line in lines if "|WARN|" not in line)
    return messages, (complaint or "no reason given") if failed else ""


def _messages(server: socket.socket, output: IO[bytes], timeout: float) -> bytes:
    """Return the messages of groups that come in.

    output
        What ovs-ofctl writes to: at its end, there will be nothing, since it could not read a group.
    """
    ready, _, _ = select.select([server.fileno(), output.fileno()], [], [], timeout)
    if server.fileno() not in ready:
        return b""
    peer, _ = server.accept()
    taken = bytearray()
    peer.settimeout(timeout)
    with peer, peer.makefile("rb") as stream:
        while head := stream.read(HEADER.size):
            version, kind, length, xid = HEADER.unpack(head)
            body = stream.read(length - HEADER.size)
            if kind in ANSWERS:
                peer.sendall(HEADER.pack(version, ANSWERS[kind], HEADER.size, xid))
            elif kind == GROUP_MOD:
                taken += head + body
    return bytes(taken)

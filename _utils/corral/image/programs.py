"""Run programs: argument lists, a time limit, and errors that say what is missing or what was said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from corral.errors import NotInstalled, Refused, Unavailable

SECONDS = 10.0
PACKAGES = {
    "oz-install": "oz",
    "qemu-img": "qemu-utils or qemu-img",
    "virsh": "libvirt-clients or libvirt-client",
    "ssh-keygen": "openssh-client or openssh-clients",
}
FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def program(name: str) -> str:
    """Return the path of a program, or raise ``NotInstalled`` with the package to install."""
    found = shutil.which(name, path=FOLDERS)
    if found is None:
        raise NotInstalled(f"{name} is not installed (package {PACKAGES[name]}).")
    return found


def environment(**more: str) -> dict[str, str]:
    """Return an environment without what Salt's own Python needs and the system's must not see."""
    kept = {key: os.environ[key] for key in KEPT if key in os.environ}
    return {"PATH": FOLDERS, "LC_ALL": "C.UTF-8", "HOME": "/root", **kept, **more}


def run(
    argv: Sequence[str],
    seconds: float = SECONDS,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
) -> str:
    """Run a program and return its standard output.

    argv
        The name of a program of ``PACKAGES``, or a path, and its arguments. No secrets: others see them.
    seconds
        How long it may take. Default: 10.

    Raises ``NotInstalled``, ``Unavailable`` when it takes too long, ``Refused`` when it fails.
    """
    command = [argv[0] if argv[0].startswith("/") else program(argv[0]), *argv[1:]]
    label = os.path.basename(command[0])
    try:
        done = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=env or environment(),
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{label} gave no answer within {seconds:g} s.") from None
    if done.returncode:
        raise Refused(f"{label}: {last_line(done.stderr) or f'exit status {done.returncode}'}")
    return done.stdout


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def image_info(path: str, kind: str = "") -> dict[str, Any]:
    """Return format and size of an image.

    kind
        Its format where it is known; else qemu-img tells it from the content. Then the header must have been
        looked at before: an image can make qemu-img open other files (CVE-2024-4467).
    """
    known = ["-f", kind] if kind else []
    answer = json.loads(run(["qemu-img", "info", "--output=json", *known, path], seconds=60))
    return {"format": answer["format"], "virtual_size": answer["virtual-size"]}


def qemu_img_version() -> str:
    """Return the version of qemu-img."""
    words = run(["qemu-img", "--version"]).split()
    return words[2] if len(words) > 2 else "unknown"

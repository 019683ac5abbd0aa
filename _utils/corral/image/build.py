"""The real oz-install: asked what it accepts, run so that it cannot outlive us, cleaned up after."""

from __future__ import annotations

import configparser
import contextlib
import json
import logging
import os
import re
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from corral.errors import Error, Refused
from corral.image import medium, status
from corral.image.cleanup import MARK, clean
from corral.image.disk import let_pass, private, write_private
from corral.image.model import MIB, OzImage
from corral.image.programs import environment, last_line, program, run
from corral.image.render import render
from corral.image.store import Scratch
from corral.image.tdl import HIDDEN
from corral.image.virsh import destroy, qemu_user
from corral.kinds import size_bytes
from corral.progress import Progress

LOG = logging.getLogger(__name__)

SILENCE = 1800.0  # seconds without a word: copying a DVD through guestfs takes minutes
FETCHING = 7200.0  # seconds for the media, besides the time for the installation
KEPT = 1 << 18  # characters of its log that are kept: the traceback at the end is what counts

# Runs in oz's own Python: its parser checks the schema it was installed with, and its factory tells whether
# it knows the system. Nothing is fetched, no guest made: the constructor that would do so is never entered.
ASK = """
import importlib.metadata, json, sys
import oz.Guest, oz.GuestFactory, oz.TDL
class Reached(Exception):
    pass
def reached(*_, **__):
    raise Reached
oz.Guest.Guest.__init__ = reached
oz.TDL.data_from_type = lambda *_: None
error = ""
try:
    tdl = oz.TDL.TDL(sys.stdin.read())
    if oz.GuestFactory.guest_factory(tdl, None, None) is None:
        error = "Unsupported %s update %s" % (tdl.distro, tdl.update)
except Reached:
    pass
except Exception as problem:
    error = str(problem) or type(problem).__name__
try:
    version = importlib.metadata.version("oz")
except importlib.metadata.PackageNotFoundError:
    version = "unknown"
print(json.dumps({"error": error, "version": version}))
"""

# Becomes oz-install with the parent's death as its own (prctl(2), PR_SET_PDEATHSIG); the parent may have died
# between fork and prctl.
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def check(image: OzImage) -> str:
    """Return the version of the installed oz, which accepts the TDL of an image.

    Raises ``NotInstalled``, or ``Refused`` with oz's own words.
    """
    hidden = dict.fromkeys(image.secrets(), HIDDEN)
    return accepted(f"images.{image.name}.tdl", render(image.name, image.tdl, hidden))


def accepted(at: str, tdl: str) -> str:
    """Return the version of the installed oz, which accepts a TDL.

    at
        What an error begins with.
    tdl
        The XML.
    """
    answer = run([*_python(), "-c", ASK], seconds=30, stdin=tdl)
    try:
        said = json.loads(answer)
    except ValueError:
        raise Refused(
            f"{at}: the Python of oz-install said {last_line(answer)!r} when asked for oz."
        ) from None
    if said["error"]:
        reason = " ".join(said["error"].split()).rstrip(".")
        raise Refused(f"{at}: the installed oz does not accept it: {reason}.")
    return str(said["version"])


def build(image: OzImage, scratch: Scratch, tell: Progress) -> Path:
    """Build an image and return its raw disk, in the scratch folder.

    Raises ``Refused`` with oz's own words when it fails.
    """
    guest = f"corral-build-{image.key()}"
    scratch.remember(guest=guest, uri=image.build.uri)
    destroy(image.build.uri, guest)  # from a run that was killed, whose scratch folder is gone
    # Without a password oz sets one that everybody knows.
    passwords = {"rootpw": secrets.token_urlsafe(24), **image.secrets()}
    folder = scratch.path
    let_pass(folder, *qemu_user(image.build.uri))
    hidden = _Hidden(passwords.values())
    try:
        argv = prepare(folder, image, guest, passwords, tell)
        finished = _run(argv, folder, image.build.timeout, hidden, tell)
        reason = status.failure(finished, hidden.of)
        if reason:
            raise Refused(f".tdl: oz-install failed: {reason}.")
    except BaseException:
        _abandon(scratch)
        raise
    return Path(status.named_disk(finished.xml) or "")


def _abandon(scratch: Scratch) -> None:
    """Clean up after a failure; when that fails, leave the note to a later run: what failed first counts."""
    try:
        clean(scratch)
    except Error as why:
        scratch.kept = True
        LOG.warning("what belongs to %s is left to the next run: %s", scratch.path, why)


class _Hidden:
    """Puts stars in place of secrets, however Python or XML write them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self.pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))

    def of(self, text: str) -> str:
        return self.pattern.sub(HIDDEN, text)


def _forms(secret: str) -> Iterator[str]:
    for text in (secret, escape(secret), escape(secret, {'"': "&quot;", "'": "&apos;"})):
        for form in (text, repr(text)[1:-1], ascii(text)[1:-1]):
            yield form
            yield form.replace("\\'", "'").replace("'", "\\'")  # in a text that holds both quotes


def _python() -> list[str]:
    """Return the interpreter that oz-install's first line names, with its options."""
    with open(program("oz-install"), "rb") as file:
        first = file.readline().decode(errors="replace")
    words = first.removeprefix("#!").split()
    if not first.startswith("#!") or not words:
        raise Refused("oz-install does not begin with the name of its interpreter.")
    return words


def prepare(
    folder: Path, image: OzImage, guest: str, passwords: Mapping[str, str], tell: Progress
) -> list[str]:
    """Write the files of a build and return oz-install's command.

    Short options only: the long ones that take a value do not work.
    """
    (folder / "tmp").mkdir(mode=0o700)
    tdl = medium.verified(image.tdl, folder, FETCHING, tell)
    write_private(folder / "build.tdl", render(guest, tdl, passwords))
    _configure(folder, image)
    argv = [program("oz-install"), "-d3", "-x", str(folder / "result.xml"), "-c", str(folder / "oz.cfg")]
    argv += ["-s", str(folder / "disk.raw"), "-t", str(image.build.timeout)]
    if image.build.auto is not None:
        write_private(folder / "auto", image.build.auto)
        argv += ["-a", str(folder / "auto")]
    if image.tdl.customised:
        argv.append("-u")
        # oz would make a key itself, but asks for a login name that a minion does not have.
        run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", str(folder / "key")])
    return [*argv, str(folder / "build.tdl")]


def _configure(folder: Path, image: OzImage) -> None:
    """Write oz's configuration.

    Its media cache goes by system and size of the file, whatever the URL, and its cache of systems (jeos)
    ignores what the TDL says: both are off, as ours goes by content.
    """
    options = image.build
    libvirt = {"uri": options.uri, "image_type": "raw"}
    if options.type != "auto":
        libvirt["type"] = options.type
    if options.bridge:
        libvirt["bridge_name"] = options.bridge
    if options.memory:
        libvirt["memory"] = str(size_bytes(options.memory) // MIB)
    if options.cpus:
        libvirt["cpus"] = str(options.cpus)
    sections = {
        "paths": {
            "output_dir": str(folder),
            "data_dir": str(folder / "oz"),
            "sshprivkey": str(folder / "key"),
        },
        "libvirt": libvirt,
        "cache": {"original_media": "no", "modified_media": "no", "jeos": "no"},
        "timeouts": {"install": str(options.timeout)},
    }
    config = configparser.RawConfigParser()
    config.read_dict({s: {k: v.replace("%", "%%") for k, v in keys.items()} for s, keys in sections.items()})
    with open(folder / "oz.cfg", "x", opener=private) as file:
        config.write(file)


def _run(
    argv: list[str], folder: Path, installation: float, hidden: _Hidden, tell: Progress
) -> status.Finished:
    env = environment(
        HOME=str(folder), TMPDIR=str(folder / "tmp"), PYTHONUNBUFFERED="1", **{MARK: str(folder)}
    )
    command = [*_python(), "-c", DIE_WITH_PARENT, str(os.getpid()), *argv]
    with open(folder / "stdout", "xb", opener=private) as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=env,
            start_new_session=True,
            umask=0o077,
        )
        try:
            stderr = _follow(process, time.monotonic() + installation + FETCHING, hidden, tell)
        finally:
            _end(process)
    return _finished(process.returncode, folder, stderr)


def _follow(process: subprocess.Popen[bytes], deadline: float, hidden: _Hidden, tell: Progress) -> str:
    """Read oz's log until it ends, tell its progress and return the end of it."""
    assert process.stderr is not None
    heard, rest, kept = time.monotonic(), "", ""
    with selectors.DefaultSelector() as ready_to_read:
        ready_to_read.register(process.stderr, selectors.EVENT_READ)
        while True:
            if ready_to_read.select(1.0):
                chunk = os.read(process.stderr.fileno(), 1 << 16)
                if not chunk:
                    break
                heard = time.monotonic()
                *lines, rest = (rest + chunk.decode(errors="replace")).split("\n")
                kept = _end_of(kept + "".join(f"{line}\n" for line in lines))
                for line in lines:
                    LOG.debug("oz: %s", hidden.of(line))
                    step = status.progress(line)
                    if step is not None:
                        tell(*step)
            elif _ended(process):
                break  # a stray child keeps the pipe open
            now = time.monotonic()
            if now - heard > SILENCE or now > deadline:
                raise Refused(f"oz-install was ended: {last_line(hidden.of(kept))!r} was its last word.")
    return kept + rest


def _end_of(log: str) -> str:
    """Return the whole lines at the end of a log: of half a line nobody could tell what is secret."""
    return log if len(log) <= KEPT else log[-KEPT:].partition("\n")[2]


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; it is not collected, so that its group keeps its number."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have the whole group of the process gone, stray children, too, and the process collected."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _finished(code: int, folder: Path, stderr: str) -> status.Finished:
    result = folder / "result.xml"
    xml = result.read_text(errors="replace") if result.exists() else ""
    disk = status.named_disk(xml)
    return status.Finished(
        code=code,
        stdout=(folder / "stdout").read_text(errors="replace"),
        stderr=stderr,
        xml_path=str(result),
        xml=xml,
        disk_bytes=os.path.getsize(disk) if disk and os.path.exists(disk) else None,
    )

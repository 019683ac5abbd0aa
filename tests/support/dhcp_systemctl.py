"""``systemctl``, ``journalctl`` and the systemd behind them, as far as Corral asks them: run as a program.

It does what a unit says, and keeps what systemd keeps: each unit that runs as it was read last, whatever has
become of its file since, and what it said. Words and exit statuses are those of systemd 252. It logs its
arguments, and knows no word that it does not do.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

UNITS = Path("/etc/systemd/system")
MEMORY = Path("/run/tsystemd")
CALLS, LOADED, JOURNAL = MEMORY / "calls", MEMORY / "loaded", MEMORY / "journal"
RUNTIME = Path("/run")


class Unit:
    """An instance of a template."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.instance = name.partition("@")[2].removesuffix(".service")
        self.file = UNITS / f"{name.partition('@')[0]}@.service"
        self.drop_in = UNITS / f"{name}.d" / "namespace.conf"
        self.loaded = LOADED / name

    def known(self) -> bool:
        """Read its file, unless that was done before, and return whether there is such a unit."""
        if not self.loaded.exists() and self.file.exists():
            self.load()
        return self.loaded.exists()

    def reload(self) -> None:
        """Read its file again; one that runs is known even if its file is gone."""
        if self.file.exists():
            self.load()
        elif not self.pid():
            self.loaded.unlink()

    def load(self) -> None:
        texts = [file.read_text() for file in (self.file, self.drop_in) if file.exists()]
        self.loaded.write_text("".join(texts))

    def settings(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self.loaded.read_text().replace("%i", self.instance).splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                found.setdefault(key, []).append(value)
        return found

    def pid(self) -> int:
        file = Path(self.settings()["PIDFile"][0])
        pid = int(file.read_text()) if file.exists() else 0
        return pid if Path(f"/proc/{pid}").exists() else 0

    def end(self) -> None:
        pid = self.pid()
        if pid:
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            assert select.select([handle], [], [], 10)[0]
        for folder in self.settings()["RuntimeDirectory"]:
            shutil.rmtree(RUNTIME / folder, ignore_errors=True)

    def begin(self) -> bool:
        """Start it and return whether it runs."""
        settings = self.settings()
        for folder in settings["RuntimeDirectory"]:
            (RUNTIME / folder).mkdir(parents=True)
        given = dict(word.split("=", 1) for word in settings.get("Environment", ()))
        within = [f"--net={path}" for path in settings.get("NetworkNamespacePath", ())]
        for command in (*settings["ExecStartPre"], *settings["ExecStart"]):
            done = subprocess.run(
                [*(["nsenter"] if within else []), *within, *command.split()],
                env={"PATH": os.environ["PATH"], **given},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            with (JOURNAL / self.name).open("a") as journal:
                journal.writelines(f"{line}\n" for line in done.stdout.splitlines() if line)
            if done.returncode:
                return False
        return True


def daemon_reload() -> int:
    for file in LOADED.iterdir():
        Unit(file.name).reload()
    return 0


def enable(name: str) -> int:
    unit = Unit(name)
    if not unit.file.exists():
        return say(1, f"Failed to enable unit: Unit file {name} does not exist.")
    link = UNITS / "multi-user.target.wants" / name
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(unit.file)
    return daemon_reload()


def stop(name: str) -> int:
    unit = Unit(name)
    if not unit.known():
        return say(5, f"Failed to stop {name}: Unit {name} not loaded.")
    unit.end()
    return 0


def restart(name: str) -> int:
    unit = Unit(name)
    if not unit.known():
        return say(5, f"Failed to restart {name}: Unit {name} not found.")
    unit.end()
    if unit.begin():
        return 0
    unit.end()
    return say(1, f"Job for {name} failed because the control process exited with error code.")


def journal(name: str) -> int:
    file = JOURNAL / name
    return say(0, *(file.read_text().splitlines()[-2:] if file.exists() else ()))


def say(status: int, *lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr if status else sys.stdout)
    return status


WORDS = {
    "daemon-reload": daemon_reload,
    "enable --quiet": enable,
    "stop": stop,
    "restart": restart,
    "-u -t dnsmasq -n 2 -o cat --no-pager --quiet": journal,
}


def main(words: list[str]) -> int:
    for folder in (LOADED, JOURNAL):
        folder.mkdir(parents=True, exist_ok=True)
    with CALLS.open("a") as calls:
        calls.write(" ".join(words) + "\n")
    units = [word for word in words if word.endswith(".service")]
    command = " ".join(word for word in words if word not in units)
    return WORDS[command](*units)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

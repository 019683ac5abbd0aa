"""A masterless minion in a throw-away hypervisor, on the file and pillar trees of this checkout."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from lab.host import CHECKOUT, Host

SALT_CALL = str(CHECKOUT / ".venv/bin/salt-call")
OURS = {"ovs", "link", "dhcp", "image", "guest", "guest_pool"}  # state modules of Corral


class MinionError(Exception):
    """``salt-call`` gave no answer; the text is what it said instead."""


class Minion:
    """``salt-call --local`` inside a host.

    host
        Where it runs.
    folder
        A folder of its own, seen from inside and outside alike, for configuration, cache and log.
    grains
        Grains of the minion, for example what ``pillar/lab.sls`` asks for.
    """

    def __init__(self, host: Host, folder: Path, grains: dict[str, Any]) -> None:
        self.host = host
        self.folder = folder
        settings = {
            "id": host.hostname,
            "file_client": "local",
            "root_dir": str(folder),
            "file_roots": {"base": [str(CHECKOUT / "salt")]},
            "pillar_roots": {"base": [str(CHECKOUT / "pillar")]},
            "module_dirs": [str(CHECKOUT)],
            "autoload_dynamic_modules": False,  # they are read from the checkout: nothing to sync
            "enable_fqdns_grains": False,
            "grains": grains,
        }
        folder.mkdir(exist_ok=True)
        (folder / "minion").write_text(yaml.safe_dump(settings))

    @property
    def argv(self) -> list[str]:
        """The words before a function, to be run inside the host."""
        return [SALT_CALL, "--local", f"--config-dir={self.folder}"]

    def start(self, function: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a call whose JSON answer ``answer`` reads; its standard error goes to ``salt-call.log``."""
        with (self.folder / "salt-call.log").open("ab") as log:
            return self.host.popen(
                [*self.argv, "--out=json", "--log-level=error", function, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def answer(self, call: subprocess.Popen[str]) -> Any:
        """Wait for a started call and return what the function returned."""
        out, _ = call.communicate()
        try:
            return json.loads(out)["local"]
        except (ValueError, KeyError):
            log = (self.folder / "salt-call.log").read_text(errors="replace")[-2000:]
            raise MinionError(f"salt-call: exit status {call.returncode}\n{out}{log}") from None

    def call(self, function: str, *arguments: str) -> Any:
        """Return what an execution function returns."""
        return self.answer(self.start(function, *arguments))


class Highstate:
    """The return of a highstate, looked at as the demo needs it."""

    def __init__(self, answer: Any) -> None:
        if not isinstance(answer, dict):
            raise MinionError(f"the highstate did not run: {answer}")
        self.states: dict[str, dict[str, Any]] = answer

    @property
    def failed(self) -> list[str]:
        """A line for each state that failed."""
        return [
            f"{state.get('__id__', key)}: {state['comment']}"
            for key, state in self.states.items()
            if state["result"] is False
        ]

    @property
    def changed(self) -> int:
        """How many states changed, or would change, something."""
        return sum(bool(state["changes"]) for state in self.states.values())

    def our_changes(self) -> dict[str, Any]:
        """Return the ``changes`` of every Corral state, by the state's key."""
        return {
            key: state["changes"] for key, state in self.states.items() if key.partition("_|-")[0] in OURS
        }

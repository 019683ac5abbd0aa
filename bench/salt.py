"""``salt-call --local`` of any Salt, in a throw-away hypervisor, on file and pillar trees of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from lab.host import CHECKOUT, Host

OURS = CHECKOUT / ".venv/bin/salt-call"


class BenchError(Exception):
    """What was to be measured did not do its work; the text is what it said."""


class Salt:
    """One minion.

    host
        Where it runs.
    name
        Of its folder, which is seen from inside and outside alike.
    pillar
        Everything in its pillar.
    program
        Its ``salt-call`` (default: Corral's, which then finds this checkout's modules and SLS).
    """

    def __init__(self, host: Host, name: str, pillar: dict[str, Any], program: Path = OURS) -> None:
        self.host = host
        self.folder = host.state / name
        self.pillar = pillar
        self.program = program
        for tree in ("pillar", "files"):
            (self.folder / tree).mkdir(parents=True)
        settings = {
            "id": host.hostname,
            "file_client": "local",
            "root_dir": str(self.folder),
            "file_roots": {"base": [str(self.folder / "files"), str(CHECKOUT / "salt")]},
            "pillar_roots": {"base": [str(self.folder / "pillar")]},
            "enable_fqdns_grains": False,
        }
        if program == OURS:
            settings["module_dirs"] = [str(CHECKOUT)]
            settings["autoload_dynamic_modules"] = False  # they are read from the checkout: nothing to sync
        self._write("minion", settings)
        self._write("pillar/top.sls", {"base": {"*": ["bench"]}})
        self._write("pillar/bench.sls", pillar)

    def sls(self, name: str, states: dict[str, Any]) -> None:
        """Add a file to its file tree."""
        self._write(f"files/{name}.sls", states)

    def _write(self, path: str, data: dict[str, Any]) -> None:
        (self.folder / path).write_text(yaml.safe_dump(data, sort_keys=False))

    def argv(self, *words: str) -> list[str]:
        """The command line of a call."""
        quiet = ["--out=json", "--log-level=error"]
        return [str(self.program), "--local", f"--config-dir={self.folder}", *quiet, *words]

    def call(self, *words: str) -> Any:
        """Return what a function returned; ``BenchError`` when it, or one of its states, failed."""
        done = self.host.run(self.argv(*words), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        try:
            answer = json.loads(done.stdout)["local"]
        except (ValueError, KeyError):
            raise BenchError(f"{' '.join(words)}: {done.stdout}{done.stderr}") from None
        if words[0].startswith("state."):
            check(answer)
        return answer


def check(answer: Any) -> None:
    """Raise ``BenchError`` unless every state of a return succeeded."""
    if not isinstance(answer, dict):
        raise BenchError(f"no state ran: {answer}")
    failed = [state["comment"] for state in answer.values() if not state["result"]]
    if failed:
        raise BenchError("; ".join(failed[:3]))


def changed(answer: dict[str, Any]) -> int:
    """How many states changed something."""
    return sum(bool(state["changes"]) for state in answer.values())

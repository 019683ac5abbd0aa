"""A run that is killed at any of its writes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir", "subprocess.Popen"}
OPENED_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_DIRECTORY  # a folder is opened to sync it


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run *act* in a process that is killed right before its write number *step*; False: it has fewer."""
    child = os.fork()
    if child == 0:
        left = [step]

        def hook(event: str, arguments: Any) -> None:
            if event in WRITES or (event == "open" and arguments[2] & OPENED_TO_WRITE):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)

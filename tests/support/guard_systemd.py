"""``systemd-run`` as far as the guard asks it: as a program, it starts a unit and waits until that is ready.

It takes no word that it does not know. What a unit is told, and when it is ready, is as sd_notify(3) says.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

FLAGS = ["--quiet", "--collect", "--no-ask-password", "--service-type=notify"]
NAMED = ["--unit=", "--description="]
SETTINGS = [
    *("Restart=on-failure", "RestartSec=1", "OOMScoreAdjust=-900"),
    *("NotifyAccess=all", "TimeoutStartSec=20"),
]


def main(words: list[str]) -> int:
    end = words.index("--")
    options, command = words[:end], words[end + 1 :]
    named = [option for option in options if option.startswith(tuple(NAMED))]
    settings = [option for option in options if option.startswith("--property=")]
    assert settings == [f"--property={setting}" for setting in SETTINGS], settings
    assert len(named) == len(NAMED) and set(options) == {*FLAGS, *named, *settings}, options
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0test-{os.getpid()}")
        heard.settimeout(60)
        subprocess.Popen(
            command,
            cwd="/",
            env={"NOTIFY_SOCKET": f"@test-{os.getpid()}", "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert heard.recv(100) == b"READY=1"
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

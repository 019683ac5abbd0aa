"""Run one command on every guest of a pool at the same time, over SSH."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from corral.errors import Invalid, NotInstalled
from corral.pool.model import Readout
from corral.pool.show import show

Answers = dict[str, dict[str, Any]]


def readout(pool: str, asked: Readout) -> Answers:
    """Return what a command said on every guest of a pool, by name.

    Raises ``NotInstalled`` without asyncssh.
    """
    if asked.key and not os.path.isfile(asked.key):
        raise Invalid(f"readout.key: there is no key file {asked.key}")
    ssh = _library()
    options = {
        "username": asked.user,
        "client_keys": [asked.key] if asked.key else (),
        "known_hosts": asked.known_hosts,
        "agent_path": None,
        "config": None,
    }
    guests = show(pool)["guests"]
    answers = _everywhere(ssh, guests, asked.command, options, asked.timeout, asked.concurrency)
    # Salt may have an event loop in this thread; asyncio takes no second one there.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, answers).result()


def _library() -> Any:
    try:
        import asyncssh
    except ImportError as missing:
        raise NotInstalled(
            f"The Python library asyncssh is not installed ({missing}):"
            " install asyncssh in Salt's Python, or the package python3-asyncssh."
        ) from None
    return asyncssh


async def _everywhere(
    ssh: Any,
    guests: Mapping[str, Mapping[str, Any]],
    command: str,
    options: Mapping[str, Any],
    timeout: float,
    concurrency: int,
) -> Answers:
    gate = asyncio.Semaphore(concurrency)

    async def one(guest: Mapping[str, Any]) -> dict[str, Any]:
        if guest["state"] != "running":
            return {"error": f"it is {guest['state']}"}
        if guest["address"] is None:
            return {"error": "no address of it is known on this host"}
        async with gate:
            return await _one(ssh, guest["address"], command, options, timeout)

    said = await asyncio.gather(*(one(guest) for guest in guests.values()))
    return dict(zip(guests, said, strict=True))


async def _one(
    ssh: Any, address: str, command: str, options: Mapping[str, Any], timeout: float
) -> dict[str, Any]:
    """Run the command on one guest; what goes wrong there is its answer."""

    async def talk() -> dict[str, Any]:
        async with ssh.connect(
            address, connect_timeout=timeout, login_timeout=timeout, **options
        ) as connection:
            done = await connection.run(command, check=False, errors="replace")
        return {"status": done.exit_status, "stdout": done.stdout, "stderr": done.stderr}

    try:
        return {"address": address, **await asyncio.wait_for(talk(), timeout)}
    except (TimeoutError, asyncio.TimeoutError):
        return {"address": address, "error": f"no answer within {timeout:g} s"}
    except (OSError, ValueError, ssh.Error) as error:
        return {"address": address, "error": str(error) or type(error).__name__}

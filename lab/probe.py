"""Ping many addresses at once: ``python -m lab.probe ADDRESS…`` prints those that answered, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

SECONDS = 20  # a guest that has just leased may still be busy booting


async def answers(address: str, gate: asyncio.Semaphore) -> bool:
    """Whether an address answers a ping in time."""
    async with gate:
        ping = await asyncio.create_subprocess_exec(
            "ping", "-n", "-q", "-c1", f"-w{SECONDS}", address,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return await ping.wait() == 0


async def main(addresses: list[str]) -> list[str]:
    """Return the addresses that answered."""
    gate = asyncio.Semaphore(32)
    said = await asyncio.gather(*(answers(address, gate) for address in addresses))
    return [address for address, yes in zip(addresses, said, strict=True) if yes]


if __name__ == "__main__":
    json.dump(asyncio.run(main(sys.argv[1:])), sys.stdout)

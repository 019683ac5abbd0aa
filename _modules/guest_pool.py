"""
Pools of guests as they are, as they would become, and what their guests say
============================================================================

In the vocabulary of the state module :py:mod:`guest_pool <states.guest_pool>`. The guests of a pool are found
by the metadata in their definitions, so nothing need be declared to look at them.
"""

from __future__ import annotations

from typing import Any

try:
    from corral.errors import salt_errors
    from corral.pool import model
    from corral.pool import readout as over_ssh
    from corral.pool import show as shown

    MISSING = ""
except ImportError as missing:
    MISSING = f"guest_pool cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def show(name: str) -> dict[str, Any]:
    """
    Return a pool: how many guests it has and how many run; of each its index, state, address and definition.

    name
        The pool's name.

    Raises an error when no guest of this host is of the pool, or libvirt does not answer.

    CLI Example:

    .. code-block:: bash

        salt '*' guest_pool.show web
    """
    with salt_errors():
        return shown.show(name)


def plan(name: str, **pool: Any) -> dict[str, Any]:
    """
    Return the changes that ``guest_pool.running`` would make now, without making them.

    name
        The pool's name.

    pool
        The declaration, as for the state.

    CLI Example:

    .. code-block:: bash

        salt '*' guest_pool.plan web replicas=3 image=fedora-23 guest='{memory: 256M}' boot='{ready: none}'
    """
    with salt_errors():
        return shown.planned(model.declare(__opts__["id"], name, _declaration(pool)))


def identity(name: str, **pool: Any) -> dict[str, Any]:
    """
    Return index, UUID, MAC addresses and address of each guest of a pool, by name.

    name
        The pool's name.

    pool
        A declaration, as for the state: then guests that do not exist yet are in the table, too, with the
        identity they will get (``exists: false``). Without it: the guests that exist.

    CLI Example:

    .. code-block:: bash

        salt '*' guest_pool.identity web
        salt '*' guest_pool.identity web replicas=3 image=fedora-23 boot='{ready: none}'
    """
    with salt_errors():
        declaration = _declaration(pool)
        if not declaration:
            return shown.found_identity(name)
        return shown.identity(model.declare(__opts__["id"], name, declaration))


def readout(
    name: str,
    command: str = "uname -a",
    user: str = "root",
    key: str | None = None,
    known_hosts: str | None = None,
    timeout: int | str = 60,
    concurrency: int = 16,
) -> dict[str, Any]:
    """
    Run a command on every guest of a pool at the same time, over SSH, and return what each said.

    The answer of a guest has ``status``, ``stdout`` and ``stderr``, or ``error`` with what went wrong there.
    Guests are young and their host keys are not known: any host key is taken unless ``known_hosts`` names a
    file with the right ones. So never send a secret this way over a network that you do not trust.
    It needs the Python library asyncssh.

    name
        The pool's name.

    command
        What to run, for the guest's shell. Default: ``uname -a``.

    user
        Who to log in as. Default: ``root``.

    key
        File of the private key on the minion. Default: the keys of the user that Salt runs as.

    known_hosts
        File with the guests' host keys, in OpenSSH's format. Default: none, and no check.

    timeout
        What one guest gets, from connecting to the command's end, for example ``90s``. Default: 60 seconds.

    concurrency
        How many guests at a time. Default: 16.

    CLI Example:

    .. code-block:: bash

        salt '*' guest_pool.readout web 'uname -a' key=/root/.ssh/id_ed25519
    """
    with salt_errors():
        asked = {
            "command": command,
            "user": user,
            "key": key,
            "known_hosts": known_hosts,
            "timeout": timeout,
            "concurrency": concurrency,
        }
        return over_ssh.readout(name, model.Readout.declare(asked, at="readout"))


def _declaration(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments without those that Salt adds."""
    return {key: value for key, value in arguments.items() if not key.startswith("__")}

"""
The guard of a network change on this host: whether one is armed, and its end by hand.

A guard is declared as the argument ``guard`` of ``ovs.switch_managed`` and ``link.managed``.
"""

try:
    from corral.errors import salt_errors
    from corral.guard import hand

    MISSING = ""
except ImportError as missing:
    MISSING = f"guard cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def status():
    """
    Return the guard that is armed, and what became of the last one; ``None`` for each that there is not.

    ``armed`` has the state and the product, the probes, the seconds that are left, and whether the run that
    armed it (``running``) and the watchdog (``watched``) live. ``last`` has the outcome (``kept``,
    ``reverted``, ``confirmed``, or ``not reverted yet``), why, and when.

    CLI Example:

    .. code-block:: bash

        salt '*' guard.status
    """
    with salt_errors():
        return hand.status()


def confirm():
    """
    Keep the change that is guarded, whatever its probes say, and return what was kept.

    It fails where no guard is armed, and where the change has been reverted already.

    CLI Example:

    .. code-block:: bash

        salt '*' guard.confirm
    """
    with salt_errors():
        return hand.confirm()


def revert():
    """
    Revert the change that is guarded, whatever its probes say, and return what was reverted.

    It fails where no guard is armed, and where a daemon does not answer; the guard stays armed then.

    CLI Example:

    .. code-block:: bash

        salt '*' guard.revert
    """
    with salt_errors():
        return hand.revert()

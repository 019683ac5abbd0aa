"""
Network devices of this host, as they are.
"""

try:
    from corral.errors import salt_errors
    from corral.link import wire

    MISSING = ""
except ImportError as missing:
    MISSING = f"link cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def show(name=None):
    """
    Return devices with their addresses, MTU and state, in the words of ``link.managed``.

    name
        One device, ``None`` if it is not there; all by default.

    CLI Example:

    .. code-block:: bash

        salt '*' link.show
        salt '*' link.show ovsbr0
    """
    with salt_errors():
        devices = {one: device.shown() for one, device in wire.look().items()}
        return {name: devices.get(name)} if name else devices

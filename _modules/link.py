"""
Network devices of this host, as they are.
"""

try:
    from corral.errors import salt_errors
    from corral.link import netlink, wire

    MISSING = ""
except ImportError as missing:
    MISSING = f"link cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def namespaces():
    """
    Return the network namespaces that have a name, and what is in them.

    Each has ``ours`` (whether Corral made it), ``devices`` (without those that Linux puts into each) and
    ``processes``, names by process id.

    CLI Example:

    .. code-block:: bash

        salt '*' link.namespaces
    """
    with salt_errors():
        return {name: one.shown() for name, one in wire.namespaces().items()}


def show(name=None, namespace=None):
    """
    Return devices with their addresses, MTU and state, in the words of ``link.managed``.

    name
        One device, ``None`` if it is not there; all by default.

    namespace
        The network namespace to look in; the host's own by default.

    CLI Example:

    .. code-block:: bash

        salt '*' link.show
        salt '*' link.show ovsbr0
        salt '*' link.show namespace=blue
    """
    with salt_errors():
        devices = {one: device.shown() for one, device in netlink.look(namespace).items()}
        return {name: devices.get(name)} if name else devices

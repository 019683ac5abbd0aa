"""
Subnets served by dnsmasq, as they are on this host.
"""

try:
    from corral.dhcp import wire
    from corral.dhcp.model import Guests
    from corral.dhcp.plan import summary
    from corral.errors import salt_errors

    MISSING = ""
except ImportError as missing:
    MISSING = f"dhcp cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def leases(subnet):
    """
    Return the leases of a subnet, by address.

    subnet
        Name of the subnet.

    Each lease has ``expires`` (seconds since the epoch, 0 is never), ``mac``, ``address``, ``name`` (of the
    reservation) and ``client_id``; what is not known is ``None``.

    CLI Example:

    .. code-block:: bash

        salt '*' dhcp.leases vmworld
    """
    with salt_errors():
        return [lease.shown() for lease in wire.leases(wire.known(subnet))]


def release(subnet, macs):
    """
    Give leases back to the DHCP server in their guests' stead, and return the addresses that are free now.

    It is for guests that are gone for good: one that still runs goes on using its address until it asks for a
    lease again, while others may be given it.

    subnet
        Name of the subnet.

    macs
        MAC addresses of the guests: one, or a list. One of decimal digits alone is written with ``-`` on a
        command line, where YAML takes it for a number.

    It fails if dnsmasq has not taken a lease back within ten seconds. A MAC without a lease is no error.

    CLI Example:

    .. code-block:: bash

        salt '*' dhcp.release vmworld 52:60:2f:00:00:01
        salt '*' dhcp.release vmworld '[52:60:2f:00:00:01, 52:60:2f:00:00:02]'
    """
    with salt_errors():
        return wire.release(wire.known(subnet), Guests.declare({"macs": macs}, "dhcp.release").macs)


def show(subnet=None):
    """
    Return subnets as they are, in the words of ``dhcp.subnet_managed``.

    subnet
        Name of one subnet; all of this host by default.

    ``running`` is true, or says what dnsmasq does instead; reservations of pools are under ``reserved_by``.

    CLI Example:

    .. code-block:: bash

        salt '*' dhcp.show
        salt '*' dhcp.show vmworld
    """
    with salt_errors():
        return {
            name: summary(wire.look(name)) for name in ([wire.known(subnet)] if subnet else wire.subnets())
        }

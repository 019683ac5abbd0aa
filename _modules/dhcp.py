"""
Subnets served by dnsmasq, as they are on this host.
"""

try:
    from corral.dhcp import wire
    from corral.dhcp.plan import summary
    from corral.errors import salt_errors

    MISSING = ""
except ImportError as missing:
    MISSING = f"{missing}: install the Python package of that name"

    def salt_errors(function):
        return function


def __virtual__():
    return (False, MISSING) if MISSING else True


@salt_errors
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
    return [lease.shown() for lease in wire.leases(subnet)]


@salt_errors
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
    return {name: summary(wire.look(name)) for name in ([subnet] if subnet else wire.subnets())}

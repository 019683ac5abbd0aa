"""
Network devices of this host: addresses, MTU, up or down, by netlink.

.. code-block:: yaml

    ovsbr0:
      link.managed:
        - addresses: [172.31.110.1/24, 'fd00:6e::1/64']
        - mtu: 1500
        - up: true

What is not mentioned stays as it is. Of ``addresses``, those that Corral made and that are no longer declared
go away; what somebody else made stays: by hand or by the distribution, by DHCP, by keepalived. What Corral
makes carries its mark (protocol 67 of the address). Linux knows such marks since 5.18; on an older kernel
nothing is removed. New addresses are added before others are removed, and those that stay
keep their routes.

The device itself is made by whoever owns it, such as ``ovs.switch_managed``. What is set here lasts until the
device or the host goes.
"""

try:
    from corral.converge import converge
    from corral.link.model import Link
    from corral.link.plan import plan
    from corral.link.wire import Netlink

    MISSING = ""
except ImportError as missing:
    MISSING = f"link cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def managed(name, **link):
    """
    Give a device these addresses, and this MTU and state.

    name
        The device.

    addresses
        List of addresses with prefix length, IPv4 or IPv6.

    mtu
        In bytes, 68 to 65535; 1280 at least where the device has IPv6 addresses. An internal port of Open
        vSwitch has an ``mtu`` of its own, in ``ovs.switch_managed``.

    up
        Whether it is up.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Link.declare({**link, "name": name}, at=f"links.{name}"),
        wire=lambda _: Netlink(),
        plan=plan,
    )

"""
Network devices of this host: addresses, MTU, up or down, routes, network namespace, by netlink.

.. code-block:: yaml

    ovsbr0:
      link.managed:
        - addresses: [172.31.110.1/24, 'fd00:6e::1/64']
        - mtu: 1500
        - up: true
        - gateway: 172.31.110.254
        - routes:
          - {to: 10.20.0.0/16, via: 172.31.110.253, metric: 50}
          - {to: default, via: 'fd00:6e::fe'}
          - {to: 10.30.0.0/16}                  # no router: on the link
        - persist: auto

What is not mentioned stays as it is. Of ``addresses``, ``gateway`` and ``routes``, what Corral made and what
is no longer declared goes away; what somebody else made stays: by hand or by the distribution, by DHCP, by
keepalived. What Corral makes carries its mark (protocol 67 of the address, or of the route). Linux knows such
marks of addresses since 5.18; on an older kernel none is removed. What is new is added before other addresses
are removed, and those that stay keep their routes.

``gateway`` is the route to ``default`` for short. Mentioned alone it speaks of the default routes of the
device that Corral made; ``routes`` speaks of all that it made. Where somebody else made a route to the same
network with the same metric through the same device, that one is led by way of the declared router.

The device itself is made by whoever owns it, such as ``ovs.switch_managed``. What is set here is set in the
running kernel. With ``persist`` it is also written into the distribution's own network files, for the next
boot; nothing is restarted, and nothing is taken down. Without it nothing is written: who brings a device up
at boot is the business of whoever installed the host, until it is declared.

An address or a route that another device has is refused, unless that device is named in ``takes_over``: then
it goes from there as soon as it is here, whoever made it. With ``persist`` the files that bring the other
device up say so no more (a stanza of ifupdown becomes a comment, another profile is outranked), and one of
ours brings it up without an address, which Open vSwitch does not do for its ports. A device may name itself:
then all that anybody made on it is ours.

.. code-block:: yaml

    ovsbr0:
      link.managed:
        - addresses: [192.0.2.10/24]
        - gateway: 192.0.2.1
        - takes_over: [eth0]
        - persist: auto
        - guard: true

With ``namespace`` the device is moved into a network namespace, one of ``ip netns``, which is made when it is
missing; its loopback is up. The device keeps its addresses and its state there, and loses its routes.

.. code-block:: yaml

    blue-gw:
      link.managed:
        - namespace: blue             # null: the host's own
        - addresses: [10.0.0.1/24]    # another namespace may have the same
        - up: true

    red:
      link.namespace_absent
"""

try:
    from corral.converge import converge
    from corral.link.model import Link, Namespace
    from corral.link.plan import plan, plan_absent
    from corral.link.wire import NamespaceRemoval, Netlink

    MISSING = ""
except ImportError as missing:
    MISSING = f"link cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def managed(name, guard=None, **link):
    """
    Give a device these addresses, and this MTU and state.

    name
        The device.

    namespace
        Network namespace that it is to be in, made when it is missing; ``null`` is the host's own.

    addresses
        List of addresses with prefix length, IPv4 or IPv6.

    mtu
        In bytes, 68 to 65535; 1280 at least where the device has IPv6 addresses. An internal port of Open
        vSwitch has an ``mtu`` of its own, in ``ovs.switch_managed``.

    up
        Whether it is up.

    gateway
        Address of the default router, IPv4 or IPv6; ``null``: none that Corral made.

    routes
        List of routes of the main table: ``to`` (a network, or ``default``), ``via`` (address of the router;
        without it the network is on the link) and ``metric`` (default: 0 for IPv4, 1024 for IPv6).

    persist
        Who brings the device up at boot as this declaration says, and as nothing else says: ``networkd``,
        ``ifupdown``, ``networkmanager`` (keyfile), ``ifcfg`` (network-scripts of RHEL), or ``auto``, which is
        the one of them that this host has. ``null`` takes our files away.

    takes_over
        List of devices whose addresses and routes come here as far as they are declared here; or the device
        itself.

    guard
        ``true``: take the change back unless this host is still reached after it. Or a mapping with
        ``within``, the seconds for it (30), and ``probes``, who must answer: ``gateway``, ``salt_master``,
        ``{ping: ADDRESS}``, ``{tcp: 'ADDRESS:PORT'}``. Default probes: of the default gateways and the Salt
        masters those that answer before the change.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Link.declare({**link, "name": name}, at=f"links.{name}"),
        wire=Netlink,
        plan=plan,
        guard=guard,
    )


def namespace_absent(name):
    """
    Remove a network namespace, whoever made it.

    It is refused while a process or a device is in it, but for those devices that Linux puts into each.

    name
        Name of the namespace, as ``ip netns`` has it.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Namespace.declare({"name": name}, at=f"namespaces.{name}"),
        wire=NamespaceRemoval,
        plan=plan_absent,
    )

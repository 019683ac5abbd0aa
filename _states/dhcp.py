"""
Subnets served by dnsmasq: ranges, reservations and options, each subnet by a dnsmasq of its own.

.. code-block:: yaml

    vmworld:
      dhcp.subnet_managed:
        - namespace: null                         # the network namespace that the device is in, by its name
        - interface: ovsbr0                       # the device, with an address in the network
        - network: 172.31.110.0/24
        - range: 172.31.110.100-172.31.110.200    # leased to whoever asks; null: reservations only
        - router: 172.31.110.1                    # null: none is announced
        - domain: vmworld
        - dns_servers: [172.31.110.1]
        - mtu: 1450                               # told to every guest (option 26); null: none is told
        - lease_time: 12h                         # default 1h, at least 2m
        - dns: false                              # true: dnsmasq answers DNS there, too
        - ping_check: false                       # true: ping an address before it is leased from the range
        - options: {ntp-server: [172.31.110.1]}   # by dnsmasq's name or by number; null: none of these
        - reservations:
          - {mac: '52:60:2f:00:00:01', address: 172.31.110.10, name: db}

A key that is not mentioned stays as it is; ``null`` sets it back to its default. ``reservations`` is exact,
for the subnet's own ones: pools keep theirs beside them. Guests are known by their MAC alone, since clones
share client ids and host names; a name comes from a reservation only. With ``ping_check``, dnsmasq serves
nobody for three seconds before each lease from the range; reserved addresses are never pinged.

Two subnets may share addresses, or the name of a device, if each has a network namespace to itself; the
namespace and the device in it are made by ``link.managed``.

The configuration is ``/etc/corral/dhcp/<subnet>.conf``; what outlives a reboot is in
``/var/lib/corral/dhcp/<subnet>``. Where systemd runs, ``corral-dhcp@<subnet>.service`` serves the subnet;
elsewhere dnsmasq is a daemon of its own, which logs faults to ``/run/corral/dhcp/<subnet>/log``; ``log.1`` is
the log of the one before. The running dnsmasq reads changed reservations; any other change restarts it. No
lease is lost by either.
"""

try:
    from corral.converge import converge
    from corral.dhcp.model import Subnet
    from corral.dhcp.plan import Absent, plan, plan_absent
    from corral.dhcp.wire import Dnsmasq, Removal

    MISSING = ""
except ImportError as missing:
    MISSING = f"dhcp cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def subnet_managed(name, **subnet):
    """
    Serve a subnet exactly as declared.

    name
        Name of the subnet.

    subnet
        The keys of the example above; ``interface`` and ``network`` are required.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Subnet.declare({**subnet, "name": name}, at=f"dhcp.{name}"),
        wire=Dnsmasq,
        plan=plan,
    )


def subnet_absent(name):
    """
    Serve a subnet no longer, and forget its configuration, its own reservations and its leases.

    It is refused while anybody else, such as a pool, has reservations in it.

    name
        Name of the subnet.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Absent.declare({"name": name}, at=f"dhcp.{name}"),
        wire=Removal,
        plan=plan_absent,
    )

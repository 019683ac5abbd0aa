"""
Look at Open vSwitch: what is, what a declaration would change, and how the bonds are.

The states of the same name change it.
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.diagnose import wire as walk
    from corral.errors import Refused, salt_errors
    from corral.overlay import wire as overlays
    from corral.ovs import look, status, wire
    from corral.ovs.host import declarable
    from corral.ovs.model import Switch
    from corral.ovs.plan import MANAGED
    from corral.ovs.plan import plan as planner
    from corral.topology import show as drawing

    MISSING = ""
except ImportError as missing:
    MISSING = f"ovs cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


__func_alias__ = {"plan_": "plan"}


def __virtual__():
    return (False, MISSING) if MISSING else True


def show(timeout=10):
    """
    Return the switch of this host in the words of its declaration.

    What it returns can be declared as it is, but for

    - ``error``: what ovs-vswitchd could not set up;
    - ``psk``, the secret of a tunnel, in whose place stands ``(hidden)``;
    - what a declaration has no words for: bonds that were left with one member.

    Flows and groups are not among it: ``ovs.flows`` shows them.

    timeout
        Seconds within which ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.show
    """
    with salt_errors(), wire.Wire("", timeout) as daemon:
        found = daemon.look()
        return {"bridges": declarable(found.bridges), **found.switch}


def plan_(timeout=10, **switch):
    """
    Return the changes that ``ovs.switch_managed`` would make now, without making them.

    What the host lacks for them is in the comment of the state's ``test=True``.

    bridges, ports, bonds
        As for the state.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.plan bridges='{ovsbr0: {ports: {web0: {type: internal, tag: 10}}}}'
    """
    with salt_errors():
        declaration = {key: value for key, value in switch.items() if not key.startswith("__")}
        preview = converge(
            "The switch",
            {"test": True},
            declare=lambda: Switch.declare(declaration),
            wire=lambda desired: wire.Wire(MANAGED, timeout, desired),
            plan=partial(planner, exact=True),
        )
        if preview["result"] is False:
            raise Refused(preview["comment"])
        return preview["changes"]


def bond_status(bond=None, timeout=10):
    """
    Return the bonds by name: mode, LACP, members, and whether each bond is healthy and why not.

    A bond is ``healthy`` when every member forwards and, with LACP, all of them are attached to one
    partner. Its ``state`` is ``healthy``, ``degraded`` (some member forwards) or ``down``; ``reason`` names
    the members and what is wrong with them.

    bond
        Only this bond. Default: all.

    timeout
        Seconds within which ovs-vswitchd and ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.bond_status
        salt '*' ovs.bond_status bond0
    """
    with salt_errors():
        shown, negotiated = wire.asked(timeout, "bond/show", "lacp/show")
        return _only(bond, status.bonds(shown, status.lacp(negotiated), wire.links(timeout)))


def lacp_status(bond=None, timeout=10):
    """
    Return what LACP has negotiated, by bond: its own end, and actor and partner of each member.

    bond
        Only this bond. Default: all that have LACP.

    timeout
        Seconds within which ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.lacp_status bond0
    """
    with salt_errors():
        (negotiated,) = wire.asked(timeout, "lacp/show")
        return _only(bond, status.lacp(negotiated))


def tunnels(timeout=10):
    """
    Return what other hosts need to know of this host's tunnels, by port, for the Salt mine.

    Each has ``type``, ``key``, ``remote_ip``, ``local_ip`` (the declared one, or that of the route to the
    far end) and ``mtu``, the bytes that a guest's packet may have. With it in ``mine_functions`` of every
    host, ``ovs.tunnel_status`` compares both ends:

    .. code-block:: yaml

        mine_functions:
          ovs.tunnels: []

    timeout
        Seconds within which Open vSwitch and ``ip`` must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.tunnels
    """
    with salt_errors():
        return look.own_tunnels(timeout)


def tunnel_status(port=None, probe=False, mine=None, timeout=10):
    """
    Return the tunnels by port, and whether each of them is healthy and why not.

    A tunnel is ``healthy`` when ovs-vswitchd has added it, there is a way to the far end whose device is up
    and whose next hop answers, BFD (``bfd``) and CFM (``cfm``), where they are on, say that it works, and
    the far end has the same key and MTU. ``reason`` says what is wrong, the cause before its effects.

    ``peer`` is the way to the far end: ``route``, ``neighbour`` (the next hop as the kernel knows it) and
    ``echo``. ``mtu`` has that of the device on the way (``egress``) and what is left for a guest's packets
    (``guest``), in bytes. ``far`` is the other end as its host has told the Salt mine, None if it is not
    known, because that host has not, or runs no Corral.

    port
        Only this tunnel. Default: all.

    probe
        Ask the far ends for an ICMP echo, once of few bytes and once of the way's MTU, unfragmented; it
        takes three seconds when one does not answer. Default: False.

    mine
        What ``ovs.tunnels`` returned on each host, by minion. Default: what the Salt mine has.

    timeout
        Seconds within which Open vSwitch and ``ip`` must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.tunnel_status
        salt '*' ovs.tunnel_status vx-east probe=True
    """
    with salt_errors():
        fleet = __salt__["mine.get"]("*", "ovs.tunnels") if mine is None else mine
        return look.tunnel_status(None if port is None else [port], fleet or {}, probe, timeout)


def fdb(bridge=None, timeout=10):
    """
    Return the addresses that bridges have learned, by bridge: MAC, VLAN, port by name, and age in seconds.

    An entry that somebody made by hand is ``static`` and has no age. The port of a bond's member is the bond.

    bridge
        Only this bridge. Default: all.

    timeout
        Seconds within which Open vSwitch must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.fdb
        salt '*' ovs.fdb ovsbr0
    """
    with salt_errors():
        return look.fdb(bridge, timeout)


def flows(bridge=None, timeout=10):
    """
    Return the OpenFlow flows of bridges, by bridge: by table, and by priority from the highest.

    Each has ``table``, ``priority``, ``match`` (a word alone, such as ``udp``, is true), ``actions``,
    ``cookie``, ``n_packets``, ``n_bytes`` (None where Open vSwitch does not know), ``duration`` and, where
    they apply, ``idle_age`` and ``hard_age`` in seconds. Ports are named; ``ours`` is true for Corral's own.

    bridge
        Only this bridge. Default: all.

    timeout
        Seconds within which Open vSwitch must answer, for each bridge. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.flows br-tun
    """
    with salt_errors():
        return look.flows(bridge, timeout)


def controllers(timeout=10):
    """
    Return the OpenFlow controllers by bridge and the managers of the database, and whether all are healthy.

    Each has ``target``, ``connected``, ``role``, ``state``, ``last_error``, ``sec_since_connect``,
    ``sec_since_disconnect``, and ``healthy`` with a ``reason``. One that is to be connected to is healthy
    when it is; one on which Open vSwitch listens (``ptcp:``) needs nobody to come. ovs-vswitchd tells the
    database about its controllers every five seconds.

    timeout
        Seconds within which ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.controllers
    """
    with salt_errors():
        return look.controllers(timeout)


def networks(network=None, timeout=10):
    """
    Return the overlay networks of this host by name, as they are.

    Each has its ``key`` in the tunnels, its ``vlan`` on this host, the ``mtu`` of what hangs on it, the
    ``bridge`` by which guests join it, the ``ports`` that have, the ``peers`` that have it, each with its
    ``address``, its tunnel's ``port`` and the ``macs`` learned behind it, and its ``flows``: what each does,
    and for how many packets it has. ``healthy`` is false when flows are missing, for the ``reason`` given.

    network
        Only this network. Default: all.

    timeout
        Seconds within which Open vSwitch must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.networks
        salt '*' ovs.networks blue
    """
    with salt_errors():
        return overlays.networks(network, timeout)


def overlay_services(timeout=10, **overlay):
    """
    Return what this host is to serve of the overlay networks, for the role ``overlay``.

    ``links`` are arguments of ``link.managed`` by device, ``dhcp`` those of ``dhcp.subnet_managed`` by name;
    ``ended`` are namespaces, by network, where this host serves nothing any more. Nothing is in them when the
    declaration is wrong, which ``ovs.overlay_managed`` then says.

    overlay
        The arguments of ``ovs.overlay_managed``.

    timeout
        Seconds within which ``ip`` must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt hv1 ovs.overlay_services peers='{hv1: 192.0.2.1}' networks='{blue: {key: 1}}'
    """
    with salt_errors():
        declared = {key: value for key, value in overlay.items() if not key.startswith("__")}
        return overlays.served({"host": __opts__["id"], **declared}, timeout)


def diagnose(guest, mac=None, subnet=None, seconds=5, probe=True, mine=None, timeout=10):
    """
    Walk the way of a guest's DHCPDISCOVER hop by hop, and name the first one that is broken.

    The hops are the guest and its network card, the ``tap`` that carries its frames on the host, the
    ``port`` of the switch with its VLAN, the DHCP ``server`` and whether it listens, the ``server port``,
    the ``path`` between the two ports as Open vSwitch itself traces it, a ``tunnel`` by which the frame
    leaves, ``netfilter`` on a Linux bridge, the way back (``reply``), free ``addresses``, and the ``offer``
    that arrives. Each has ``ok`` (None: not known) and says what was ``seen``.

    ``broken`` is the first broken hop, ``reason`` says in a sentence what is wrong there, and ``fix`` is what
    mends it, a ``state`` with its ``arguments``; it is None where no state does. ``captured`` has the DHCP
    messages of the guest that were seen at the tap and at the server port (None: nobody listened there).

    guest
        A guest of libvirt by its name or UUID; or a port, a MAC address, or a network namespace.

    mac
        Which of the guest's network cards. Default: its first one.

    subnet
        The subnet of ``dhcp.subnet_managed`` that is to serve it. Default: the one that has a reservation
        for it, that its frames come to, or that is on its switch.

    seconds
        How long to listen, 0 to 60; an offer ends it. dnsmasq takes three to answer where it first pings
        the address that it offers. Default: 5.

    probe
        Send a DHCPDISCOVER in the guest's stead, into its port of the switch: the server then offers an
        address, but leases none. Without it, only what the guest asks by itself is seen. Default: True.

    mine
        As for ``ovs.tunnel_status``.

    timeout
        Seconds within which each daemon must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.diagnose web0
        salt '*' ovs.diagnose 52:60:2f:00:00:01 probe=False seconds=30
    """
    with salt_errors():
        fleet = __salt__["mine.get"]("*", "ovs.tunnels") if mine is None else mine
        return walk.diagnose(guest, mac, subnet, seconds, probe, fleet or {}, timeout)


def topology(format="data", fleet=None, tgt_type="glob", timeout=10):
    """
    Return what this host's network is made of and how it hangs together, as structure or as a drawing.

    The structure has ``nodes`` by id (bridges, ports, bonds, tunnels, mirrors, devices, guests), each with
    ``kind``, ``name``, ``state`` and what else is known, ``edges`` between them with the VLANs of ports, and
    ``notes`` on what could not be looked at.

    format
        ``data``, ``mermaid`` (text), ``svg`` or ``html`` (both need nothing else). Default: ``data``.

    fleet, tgt_type
        A target: also the hosts that it matches, as they have told the Salt mine, with their tunnels joined.
        It needs ``ovs.topology: []`` in ``mine_functions``. Or the hosts' structures themselves, by minion.
        Default: this host alone, ``glob``.

    timeout
        Seconds within which Open vSwitch, libvirt and the kernel must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt kvm1 ovs.topology
        salt-call --out=json ovs.topology format=html fleet='*' | jq -r .local > fleet.html
    """
    with salt_errors():
        return drawing.topology(__opts__["id"], timeout, _told(fleet, tgt_type), format)


def path(name, to=None, nic=0, vlan=None, fleet=None, tgt_type="glob", timeout=10):
    """
    Return the way of a frame, device by device, from a guest to the wire, or to a guest or an address.

    Open vSwitch is asked what it would do with the frame; none is sent. ``steps`` are the devices with
    ``kind``, ``host``, ``state``, ``mtu``, the ``vlan`` of the frame there, ``namespace``, the ``flow`` that
    a bridge applies and how a bond's member is ``chosen``. ``delivered`` is true, false, or None where nobody
    here can know; ``sentence`` says where the frame goes, or where and by which flow it is dropped.

    name, nic
        A guest and which of its network cards (from 0 on, default: 0), a port, or a MAC address.

    to
        A guest, a port, an IP or a MAC address. Default: the way to the wire.

    vlan
        The tag that the guest itself puts on the frame. Default: none.

    fleet, tgt_type
        As for ``ovs.topology``: hosts on which the way may go on behind a tunnel. Default: none, ``glob``.

    timeout
        Seconds within which Open vSwitch, libvirt and the kernel must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt kvm1 ovs.path web
        salt kvm1 ovs.path web to=10.0.0.7 fleet='*'
    """
    with salt_errors():
        told = _told(fleet, tgt_type)
        return drawing.path(__opts__["id"], name, to=to, nic=nic, vlan=vlan, told=told, timeout=timeout)


def _told(fleet, tgt_type):
    if not fleet or isinstance(fleet, dict):
        return fleet
    return __salt__["mine.get"](fleet, "ovs.topology", tgt_type)


def _only(bond, found):
    if bond is None:
        return found
    if bond not in found:
        raise Refused(f"ovs-vswitchd has no such bond as {bond}.")
    return {bond: found[bond]}

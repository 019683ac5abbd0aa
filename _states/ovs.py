"""
Open vSwitch as declared: bridges, ports, VLANs, tunnels, bonds, mirrors, exporters, QoS, controllers,
managers, OpenFlow flows and groups, and any column of its database.

Every state reads the database of Open vSwitch once, plans, and writes all that differs as **one**
transaction, which the database refuses when somebody else changed the same rows in between (it is
then read and planned again). It waits until ovs-vswitchd has applied the configuration; a port that
ovs-vswitchd could not set up is a failed state with its text, in this and in every later run.

- What is not mentioned stays as it is; ``null`` sets a value back to Open vSwitch's default, and makes
  a bridge, port or bond absent.
- ``switch_managed`` is exact: what *it* made and what is no longer declared goes away, bridges as well as the
  ports, bonds, controllers, mirrors, managers, flows and groups where these are mentioned, and so do tunnel
  options beside mentioned ``options``. The other states only add, or remove the one thing they name.
- A host has **one** ``switch_managed``, since it is the whole of what that state ever made there: two of them
  would take each other's bridges away in every run. Its id may change at any time; what it makes is not
  marked with it. Parts that are declared in several places are merged in pillar, or are the other states'.
- What Corral makes carries ``external_ids:corral``. What somebody else made, a guest's ``vnet`` port or
  another tool's bridge, is changed where it is declared and is never purged.
- ``external_ids`` and ``other_config`` are compared key by key, members of a bond and trunks as a whole.
- Flows are written after the database, in one bundle for each bridge: all of them or none. Those that Corral
  made have its cookie; flows with another cookie are left alone, and a declared one never takes their place.
  ovs-ofctl(8) reads and compares them, so they may be written in any way it takes, with names of ports;
  changes show them in the words of OpenFlow 1.4, where ``strip_vlan`` is ``pop_vlan``.
- Groups are in the same bundle, before the flows that use them. They have no cookie: whose they are stands in
  ``external_ids`` of their bridge, under ``corral-groups/``, which is neither declared nor shown. One that
  changes, changes in place; with one that goes, OpenFlow removes the flows that use it, whosever they are.

.. code-block:: yaml

    switch:
      ovs.switch_managed:
        - bridges:
            ovsbr0:
              datapath_type: netdev       # system (the kernel's, default) or netdev (userspace)
              fail_mode: standalone
              ports:
                eth1:                     # an existing network interface of the host, all VLANs
                  trunks: [10, 20-29]
                web0:
                  type: internal          # a new interface of the host, on access VLAN 10
                  tag: 10
                  mtu: 1450
                vx-east:
                  type: vxlan
                  options: {remote_ip: 192.0.2.7, key: 5001}
                  bfd: {enable: true}
                to-int:                   # a patch pair: both ends are declared here
                  peer: to-phy
                  peer_bridge: br-int
                old0: null                # must not be there
              bonds:
                bond0:
                  members: [eth2, eth3]
                  mode: balance-tcp
                  lacp: active
                  lacp_time: fast
                  up_delay: 200
              mirrors:
                span: {select_all: true, output_port: web0}
              sflow: {targets: ["192.0.2.9:6343"], agent: eth1, sampling: 64}
              groups:
                - group_id=1,type=select,bucket=output:eth1,bucket=output:vx-east
              flows:
                - priority=10,in_port=web0,udp,actions=drop
                - priority=20,in_port=web0,tcp,actions=group:1
            br-int: {datapath_type: netdev, fail_mode: secure}
            mgmt0: {parent: ovsbr0, vlan: 123}  # a fake bridge
            ovsbr9: null
        - managers:
            "ptcp:6640:127.0.0.1": {}
        - other_config: {max-idle: 20000}
        - db:                             # what there is no word for, by table, record and column
            Port: {web0: {other_config: {rstp-path-cost: 100}}}

The same, one thing at a time:

.. code-block:: yaml

    ovsbr0:
      ovs.bridge_present:
        - datapath_type: netdev

    bond0:
      ovs.bond_present:
        - bridge: ovsbr0
        - members: [eth2, eth3]
        - mode: balance-tcp
        - lacp: active
        - require:
          - ovs: ovsbr0

The words and rules are those of ovs-vswitchd.conf.db(5). Open vSwitch 2.8 or later.
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.overlay.model import Overlay
    from corral.overlay.plan import plan as overlay_plan
    from corral.overlay.wire import Wire as OverlayWire
    from corral.ovs.model import Switch
    from corral.ovs.options import OPTIONS
    from corral.ovs.plan import MANAGED, plan
    from corral.ovs.wire import Wire
    from corral.uplink.model import Uplink
    from corral.uplink.plan import plan as uplink_plan
    from corral.uplink.wire import Wire as UplinkWire

    MISSING = ""
except ImportError as missing:
    MISSING = f"ovs cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def switch_managed(name, timeout=10, guard=None, **switch):
    """
    Ensure that the switch of this host is exactly as declared.

    There may be one of it on a host: what it once made and does not declare any more goes, whatever its name
    was then.

    name
        Any name.

    bridges
        Bridges by name; see ``bridge_present`` for what each may hold. ``null`` makes one absent.

    ports, bonds
        Names, each with ``null``, of what must be absent from every bridge.

    managers
        OVSDB managers by target (``ssl:192.0.2.7:6640``, ``ptcp:6640:127.0.0.1``), each with
        ``inactivity_probe`` and ``max_backoff`` in milliseconds, ``connection_mode``, ``external_ids`` and
        ``other_config``, or ``null``.

    ssl
        ``private_key``, ``certificate`` and ``ca_cert``, absolute paths of files on the host, and
        ``bootstrap_ca_cert``; ``null`` for none.

    other_config, external_ids
        Texts by key, of the switch as a whole: ``dpdk-init``, ``max-idle``.

    db
        Columns by table and record, for what there is no other word: ``{Port: {web0: {other_config: {…}}}}``.
        A record is called by its name, a manager or controller by its target, the only row of
        ``Open_vSwitch`` or ``SSL`` by ``.``, any other by its UUID. Maps are compared key by key, sets as a
        whole; columns that refer to other rows, and those that ovs-vswitchd writes, cannot be set.

    guard
        ``true``, or a mapping with ``within`` and ``probes``, as in ``link.managed``: the change is taken
        back unless this host is still reached after it.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, MANAGED, timeout, switch, guard, exact=True)


def bridge_present(name, timeout=10, **settings):
    """
    Ensure that a bridge is there with the settings given.

    name
        The bridge.

    datapath_type
        ``system`` (default) or ``netdev``.

    fail_mode
        ``standalone`` or ``secure``.

    stp, rstp, mcast_snooping
        ``true`` or ``false``.

    protocols
        The versions of OpenFlow that it takes (``[OpenFlow10, OpenFlow13]``). Default: all.

    flood_vlans
        VLANs whose frames are flooded and never learned from.

    parent, vlan
        Make it a fake bridge: the VLAN of another bridge. Its ``ports`` and ``bonds`` are that bridge's, on
        that VLAN; with another ``vlan`` all of them move, undeclared ones too.

    controllers
        OpenFlow controllers by target (``tcp:192.0.2.7:6653``), each with the settings of the table
        Controller, or ``null``.

    mirrors
        Mirrors by name: ``select_all`` or ``select_src_port``, ``select_dst_port`` and ``select_vlan``, and
        ``output_port`` or ``output_vlan``, ``snaplen`` in bytes; or ``null``.

    netflow, sflow, ipfix
        Its exporter, with ``targets`` and the settings of the tables NetFlow, sFlow and IPFIX, or ``null``.

    flows
        OpenFlow flows as ovs-ofctl(8) takes them, without a cookie.

    groups
        OpenFlow groups as ovs-ofctl(8) takes them (``group_id=1,type=select,bucket=output:eth1``). Where
        somebody else has another group with that id, it is refused.

    external_ids, other_config
        Texts by key.

    ports, bonds
        Ports and bonds by name, which may hold what ``port_present`` and ``bond_present`` take.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "ovs.bridge_present", timeout, {"bridges": {name: _mentioned(settings)}})


def bridge_absent(name, timeout=10):
    """
    Ensure that a bridge is not there, nor any port of it, whoever made them.

    name
        The bridge.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "ovs.bridge_absent", timeout, {"bridges": {name: None}})


def port_present(name, bridge, timeout=10, **settings):
    """
    Ensure that a port is on a bridge, with the settings given; one on another bridge is moved.

    name
        The port, and its interface.

    bridge
        The bridge, which must be there.

    type
        ``system`` (default): an existing network interface of the host; ``internal``: a new one;
        ``vxlan``, ``gre``, ``geneve``, ``stt``, ``erspan``, ``ip6gre``, ``ip6erspan``, ``gtpu``: a tunnel;
        ``patch``: a cable to another bridge; ``dpdk``, ``afxdp`` and more. The name of the first two has at
        most 15 characters, that of the others 63.

    options
        Options of the type by name, for example ``remote_ip`` and ``key`` of a tunnel.
        A ``psk`` is a secret: it stays as it is, and is neither declared nor shown.

    peer, peer_bridge
        Make it a patch, with its other end of that name on that bridge.

    tag
        The VLAN of an access port, or the native VLAN. From 1 to 4094.

    trunks
        The VLANs of a trunk: ids and ranges (``[10, 20-29]``), 0 for frames without a tag. All, when absent.

    vlan_mode
        ``access``, ``trunk``, ``native-tagged``, ``native-untagged`` or ``dot1q-tunnel``.

    cvlans
        The customer VLANs that a ``dot1q-tunnel`` port takes.

    protected
        ``true``: no frames to other protected ports.

    mac
        The MAC address of an internal port.

    mtu
        The MTU to ask for, in bytes.

    ofport_request
        The OpenFlow number to ask for.

    ingress_policing_rate, ingress_policing_burst
        What is received at most, in kbit/s, and how much more at once, in kbit. Default: 0, any amount.

    qos
        What is sent at what rate: ``type`` (``linux-htb``, …), ``other_config`` (``max-rate`` in bit/s) and
        ``queues`` by number, each with ``dscp`` and ``other_config``; ``null`` for none.

    bfd, cfm, lldp
        Settings of Bidirectional Forwarding Detection (``enable``, ``min_rx``), of Connectivity Fault
        Management (``mpid``, ``interval``, ``extended``) and of LLDP (``enable``) by key.

    external_ids, other_config
        Texts by key.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    declared = {"bridges": {bridge: {"ports": {name: _mentioned(settings)}}}}
    return _converged(name, "ovs.port_present", timeout, declared, within=True)


def port_absent(name, bridge=None, timeout=10):
    """
    Ensure that a port is not there.

    name
        The port.

    bridge
        Leave the port alone when it is on another bridge than this. Default: whatever bridge it is on.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "ovs.port_absent", timeout, _absent("ports", name, bridge), within=True)


def tunnel_present(name, bridge, type, timeout=10, options=None, **settings):
    """
    Ensure that a tunnel is on a bridge, with its options beside the settings of its port.

    .. code-block:: yaml

        vx-east:
          ovs.tunnel_present:
            - bridge: br-tun
            - type: vxlan
            - remote_ip: 192.0.2.7
            - key: flow
            - bfd: {enable: true}

    name
        The port.

    bridge
        The bridge, which must be there.

    type
        ``vxlan``, ``gre``, ``geneve``, ``stt``, ``erspan``, ``ip6gre``, ``ip6erspan`` or ``gtpu``.

    remote_ip, local_ip, key, dst_port, csum, tos, ttl, df_default, …
        The options of the type.

    options
        The same, as a mapping.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    given = _mentioned(settings)
    known = OPTIONS.get(type, {})
    own = {key: given.pop(key) for key in list(given) if key in known}
    port = {"type": type, "options": {**(options or {}), **own}, **given}
    return _converged(
        name, "ovs.tunnel_present", timeout, {"bridges": {bridge: {"ports": {name: port}}}}, within=True
    )


def tunnel_absent(name, bridge=None, timeout=10):
    """
    Ensure that a tunnel is not there.

    name
        Its port.

    bridge
        Leave the port alone when it is on another bridge than this. Default: whatever bridge it is on.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "ovs.tunnel_absent", timeout, _absent("ports", name, bridge), within=True)


def db_set(name, table, columns, record=None, timeout=10):
    """
    Ensure that columns of the database have these values, for what there is no other word.

    .. code-block:: yaml

        web0:
          ovs.db_set:
            - table: Port
            - columns: {other_config: {rstp-path-cost: 100}}

    name
        The record, unless ``record`` is given.

    table
        The table.

    columns
        Values by column: maps are compared key by key, sets as a whole, ``null`` empties.

    record
        The record: its name, a manager's or controller's target, ``.``, or its UUID. Default: ``name``.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    declared = {"db": {table: {name if record is None else record: columns}}}
    return _converged(name, "ovs.db_set", timeout, declared, within=True)


def bond_present(name, bridge, timeout=10, **settings):
    """
    Ensure that a bond is on a bridge, with the settings given; members that stay, stay connected.

    name
        The bond.

    bridge
        The bridge, which must be there.

    members
        Two or more network interfaces of the host: these and no others.

    mode
        ``active-backup`` (default), ``balance-slb`` or ``balance-tcp``, which needs LACP.

    lacp
        ``active``, ``passive`` or ``off`` (default).

    lacp_time
        How often LACP speaks: ``fast``, each second, or ``slow`` (default), each 30 seconds.

    up_delay, down_delay
        Milliseconds for which a link must be up, or down, before it counts. Default: 0.

    tag, trunks, vlan_mode, cvlans, protected, qos, external_ids, other_config
        As for ``port_present``.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    declared = {"bridges": {bridge: {"bonds": {name: _mentioned(settings)}}}}
    return _converged(name, "ovs.bond_present", timeout, declared, within=True)


def bond_absent(name, bridge=None, timeout=10):
    """
    Ensure that a bond is not there.

    name
        The bond.

    bridge
        Leave the bond alone when it is on another bridge than this. Default: whatever bridge it is on.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "ovs.bond_absent", timeout, _absent("bonds", name, bridge), within=True)


def overlay_managed(name, timeout=10, guard=None, **overlay):
    """
    Ensure that this host has its part of the fleet's overlay networks, declared once for all hosts.

    It makes an integration bridge, which guests join, a tunnel bridge, a patch between them, a tunnel to each
    peer that shares a network with this host, and the flows. A network has one key in all tunnels, and on
    each host a VLAN that this host chooses and keeps (``external_ids:corral-vlan-<network>`` of the
    integration bridge). There may be one of it on a host: what it once made and does not declare any more
    goes.

    .. code-block:: yaml

        overlay:
          ovs.overlay_managed:
            - peers: {hv1: 192.0.2.1, hv2: 192.0.2.2, hv3: 192.0.2.3}
            - encapsulation: vxlan
            - networks:
                blue:
                  key: 1001
                  subnet: 10.1.0.0/24
                  served_by: hv1
                  ports: {app0: {type: internal}}

    name
        Any name.

    peers
        The hosts, by minion id, and the address of each in the underlay: IPv4 or IPv6, and on this host the
        address of a network interface. In user space (``datapath_type: netdev``) that is a bridge.

    networks
        Networks by name; ``null`` is a network that is no more. Each may have

        - ``key``: its number in the tunnels, required; 1 to 16777215, for GRE to 4294967295.
        - ``hosts``: the minion ids of those who have it. Default: all peers.
        - ``bridge``: the name by which guests join it, the same on every host. Default: ``ov-<name>``.
        - ``ports``: ports of the integration bridge that join it by their own name, a list or a mapping. One
          with ``type: internal`` is made; another joins when it is there. A port joins, too, that has
          ``external_ids:corral-network=<name>``.
        - ``subnet``, ``gateway`` (default: the first address), ``served_by`` (a minion id), ``namespace``
          (default: one of the network's own; ``null``: the host's) and ``dhcp``: what the role ``overlay``
          serves. On the serving host a port ``gw-<name>`` is made for it.

    encapsulation
        ``vxlan`` (default), ``gre``, ``geneve`` or ``stt``, which Open vSwitch has up to 3.5.

    dst_port
        UDP port of the tunnels. Default: that of the encapsulation.

    underlay_mtu
        Bytes that an IP packet may have between the hosts. Default: the MTU of the network interface that has
        this host's address, 1500 while there is none. What the encapsulation leaves of it is the ``mtu`` of
        the ports made here.

    bridges
        ``{integration: br-int, tunnel: br-tun}``, which are the defaults.

    datapath_type
        ``system`` or ``netdev`` of both bridges. Default: as they are; new ones are ``system``.

    bfd
        Whether tunnels are watched by BFD. Default: false.

    host
        Which of the peers this host is. Default: its minion id.

    guard
        As for ``switch_managed``.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Overlay.declare({"host": __opts__["id"], **_mentioned(overlay)}),
        wire=lambda desired: OverlayWire(desired, timeout),
        plan=overlay_plan,
        guard=guard,
    )


def uplink_managed(name, timeout=10, guard=True, **uplink):
    """
    Ensure that this host's address is on a bridge over its network cards, and no more on the cards.

    The bridge, its ports and bonds, the addresses and the routes are one change under a guard, which is taken
    back when the host is not reached after it. The bridge gets the MAC address of the card that had the
    address.

    .. code-block:: yaml

        br0:
          ovs.uplink_managed:
            - bonds: {bond0: {members: [eth0, eth1], mode: balance-tcp, lacp: active}}
            - addresses: [192.0.2.10/24]
            - gateway: 192.0.2.1

    name
        The bridge.

    ports, bonds
        The network cards, as ports (``{eth0: {}}``) or as members of bonds, beside other ports. They may have
        what ``port_present`` and ``bond_present`` take.

    addresses, gateway, routes
        Of the host, as in ``link.managed``. Default: those that Corral put on the bridge, and those that the
        cards have. What is not declared then goes from the cards, whoever made it.

    mtu
        Of the bridge, in bytes; the cards must have as much. Default: the least of its cards.

    persist
        As in ``link.managed``, for the bridge and the cards: ``auto`` (default), ``networkd``, ``ifupdown``
        or ``ifcfg``; NetworkManager keeps no bridge of Open vSwitch. With ``null`` nothing is written, and
        after a reboot it is the card that has the address, and the host is not reached before the next run.

    guard
        As for ``switch_managed``, but ``true`` by default; ``false`` is no guard.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    All other settings are those of ``bridge_present``.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Uplink.declare(name, _mentioned(uplink)),
        wire=lambda desired: UplinkWire(desired, timeout),
        plan=uplink_plan,
        guard=guard,
    )


def _absent(kind, name, bridge):
    gone = {kind: {name: None}}
    return gone if bridge is None else {"bridges": {bridge: gone}}


def _mentioned(given):
    """Return the keys of a declaration without those that Salt adds to the arguments."""
    return {key: value for key, value in given.items() if not key.startswith("__")}


def _converged(name, maker, timeout, declaration, guard=None, **how):
    return converge(
        name,
        __opts__,
        declare=lambda: Switch.declare(_mentioned(declaration)),
        wire=lambda desired: Wire(maker, timeout, desired),
        plan=partial(plan, maker=maker, **how),
        guard=guard,
    )

"""
Open vSwitch as declared: bridges, ports, VLANs, tunnels and bonds.

Every state reads the database of Open vSwitch once, plans, and writes all that differs as **one**
transaction, which the database refuses when somebody else changed the same rows in between (it is
then read and planned again). It waits until ovs-vswitchd has applied the configuration; a port that
ovs-vswitchd could not set up is a failed state with its text, in this and in every later run.

- What is not mentioned stays as it is; ``null`` sets a value back to Open vSwitch's default, and makes
  a bridge, port or bond absent.
- ``switch_managed`` is exact: bridges, and ports and bonds of the bridges where ``ports`` or ``bonds`` are
  mentioned, that *it* made and that are no longer declared go away, and so do tunnel options beside
  mentioned ``options``. The other states only add, or remove the one thing they name.
- A host has **one** ``switch_managed``, since it is the whole of what that state ever made there: two of them
  would take each other's bridges away in every run. Its id may change at any time; what it makes is not
  marked with it. Parts that are declared in several places are merged in pillar, or are the other states'.
- What Corral makes carries ``external_ids:corral``. What somebody else made, a guest's ``vnet`` port or
  another tool's bridge, is changed where it is declared and is never purged.
- ``external_ids`` and ``other_config`` are compared key by key, members of a bond and trunks as a whole.
- A port, bond member or bond that is declared in another place than it is in is moved there.

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
                old0: null                # must not be there
              bonds:
                bond0:
                  members: [eth2, eth3]
                  mode: balance-tcp
                  lacp: active
                  lacp_time: fast
                  up_delay: 200
            ovsbr9: null

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

The words and rules are those of ovs-vswitchd.conf.db(5). Open vSwitch 2.6 or later.
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.ovs.model import Switch
    from corral.ovs.plan import MANAGED, plan
    from corral.ovs.wire import Wire

    MISSING = ""
except ImportError as missing:
    MISSING = f"ovs cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def switch_managed(name, timeout=10, **switch):
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

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, MANAGED, timeout, switch, exact=True)


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
        ``vxlan``, ``gre``, ``geneve``: a tunnel; ``patch``: a cable to another bridge. The name of the first
        two has at most 15 characters, that of the others 63.

    options
        Options of the type by name, for example ``remote_ip`` and ``key`` of a tunnel, ``peer`` of a patch.
        A ``psk`` is a secret: it stays as it is, and is neither declared nor shown.

    tag
        The VLAN of an access port, or the native VLAN. From 1 to 4094.

    trunks
        The VLANs of a trunk: ids and ranges (``[10, 20-29]``), 0 for frames without a tag. All, when absent.

    vlan_mode
        ``access``, ``trunk``, ``native-tagged``, ``native-untagged`` or ``dot1q-tunnel``.

    mtu
        The MTU to ask for, in bytes.

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

    tag, trunks, vlan_mode, external_ids, other_config
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


def _absent(kind, name, bridge):
    gone = {kind: {name: None}}
    return gone if bridge is None else {"bridges": {bridge: gone}}


def _mentioned(given):
    """Return the keys of a declaration without those that Salt adds to the arguments."""
    return {key: value for key, value in given.items() if not key.startswith("__")}


def _converged(name, maker, timeout, declaration, **how):
    return converge(
        name,
        __opts__,
        declare=lambda: Switch.declare(_mentioned(declaration)),
        wire=lambda _: Wire(maker, timeout),
        plan=partial(plan, **how),
    )

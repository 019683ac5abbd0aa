"""
The execution module ``openvswitch`` of Salt up to 3007, for the Salt that has none any more.

Functions, arguments and what they return are Salt's own. New are ``timeout``, and what happens where
something is wrong: a daemon that does not answer, or a change that cannot be made, is an error that says why,
and no longer ``False``. ``ovs`` is the module to use in what is written now.
"""

from functools import partial

try:
    from corral.errors import Error, Refused, salt_errors
    from corral.ovs import compat
    from corral.ovs import compat_wire as switch

    MISSING = ""
except ImportError as missing:
    MISSING = f"openvswitch cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"

# The file has another name, because the loader takes one file of a name: this one would hide Salt's own.
__virtualname__ = "openvswitch"


def __virtual__():
    other = MISSING or compat.provided("modules", __virtualname__)
    return (False, other) if other else __virtualname__


def bridge_list(timeout=10):
    """
    Return the names of the bridges, fake ones included.

    timeout
        Seconds within which ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.bridge_list
    """
    with salt_errors():
        return list(compat.bridges(switch.look(timeout)))


def bridge_exists(br, timeout=10):
    """
    Return whether there is a bridge of this name, real or fake.

    br, timeout
        The bridge, and the seconds within which ovsdb-server must answer (10).

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.bridge_exists br0
    """
    with salt_errors():
        return br in compat.bridges(switch.look(timeout))


def bridge_create(br, may_exist=True, parent=None, vlan=None, timeout=10):
    """
    Make a bridge, or with ``parent`` and ``vlan`` a fake bridge, and return True.

    br
        The bridge.

    may_exist
        Whether it may be there already; a fake one then gets that VLAN. If not, and it is, return False.
        Default: True.

    parent, vlan
        The bridge of which it is a VLAN, and which one. Default: it is a bridge of its own.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.bridge_create br0
        salt '*' openvswitch.bridge_create mgmt0 parent=br0 vlan=123
    """
    with salt_errors():
        if not may_exist and br in compat.bridges(switch.look(timeout)):
            return False
        declare = partial(compat.bridge, br, parent, vlan)
        return switch.done("openvswitch.bridge_create", timeout, declare, compat.bridge_plan)


def bridge_delete(br, if_exists=True, timeout=10):
    """
    Remove a bridge with all its ports, and return True.

    br
        The bridge.

    if_exists
        Whether it may be missing. If not, and it is, return False. Default: True.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.bridge_delete br0
    """
    with salt_errors():
        if not if_exists and br not in compat.bridges(switch.look(timeout)):
            return False
        declare = partial(compat.no_bridge, br)
        return switch.done("openvswitch.bridge_delete", timeout, declare, compat.bridge_plan)


def bridge_to_parent(br, timeout=10):
    """
    Return the bridge of which this one is a VLAN, itself for one that is not fake, False if there is none.

    br, timeout
        The bridge, and the seconds within which ovsdb-server must answer (10).

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.bridge_to_parent mgmt0
    """
    with salt_errors():
        return compat.bridges(switch.look(timeout)).get(br, (False, False))[0]


def bridge_to_vlan(br, timeout=10):
    """
    Return the VLAN of a fake bridge, 0 for one that is not fake, False if there is none.

    br, timeout
        The bridge, and the seconds within which ovsdb-server must answer (10).

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.bridge_to_vlan mgmt0
    """
    with salt_errors():
        return compat.bridges(switch.look(timeout)).get(br, (False, False))[1]


def port_add(br, port, may_exist=False, internal=False, timeout=10):
    """
    Put a port on a bridge, and return True.

    br
        The bridge.

    port
        The port: a network interface of the host, unless ``internal``.

    may_exist
        Whether it may be there already; one on another bridge is then moved. If not, and it is, return False.
        Default: False.

    internal
        Whether Open vSwitch makes the network interface. Default: False.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_add br0 eth1
    """
    with salt_errors():
        if not may_exist and port in compat.homes(switch.look(timeout)):
            return False
        declare = partial(compat.port, port, br, internal=internal)
        return switch.done("openvswitch.port_add", timeout, declare, compat.port_plan)


def port_remove(br, port, if_exists=True, timeout=10):
    """
    Take a port off a bridge, and return True.

    br
        The bridge; if the port is on another one, it stays, and False is returned. None: whatever it is on.

    port
        The port.

    if_exists
        Whether it may be missing. If not, and it is, return False. Default: True.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_remove br0 eth1
    """
    with salt_errors():
        current = switch.look(timeout)
        if not compat.is_on(current, port, br) and (not if_exists or compat.is_on(current, port, None)):
            return False
        declare = partial(compat.no_port, port, br)
        return switch.done("openvswitch.port_remove", timeout, declare, compat.no_port_plan)


def port_list(br, timeout=10):
    """
    Return the names of a bridge's ports and bonds, without its own port; False if there is no such bridge.

    br
        The bridge. What has the VLAN of a fake bridge is on that one alone.

    timeout
        Seconds within which ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_list br0
    """
    with salt_errors():
        current = switch.look(timeout)
        return compat.ports(current, br) if br in compat.bridges(current) else False


def port_get_tag(port, timeout=10):
    """
    Return the VLAN of a port as ovs-vsctl(8) prints it, in a list: ``["10"]``, ``["[]"]`` for none.

    False if there is no such port.

    port, timeout
        The port, and the seconds within which ovsdb-server must answer (10).

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_get_tag tap0
    """
    with salt_errors():
        return switch.printed("Port", port, "tag", timeout)


def interface_get_options(port, timeout=10):
    """
    Return the options of a port's interface as ovs-vsctl(8) prints them, in a list:
    ``['{key="5001", remote_ip="192.0.2.7"}']``.

    False if there is no such interface. A ``psk`` is ``(hidden)``.

    port, timeout
        The port, and the seconds within which ovsdb-server must answer (10).

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.interface_get_options vx0
    """
    with salt_errors():
        return switch.printed("Interface", port, "options", timeout)


def interface_get_type(port, timeout=10):
    """
    Return the type of a port's interface as ovs-vsctl(8) prints it, in a list: ``["internal"]``.

    False if there is no such interface. A network interface of the host is mostly ``['""']``.

    port, timeout
        The port, and the seconds within which ovsdb-server must answer (10).

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.interface_get_type tap0
    """
    with salt_errors():
        return switch.printed("Interface", port, "type", timeout)


def port_create_vlan(br, port, id, internal=False, timeout=10):
    """
    Ensure that a port is on a bridge and in a VLAN, and return True.

    br
        The bridge.

    port
        The port: a network interface of the host, unless ``internal``.

    id
        The VLAN. From 0 to 4095.

    internal
        Whether Open vSwitch makes the network interface. Default: False.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_create_vlan br0 tap0 100
    """
    with salt_errors():
        declare = partial(compat.port, port, br, "vlan", id, internal=internal)
        return switch.done("openvswitch.port_create_vlan", timeout, declare, compat.port_plan)


def port_create_gre(br, port, id, remote, timeout=10):
    """
    Ensure that a GRE tunnel is on a bridge, and return True.

    br
        The bridge.

    port
        The port.

    id
        The key of the tunnel. From 0 to 4294967295.

    remote
        The IP address of the far end.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_create_gre br0 gre1 5001 192.0.2.7
    """
    with salt_errors():
        declare = partial(compat.port, port, br, "gre", id, remote)
        return switch.done("openvswitch.port_create_gre", timeout, declare, compat.port_plan)


def port_create_vxlan(br, port, id, remote, dst_port=None, timeout=10):
    """
    Ensure that a VXLAN tunnel is on a bridge, and return True.

    br
        The bridge.

    port
        The port.

    id
        The key of the tunnel, its VNI. From 0 to 16777215.

    remote
        The IP address of the far end.

    dst_port
        The UDP port of the far end. Default: Open vSwitch's, 4789.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.port_create_vxlan br0 vx1 5001 192.0.2.7 8472
    """
    with salt_errors():
        declare = partial(compat.port, port, br, "vxlan", id, remote, dst_port)
        return switch.done("openvswitch.port_create_vxlan", timeout, declare, compat.port_plan)


def db_get(table, record, column, if_exists=False, timeout=10):
    """
    Return a column of a record: a set as a list, one of a single value as that, a map as a mapping.

    table, record, column
        As for the state ``openvswitch_db.managed``.

    if_exists
        Whether the record may be missing: None is returned then. Default: False.

    timeout
        Seconds within which ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.db_get Port br0 vlan_mode
    """
    with salt_errors():
        found = switch.column(table, record, column, timeout)
        if found is None and not if_exists:
            raise Refused(f"There is no {record} in the table {table}.")
        return None if found is None else compat.shown(found)


def db_set(table, record, column, value, if_exists=False, timeout=10):
    """
    Set a column of a record, and return None, or a sentence about what is wrong.

    table, record, column
        As for the state ``openvswitch_db.managed``; ``other_config:hwaddr`` is one key of a column.

    value
        The value; of a map, the keys to set.

    if_exists
        Whether the record may be missing. Default: False.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' openvswitch.db_set Interface br0 mac 02:03:04:05:06:07
    """
    declare = partial(compat.record, table, record, compat.columns(column, value))
    try:
        switch.done("openvswitch.db_set", timeout, declare, partial(compat.record_plan, if_exists=if_exists))
    except Error as error:
        return str(error)
    return None

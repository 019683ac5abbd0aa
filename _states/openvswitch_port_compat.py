"""
The state module ``openvswitch_port`` of Salt up to 3007, for the Salt that has none any more.

What it was declared with then stays as it is; ``ovs.port_present`` has every setting of a port, and
``ovs.tunnel_present`` every type of tunnel and its options.

.. code-block:: yaml

    eth1:                                 # a network interface of the host
      openvswitch_port.present:
        - bridge: br0

    web0:                                 # a new one, in VLAN 10
      openvswitch_port.present:
        - bridge: br0
        - tunnel_type: vlan
        - id: 10
        - internal: true

    vx-east:
      openvswitch_port.present:
        - bridge: br0
        - tunnel_type: vxlan
        - id: 5001
        - remote: 192.0.2.7

    old0:
      openvswitch_port.absent:
        - bridge: br0
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.ovs import compat
    from corral.ovs.wire import Wire

    MISSING = ""
except ImportError as missing:
    MISSING = f"openvswitch_port cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"

# The file has another name, because the loader takes one file of a name: this one would hide Salt's own.
__virtualname__ = "openvswitch_port"


def __virtual__():
    other = MISSING or compat.provided("states", __virtualname__)
    return (False, other) if other else __virtualname__


def present(name, bridge, tunnel_type=None, id=None, remote=None, dst_port=None, internal=False, timeout=10):
    """
    Ensure that a port is on a bridge; one on another bridge is moved. What is not said stays as it is.

    name
        The port.

    bridge
        The bridge, real or fake, which must be there.

    tunnel_type
        ``vlan``: an access port; ``vxlan`` or ``gre``: a tunnel. Default: a network interface of the host, or
        whatever is there under this name.

    id
        The VLAN, from 0 to 4095, or the key of the tunnel: to 16777215 for VXLAN, to 4294967295 for GRE.

    remote
        The IP address of the tunnel's far end. No host name: Open vSwitch takes none.

    dst_port
        The UDP port of a VXLAN tunnel's far end. Default, and what 0 means: Open vSwitch's, 4789.

    internal
        Make it an internal port, whose network interface is Open vSwitch's. Default: False.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    declare = partial(compat.port, name, bridge, tunnel_type, id, remote, dst_port, internal)
    return _converged(name, "present", timeout, declare, compat.port_plan)


def absent(name, bridge=None, timeout=10):
    """
    Ensure that a port, or a bond, is not there.

    name
        The port.

    bridge
        Leave the port alone when it is on another bridge than this. Default: whatever bridge it is on.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "absent", timeout, partial(compat.no_port, name, bridge), compat.no_port_plan)


def _converged(name, function, timeout, declare, plan):
    maker = f"openvswitch_port.{function}"
    return converge(
        name,
        __opts__,
        declare=declare,
        wire=lambda desired: Wire(maker, timeout, desired),
        plan=partial(plan, maker=maker),
    )

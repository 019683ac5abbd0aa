"""
The state module ``openvswitch_bridge`` of Salt up to 3007, for the Salt that has none any more.

What it was declared with then stays as it is; ``ovs.bridge_present`` has every setting of a bridge.

.. code-block:: yaml

    br0:
      openvswitch_bridge.present: []

    mgmt0:                                # a fake bridge: VLAN 123 of br0
      openvswitch_bridge.present:
        - parent: br0
        - vlan: 123
        - require:
          - openvswitch_bridge: br0

    br9:
      openvswitch_bridge.absent: []
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.ovs import compat
    from corral.ovs.wire import Wire

    MISSING = ""
except ImportError as missing:
    MISSING = f"openvswitch_bridge cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"

# The file has another name, because the loader takes one file of a name: this one would hide Salt's own.
__virtualname__ = "openvswitch_bridge"


def __virtual__():
    other = MISSING or compat.provided("states", __virtualname__)
    return (False, other) if other else __virtualname__


def present(name, parent=None, vlan=None, timeout=10):
    """
    Ensure that a bridge is there.

    name
        The bridge.

    parent, vlan
        Make it a fake bridge: that VLAN of that bridge. One on another VLAN moves, with all its ports.
        Default: it is a bridge of its own, with the datapath in the kernel when it is made.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "present", timeout, partial(compat.bridge, name, parent, vlan))


def absent(name, timeout=10):
    """
    Ensure that a bridge is not there, nor any port of it, whoever made them.

    name
        The bridge, real or fake.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    return _converged(name, "absent", timeout, partial(compat.no_bridge, name))


def _converged(name, function, timeout, declare):
    maker = f"openvswitch_bridge.{function}"
    return converge(
        name,
        __opts__,
        declare=declare,
        wire=lambda desired: Wire(maker, timeout, desired),
        plan=partial(compat.bridge_plan, maker=maker),
    )

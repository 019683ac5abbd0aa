"""
The state module ``openvswitch_db`` of Salt 3006 and 3007, for the Salt that has none any more.

What it was declared with then stays as it is; ``db`` of ``ovs.switch_managed`` has more than one record.

.. code-block:: yaml

    br0:
      openvswitch_db.managed:
        - table: Interface
        - data:
            mac: 02:03:04:05:06:07
            external_ids: {role: uplink}
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.ovs import compat
    from corral.ovs.compat_wire import Wire

    MISSING = ""
except ImportError as missing:
    MISSING = f"openvswitch_db cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"

# The file has another name, because the loader takes one file of a name: this one would hide Salt's own.
__virtualname__ = "openvswitch_db"


def __virtual__():
    other = MISSING or compat.provided("states", __virtualname__)
    return (False, other) if other else __virtualname__


def managed(name, table, data, record=None, timeout=10):
    """
    Ensure that columns of a record of the database have these values.

    name
        The record, unless ``record`` is given.

    table
        Its table. Case and dashes in the names of tables and columns do not matter, and their start will do.

    data
        Values by column: maps are compared key by key, where ``null`` removes a key; sets as a whole.

    record
        The record: its name, a manager's or controller's target, the bridge or port to which it belongs
        alone, ``.`` for the only row of its table, or its UUID. Default: ``name``.

    timeout
        Seconds within which ovsdb-server and ovs-vswitchd must answer. Default: 10.
    """
    maker = "openvswitch_db.managed"
    return converge(
        name,
        __opts__,
        declare=partial(compat.record, table, name if record is None else record, data),
        wire=lambda desired: Wire(maker, timeout, desired),
        plan=partial(compat.record_plan, maker=maker),
    )

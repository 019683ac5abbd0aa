"""
Look at Open vSwitch: what is, what a declaration would change, and how the bonds are.

The states of the same name change it.
"""

from functools import partial

try:
    from corral.converge import converge
    from corral.errors import Refused, salt_errors
    from corral.ovs import status, wire
    from corral.ovs.host import declarable
    from corral.ovs.model import Switch
    from corral.ovs.plan import MANAGED
    from corral.ovs.plan import plan as planner

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
    - what a declaration has no words for: ports of other types, such as ``dpdk``, and bonds that were left
      with one member.

    timeout
        Seconds within which ovsdb-server must answer. Default: 10.

    CLI Example:

    .. code-block:: bash

        salt '*' ovs.show
    """
    with salt_errors(), wire.Wire("", timeout) as daemon:
        return {"bridges": declarable(daemon.look().bridges)}


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
            wire=lambda _: wire.Wire(MANAGED, timeout),
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


def _only(bond, found):
    if bond is None:
        return found
    if bond not in found:
        raise Refused(f"ovs-vswitchd has no such bond as {bond}.")
    return {bond: found[bond]}

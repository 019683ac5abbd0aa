"""
Pools of guests: a number of guests that are alike
==================================================

A pool has as many guests as ``replicas`` says. Each has a copy-on-write disk on the base of an image, a name,
a UUID, MAC addresses and an address that follow from the minion's id, the pool's name and the guest's index:
a preview knows them, and nothing is drawn by lot. A guest that exists is adopted by its index in the
definition's metadata and keeps name, UUID, MAC addresses and disk. The words are those of KubeVirt's
VirtualMachinePool where it has them.

.. code-block:: yaml

    web:
      guest_pool.running:
        - replicas: 101
        - names: '{pool}-{index:03d}'     # default; also {host} and {letter} (a … z, aa …)
        - image: fedora-23                # see the state image.present
        - guest:                          # as for guest.running, but for what tells guests apart
            memory: 256M                  # needed
            vcpus: 1
            console_log: /var/log/libvirt/qemu/{guest}-console.log   # {guest}: the guest's name
        - networks:                       # a NIC for each
            - bridge: ovsbr0              # see the state ovs.bridge_present
              switch: ovs                 # ovs (default) | linux
              vlan: 10                    # access VLAN, Open vSwitch only
              model: virtio               # default
              mac_prefix: '52:60:2f'      # default 52:54:00; the other three octets are computed
              subnet: vmworld             # see the state dhcp.subnet_managed
              addresses: 172.31.110.100-172.31.110.200   # guest 0 gets the first; reserved in the subnet
        - disk:
            directory: /var/lib/libvirt/images/pools     # default; the disks are in <directory>/<pool>
            size: 10G                     # default: as large as the image
            bus: virtio                   # default
        - boot:
            ready: lease                  # default; lease | ssh | port:N | none (it runs)
            timeout: 5m                   # default; from a guest's start to its readiness
            width: {start: 3, max: 16}    # guests that boot at a time; default: CPUs + 1, 16
        - scale_in:
            policy: highest_index         # default; lowest_index | newest | oldest
            disks: keep                   # default; delete: their data is lost
            shutdown_timeout: 60s         # default; then a guest that leaves is cut
        - paused: false                   # true: the pool is left alone

**Starting.** Not all at once, and without pauses: the next guest is started when one is ready. How many
boot at a time grows while CPUs are idle, goes back to ``start`` when they are not, and is halved when a
guest fails, is late or memory is short. A guest that does not get ready is told by name, with what can be
seen of it, after the others went on. When five in a row fail, the rest is not tried. A run that was cut off
is completed by the next one. The leases of guests that are off are given back before they start, so that the
sign ``lease`` is one of this start.

**Growing and shrinking.** New guests get the lowest free indexes. Disks of guests that leave stay, and a
guest that comes back gets its disk back, unless ``disks: delete`` is declared; then disks in the pool's
folder that no guest uses go, too. A guest whose disk is not there is never given a new one: a mount may
have failed. What uses a disk and does not go with it, be it a guest or an overlay, keeps it from going.

**Changes** of ``guest`` and ``networks`` are brought to every guest; what one sees only at its next start
is shown with ``takes: restart``, and nothing is restarted for it. ``image``, ``disk`` and ``names`` are for
guests made from then on.

**Progress** goes to the event bus as ``corral/<minion>/pool/<pool>/progress``.
"""

from __future__ import annotations

from typing import Any

try:
    from corral.converge import converge
    from corral.pool import model, plan, wire
    from corral.progress import teller

    MISSING = ""
except ImportError as missing:
    MISSING = f"guest_pool cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def running(name: str, **pool: Any) -> dict[str, Any]:
    """
    The pool has its guests, and all of them run and are ready.

    name
        The pool's name.

    pool
        As in the example above; ``replicas`` and ``image`` are needed.
    """
    answer = converge(
        name,
        __opts__,
        declare=lambda: model.declare(__opts__["id"], name, pool),
        wire=lambda desired: wire.Declared(desired, _teller(name)),
        plan=plan.plan,
    )
    if pool.get("paused") is True and answer["result"]:
        answer["comment"] = f"{name} is paused, so it is left alone."
    return answer


def stopped(name: str, **options: Any) -> dict[str, Any]:
    """
    No guest of the pool runs. They stay defined.

    name
        The pool's name.

    shutdown_timeout
        What each guest gets to power off before it is cut, for example ``90s`` or ``5m``; default ``60s``.
        With ``0`` it is cut at once.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: model.stopped(__opts__["id"], name, options),
        wire=lambda desired: wire.Undeclared(desired, _teller(name)),
        plan=plan.plan_stopped,
    )


def absent(name: str, **options: Any) -> dict[str, Any]:
    """
    There are no guests of the pool and no reservations for them.

    name
        The pool's name.

    disks
        ``keep`` (default), or ``delete``: the guests' disks go, and those that earlier guests of the pool
        left in its folder. Their data is lost.

    directory
        Where the folders of pools are. Default: ``/var/lib/libvirt/images/pools``.

    shutdown_timeout
        What each guest gets to power off before it is cut; default ``60s``.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: model.absent(__opts__["id"], name, options),
        wire=lambda desired: wire.Undeclared(desired, _teller(name)),
        plan=plan.plan_absent,
    )


def _teller(name: str) -> Any:
    return teller(__salt__["event.send"], f"corral/{__opts__['id']}/pool/{name}/progress")

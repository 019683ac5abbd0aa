"""
Single guests of libvirt: defined, running, stopped, absent
===========================================================

A field that is not mentioned is left as it is; ``null`` takes it away where that is possible. A list
of ``disks`` or ``nics`` is the whole list of disks in files and of NICs on bridges. An existing guest
is changed in place: it keeps its UUID, its MAC addresses and everything that is not declared here.
What a running guest will see only when it starts again is shown with ``takes: restart``; it is not
restarted for that. Many guests of one kind are a pool: see :py:mod:`guest_pool <states.guest_pool>`.

.. code-block:: yaml

    web:
      guest.running:
        - memory: 512M            # whole mebibytes; needed when the guest is created
        - vcpus: 2                # default 1
        - type: auto              # auto (default): kvm where the host can, else qemu | kvm | qemu
        - machine: q35            # default: libvirt's, pc on x86
        - cpu: host-model         # a mode (host-passthrough, host-model, maximum) or the name of a model;
                                  # default: libvirt's
        - tcg_cache: 64M          # whole mebibytes, emulation (type qemu) only: memory for translated code;
                                  # null (default): QEMU's own size
        - boot: [hd, network]     # hd | network | cdrom | fd, in this order; default: [hd]
        - disks:
            - path: /var/lib/libvirt/images/web.qcow2   # must exist: see the state image.present
              format: qcow2       # qcow2 (default) | raw
              bus: virtio         # virtio (default) | sata | scsi | ide | usb
        - nics:
            - bridge: ovsbr0      # must exist: see the state ovs.bridge_present
              switch: ovs         # ovs (default) | linux
              vlan: 10            # access VLAN, Open vSwitch only; null for none
              mac: 52:54:00:12:34:56   # computed from minion id and name when not given
              model: virtio       # virtio (default) | e1000 | e1000e | rtl8139
              offload: true       # false on a bridge with datapath_type netdev, or TCP breaks
        - console_log: /var/log/libvirt/qemu/web-console.log   # what the serial port says;
                                  # null (default): none
        - rng: true               # a source of randomness from the host's /dev/urandom; default: false
        - autostart: true         # start with the host; default: false
        - on_poweroff: destroy    # destroy (default) | restart | preserve | rename-restart
        - on_reboot: restart      # likewise, default: restart
        - on_crash: restart       # likewise, and coredump-destroy, coredump-restart; default: destroy
        - uuid: 6f1c4e8e-3a52-5b5e-9d0c-3f8f2e4b7a11   # computed when not given; never changed

The defaults are those of a guest that is created. Sizes are bytes or have a unit of powers of 1024 (``K``,
``M``, ``G``, ``T``). The fields are those of libvirt's domain format, https://libvirt.org/formatdomain.html.

A state fails, with nothing changed, when a value is wrong (the comment begins with its path:
``guests.web.nics[0].vlan: …``), when a bridge, a disk image or the folder of ``console_log`` is not there,
when another guest has the UUID, a MAC address or a disk, and when libvirt does not answer within 10 seconds.
What libvirt itself refuses is told in its own words, beside the changes that were made before.
"""

from __future__ import annotations

from typing import Any

try:
    from corral.converge import converge
    from corral.guest.model import Wanted
    from corral.guest.plan import plan
    from corral.guest.wire import Libvirt

    MISSING = ""
except ImportError as missing:
    MISSING = f"guest cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__() -> bool | tuple[bool, str]:
    return (False, MISSING) if MISSING else True


def running(name: str, **fields: Any) -> dict[str, Any]:
    """
    The guest is defined with these fields and runs; one that is paused or suspended goes on.

    name
        The guest's name.

    fields
        As in the example above. A guest that does not exist needs ``memory``.

    .. code-block:: yaml

        web:
          guest.running:
            - memory: 512M
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Wanted.running(name, fields, owner=__opts__["id"]),
        wire=lambda _: Libvirt(),
        plan=plan,
    )


def stopped(name: str, **fields: Any) -> dict[str, Any]:
    """
    The guest does not run. Without fields, a guest that does not exist is fine; with fields, it is defined.

    Its power button is pressed, every 10 seconds until it obeys. A guest that is paused, suspended or crashed
    cannot, and is cut at once.

    name
        The guest's name.

    fields
        As in the example above.

    shutdown_timeout
        What the guest gets to power off before it is cut, for example ``90s`` or ``5m``; default ``60s``.
        With ``0`` it is cut at once.

    .. code-block:: yaml

        web:
          guest.stopped:
            - shutdown_timeout: 5m
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Wanted.stopped(name, fields, owner=__opts__["id"]),
        wire=lambda _: Libvirt(),
        plan=plan,
    )


def absent(name: str, **options: Any) -> dict[str, Any]:
    """
    The guest is stopped and not defined.

    name
        The guest's name.

    disks
        ``keep`` (default), or ``delete`` its disk images, with their data, and its firmware's variables and
        its TPM's state. Images that another guest uses, by whatever path, or that are below one of its
        disks or of any image beside a disk, are refused, and then nothing changes.

    shutdown_timeout
        As for ``stopped``.

    .. code-block:: yaml

        web:
          guest.absent:
            - disks: delete
    """
    return converge(
        name,
        __opts__,
        declare=lambda: Wanted.absent(name, options),
        wire=lambda _: Libvirt(),
        plan=plan,
    )

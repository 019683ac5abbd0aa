"""Base images: immutable, named by their content, and never taken from under the guests that use them.

.. code-block:: yaml

    fedora-23:
      image.present:
        - source: oz                      # built by oz-install; also url, file
        - tdl:                            # the words of oz's TDL
            os: Fedora
            version: 23
            arch: x86_64
            install: {url: 'http://install.example/fedora/23/os/'}   # or iso: and sha256sum: URL of the sums
            rootpw: '{{ pillar.secrets.rootpw }}'                    # without it: a random one, forgotten
            disk: 10                      # GiB
            packages: [tcpdump]           # these and the next four make oz start the guest once more
            repositories: {updates: 'http://install.example/fedora/23/updates/'}
            files:
              /etc/motd: Welcome
            precommands: []
            commands: ['systemctl enable serial-getty@ttyS0']
        - build:
            bridge: virbr0                # Linux bridge for the installer; default: libvirt's NAT network
            memory: 2G                    # of the installer guest; default: oz's own
            type: auto                    # kvm | qemu | auto
            timeout: 20m                  # for the installation, without the fetching of media
            auto: null                    # text of a kickstart or preseed in place of oz's own
            uri: qemu:///system
        - format: qcow2                   # qcow2 | raw
        - directory: /var/lib/libvirt/images/corral  # the only one in which pools look for images
        - search: [/var/lib/libvirt/images]  # where overlays may be, besides the disks of libvirt's guests
        - superseded: keep                # delete: bases that a newer one replaced and that nobody uses

    debian-12:
      image.present:
        - source: url
        - url: https://cloud.example/debian-12-genericcloud-amd64.qcow2
        - sha256: {{ pillar.sums.debian_12 }}  # required
        - timeout: 1h                     # for the whole download

    golden:
      image.present:
        - source: file
        - path: /srv/golden.qcow2         # copied; copied again when the file is another one
        - sha256: null                    # checked when given

    old-one:
      image.absent: []

**What decides.** An image of ``oz`` is known by its TDL (without description and passwords) and ``auto``: the
same key, no build, whatever else ``build`` says. Changed passwords are noticed by a salted digest. Images of
``url`` are known by their checksum, a ``file`` by checksum, or path, size and time; when only these differ,
by its content. ``changes`` show that.
Passwords belong into an encrypted pillar; they reach oz in a file of mode 0600 and by no other way. Bases can
be read by root and QEMU's user alone.

**What stays.** A changed declaration makes a new base and leaves the old one to the overlays on it. With
``superseded: delete`` an old base goes when no overlay below ``search`` or in the folder of a pool and no
guest of libvirt uses it; ``absent`` is refused as long as anything does. What cannot be asked now (the disk
of a defined guest, on a file system that is not mounted) counts as a user. A base that vanished comes back
when its source gives the same content (``url``, ``file``); an oz build would not, so with overlays on it that
is a failure that says so. A base whose content was changed is always one.

**One at a time.** Builds, downloads and removals wait for each other, per host. Whatever a killed run left
(scratch folder, oz, its installer guest, its storage pool) is ended and removed by the next.

**Progress** of builds and downloads goes to the event bus as ``corral/<minion>/image/<name>/building``.
"""

from __future__ import annotations

try:
    from corral.converge import converge
    from corral.image import model, wire
    from corral.image.plan import plan
    from corral.progress import teller

    MISSING = ""
except ImportError as missing:
    MISSING = f"image cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def present(name, **image):
    """
    Have a base image, built or fetched if it is not there yet.

    name
        The name of the image, which pools refer to.

    source
        ``oz``, ``url`` or ``file``; with it come the keys of the example above.
    """

    def send(tag, data):  # looked up when there is something to tell: loading it takes longer than a no-op
        return __salt__["event.send"](tag, data)

    tell = teller(send, f"corral/{__opts__['id']}/image/{name}/building")
    return converge(
        name,
        __opts__,
        declare=lambda: model.declare(name, image),
        wire=lambda desired: wire.ImageWire(desired, tell),
        plan=plan,
    )


def absent(name, **place):
    """
    Have no base of that image, old ones included. Refused while overlays or guests use one of them.

    name
        The name of the image.

    directory
        Where bases are. Default: ``/var/lib/libvirt/images/corral``.

    search
        Folders in which overlays may be. Default: ``/var/lib/libvirt/images``.
    """
    return converge(
        name,
        __opts__,
        declare=lambda: model.NoImage.declare({**place, "name": name}, at=f"images.{name}"),
        wire=wire.ImageWire,
        plan=plan,
    )

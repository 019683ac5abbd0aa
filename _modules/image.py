"""Look at base images. The state ``image.present`` makes them."""

from __future__ import annotations

try:
    from corral.errors import salt_errors
    from corral.image.model import STORE, NoImage, Place
    from corral.image.store import Store
    from corral.image.wire import listing, shown

    MISSING = ""
except ImportError as missing:
    MISSING = f"image cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"
    STORE = ""

__func_alias__ = {"list_": "list"}


def __virtual__():
    return (False, MISSING) if MISSING else True


def list_(directory=STORE):
    """
    Return the names of the images on this host, with the base that is current, or what is wrong with it.

    directory
        Where the bases are. Default: ``/var/lib/libvirt/images/corral``.

    CLI Example:

    .. code-block:: bash

        salt '*' image.list
    """
    with salt_errors():
        return listing(Store(Place.declare({"directory": directory}, at="image.list").directory))


def show(name, directory=STORE):
    """
    Return where an image came from and which of its bases are there; nothing when there is no such image.

    name
        The name of the image.

    directory
        Where the bases are. Default: ``/var/lib/libvirt/images/corral``.

    CLI Example:

    .. code-block:: bash

        salt '*' image.show fedora-23
    """
    with salt_errors():
        place = NoImage.declare({"name": name, "directory": directory}, at=f"images.{name}")
        return shown(Store(place.directory), name)


def users(name, directory=STORE, search=None):
    """
    Return who uses each base of an image: paths of overlays and names of guests.

    name
        The name of the image.

    directory
        Where the bases are. Default: ``/var/lib/libvirt/images/corral``.

    search
        List of folders in which overlays may be, besides the disks of libvirt's guests.
        Default: ``/var/lib/libvirt/images``.

    CLI Example:

    .. code-block:: bash

        salt '*' image.users fedora-23
    """
    given = {"name": name, "directory": directory, **({} if search is None else {"search": search})}
    with salt_errors():
        place = NoImage.declare(given, at=f"images.{name}")
        store = Store(place.directory, place.search)
        return {base.path: list(store.users(base)) for base in store.record(name).bases}

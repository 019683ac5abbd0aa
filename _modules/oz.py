"""Build images by ``oz-install``, of the distribution's package ``oz`` (that of PyPI is something else).

The state ``image.present`` with ``source: oz`` does the same as a declaration.
"""

from __future__ import annotations

try:
    from corral.errors import salt_errors
    from corral.image import build as oz
    from corral.image import model, render, wire
    from corral.image.store import Store
    from corral.progress import teller

    MISSING = ""
except ImportError as missing:
    MISSING = f"oz cannot be used: {missing}"
    if str(missing.name).startswith("corral"):
        MISSING += " (run saltutil.sync_all)"


def __virtual__():
    return (False, MISSING) if MISSING else True


def tdl(name, tdl):
    """
    Return the TDL of a declaration as XML, with stars in place of its passwords.

    name
        The name of the template.

    tdl
        The declaration, as in ``images.<name>.tdl``.

    CLI Example:

    .. code-block:: bash

        salt '*' oz.tdl f23 tdl='{os: Fedora, version: 23, arch: x86_64, install: {url: "http://h/f23"}}'
    """
    with salt_errors():
        return render.shown(name, model.declare(name, {"source": "oz", "tdl": tdl}).tdl)


def validate(name, tdl):
    """
    Return ``{accepted: True, oz: <version>}`` when the installed oz accepts a declaration: by its schema and
    its list of systems.

    name
        The name of the template.

    tdl
        The declaration, as in ``images.<name>.tdl``.

    Raises an error with oz's own words when it does not.

    CLI Example:

    .. code-block:: bash

        salt '*' oz.validate f23 tdl='{os: Fedora, version: 23, arch: x86_64, install: {url: "http://h/f23"}}'
    """
    with salt_errors():
        return {"accepted": True, "oz": oz.check(model.declare(name, {"source": "oz", "tdl": tdl}))}


def build(name, tdl, **options):
    """
    Have the image of a declaration built, unless it is there already, and return its base.

    name
        The name of the image.

    tdl
        The declaration, as in ``images.<name>.tdl``.

    build, format, directory
        As in the state ``image.present``.

    CLI Example:

    .. code-block:: bash

        salt '*' oz.build f23 tdl='{os: Fedora, version: 23, arch: x86_64, install: {url: "http://h/f23"}}'
    """
    given = {key: value for key, value in options.items() if not key.startswith("__")}
    tell = teller(__salt__["event.send"], f"corral/{__opts__['id']}/image/{name}/building")
    with salt_errors():
        desired = model.declare(name, {**given, "source": "oz", "tdl": tdl})
        base = wire.ensure(desired, tell)
        return wire.shown(Store(desired.directory, desired.search), base.name)

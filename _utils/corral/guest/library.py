"""libvirt's own Python library."""

from __future__ import annotations

import functools
from typing import Any

from corral.errors import NotInstalled


@functools.cache
def library() -> Any:
    """Return libvirt's library, told not to print its errors; it is loaded when it is first needed."""
    try:
        import libvirt
    except ImportError as missing_library:
        raise NotInstalled(
            f"The Python library libvirt is not installed ({missing_library}): "
            "install libvirt-python in Salt's Python, or the package python3-libvirt."
        ) from None
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt

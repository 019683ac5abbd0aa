"""Salt's real loader over this checkout, masterless and in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import salt.client
import salt.config

REPO = Path(__file__).resolve().parents[2]


def caller(root: Path, **overrides: Any) -> salt.client.Caller:
    """Return a masterless ``Caller`` that loads modules and states from this checkout.

    root
        A folder of the test's own, for Salt's cache, logs and keys.
    overrides
        Further minion options, for example ``pillar_roots``.
    """
    opts = salt.config.minion_config(None, cache_minion_id=False)
    opts.update(
        id="hypervisor",
        root_dir=str(root),
        file_client="local",
        local=True,
        module_dirs=[str(REPO)],
        file_roots={"base": [str(REPO / "salt")]},
        pillar_roots={"base": [str(root / "pillar")]},
        enable_fqdns_grains=False,
        cachedir=str(root / "cache"),
        extension_modules=str(root / "extmods"),
        pki_dir=str(root / "pki"),
        sock_dir=str(root / "sock"),
        log_file=str(root / "salt.log"),
    )
    opts.update(overrides)
    return salt.client.Caller(mopts=opts)

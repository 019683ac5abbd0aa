"""The cache of what the small guest is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from lab.host import CHECKOUT
from lab.tree import Tree


def prepared(checkout: Path) -> Path:
    """Return the folder of the guest that *checkout* uses."""
    root = subprocess.check_output([sys.executable, "-m", "lab.tree"], cwd=checkout, text=True)
    return Path(root.strip()).parent


def test_what_nobody_uses_is_swept_away(tmp_path: Path) -> None:
    """What a killed run left, and guests of former days; never the one that is asked for, however old."""
    Tree.prepare()
    cache = tmp_path / ".lab/cache"
    shutil.copytree(CHECKOUT / ".lab/cache", cache)
    shutil.copytree(CHECKOUT / "lab", tmp_path / "lab")
    used = prepared(tmp_path)
    (cache / ".new-killed/new").mkdir(parents=True)
    for name in ("guest-former", "guest-recent"):
        (cache / name).mkdir()
    for folder in (cache / "guest-former", used):
        os.utime(folder, (0, 0))
    made = used.stat().st_ino

    assert prepared(tmp_path).stat().st_ino == made
    assert not (cache / ".new-killed").exists()
    assert not (cache / "guest-former").exists()
    assert (cache / "guest-recent").exists()

"""Tell whether secrets changed without keeping them: a salted, slow digest (scrypt, RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping


def seal(secrets: Mapping[str, str]) -> str | None:
    """Return a digest to keep; ``None`` when there is nothing to tell apart."""
    if not secrets:
        return None
    salt = os.urandom(16)
    return f"{salt.hex()}${_digest(secrets, salt)}"


def agrees(sealed: str | None, secrets: Mapping[str, str]) -> bool:
    """Whether these are the secrets that were sealed; no secrets agree with everything."""
    if not secrets or sealed is None:
        return not secrets
    salt, _, digest = sealed.partition("$")
    return hmac.compare_digest(digest, _digest(secrets, bytes.fromhex(salt)))


def _digest(secrets: Mapping[str, str], salt: bytes) -> str:
    text = json.dumps(dict(secrets), sort_keys=True).encode()
    return hashlib.scrypt(text, salt=salt, n=1 << 14, r=8, p=1).hex()

"""Signatures over what we hand out and get back: links to files, and connections to resume.

The key lies in the folder of content (mode 0600) and is replaced after `AGE_S`; the one before it
counts for `AGE_S` more, so that nothing ends early.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import secrets
from hashlib import sha256
from pathlib import Path

from downstage.kernel.clock import Clock
from downstage.kernel.errors import SetupError

__all__ = ["Signer"]

AGE_S = 30 * 86400.0
KEY_BYTES = 32
PRIVATE = 0o600
Key = tuple[float, bytes]


class Signer:
    """Signs and checks texts.

    Args:
        path: of the key file; made where it is missing.
        clock: of the platform.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._keys: list[Key] = _read(path) if path.exists() else []

    def sign(self, *parts: str) -> str:
        """A signature over *parts*, which fits in a URL."""
        return _sign(self._current()[1], parts)

    def is_signed(self, signature: str, *parts: str) -> bool:
        """Whether *signature* is ours, over exactly *parts*."""
        self._current()
        given = signature.encode("utf-8", "replace")
        # Every key is tried: how long it takes tells nothing.
        found = [hmac.compare_digest(_sign(key, parts).encode(), given) for _, key in self._keys]
        return any(found)

    def _current(self) -> Key:
        now = self._clock.now().timestamp()
        if not self._keys or now - self._keys[0][0] > AGE_S:
            fresh: Key = (now, secrets.token_bytes(KEY_BYTES))
            self._keys = [fresh, *(key for key in self._keys[:1] if now - key[0] < 2 * AGE_S)]
            _write(self._path, self._keys)
        return self._keys[0]


def _sign(key: bytes, parts: tuple[str, ...]) -> str:
    message = json.dumps(parts).encode()  # unlike joining, no two lists give one text
    digest = hmac.new(key, message, sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _read(path: Path) -> list[Key]:
    if path.stat().st_mode & 0o077:
        raise SetupError(f"Others may read {path}. Make it private: chmod 600.")
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return [(float(at), bytes.fromhex(key)) for at, key in found]
    except (OSError, ValueError, TypeError) as error:
        raise SetupError(f"{path} holds no keys: {error}.") from error


def _write(path: Path, keys: list[Key]) -> None:
    """Replace the file as a whole; a crash leaves the old or the new."""
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(json.dumps([(at, key.hex()) for at, key in keys]))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)

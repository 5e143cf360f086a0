"""Secrets at rest: sealed text (JWE, ``dir``, A256GCM) under a key file that only we may read."""

from __future__ import annotations

import base64
import hmac
import json
import os
import stat
from pathlib import Path
from typing import Any, cast

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from downstage.kernel.errors import SetupError

__all__ = ["Sealer"]

KEY_BYTES = 32
HEADER = {"alg": "dir", "enc": "A256GCM"}
ALGORITHMS = ["dir", "A256GCM"]
MARK = b"downstage: which key this is"


class Sealer:
    """Seals and opens text with one key.

    *place* ties a sealed text to where it belongs (``session:<id>``): moved elsewhere, it
    does not open.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a seal's key has {KEY_BYTES} bytes")
        self._key = OctKey.import_key(key)
        self._mark = hmac.digest(key, MARK, "sha256").hex()

    @classmethod
    def from_file(cls, path: Path) -> Sealer:
        """The sealer of the key file *path*, which is made (mode 0600) if absent. Blocks briefly.

        Raises:
            SetupError: others may read the file, or it holds no key.
        """
        if not path.exists():
            _make_key(path)
        return cls(_read_key(path))

    def mark(self) -> str:
        """What tells this key from others and says nothing else of it: 64 hexadecimal digits."""
        return self._mark

    def seal(self, text: str, place: str = "") -> str:
        """*text*, unreadable and unchangeable without the key."""
        content = json.dumps([place, text]).encode()
        return jwe.encrypt_compact(HEADER, content, self._key, algorithms=ALGORITHMS)

    def open(self, sealed: str, place: str = "") -> str:
        """The text that was sealed for *place*.

        Raises:
            SetupError: sealed by another key, for another place, or damaged.
        """
        try:
            found = jwe.decrypt_compact(sealed, self._key, algorithms=ALGORITHMS)
            where, text = cast("list[Any]", json.loads(found.plaintext or b""))
        except (JoseError, ValueError, TypeError) as error:
            raise SetupError(_LOST) from error
        if where != place or not isinstance(text, str):
            raise SetupError(_LOST)
        return text


_LOST = (
    "A sealed value does not open: the key file is not the one it was sealed with. "
    "Restore the key file together with the database."
)


def _make_key(path: Path) -> None:
    """Write a fresh key whole or not at all; whoever comes second keeps the first one's."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(os.urandom(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(temporary)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)


def _read_key(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        content = file.read(256)
    if mode & 0o077:
        raise SetupError(f"Others may read the key file {path}: run chmod 600 {path}.")
    try:
        key = base64.urlsafe_b64decode(content.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SetupError(f"The key file {path} holds no key. Restore it from a backup.")
    return key

"""Links that open one file of one recording for whoever has them, until they expire.

The key lies in the folder of recordings (mode 0600); removing it ends all links.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from downstage.kernel.clock import Clock
from downstage.kernel.errors import Forbidden, SetupError
from downstage.streams.recordings.model import Recording

__all__ = ["LONGEST_S", "Links"]

LONGEST_S: Final = 86_400.0
USUAL_S: Final = 3_600.0
KEY_BYTES: Final = 32
MAX_DIGITS: Final = 16


class Links:
    """Makes links and reads them.

    Args:
        path: of the key file; made where it is missing. Blocks.
        clock: of the platform.
        base: address of the public port.
    """

    def __init__(self, path: Path, clock: Clock, base: str) -> None:
        self._key = _read_or_make(path)
        self._clock = clock
        self._base = base.rstrip("/")

    def make(self, recording: Recording, file: str, lifetime_s: float | None) -> tuple[str, int]:
        """An address that opens *file* of *recording*, and until when (seconds since 1970)."""
        lifetime = min(lifetime_s or USUAL_S, LONGEST_S)
        expires = math.ceil(self._clock.now().timestamp() + lifetime)
        query = {
            "e": str(expires),
            "t": recording.tenant,
            "s": self._sign(recording.id, file, expires),
        }
        path = f"/recordings/static/{quote(recording.name, safe='')}/{quote(file)}"
        return f"{self._base}{path}?{urlencode(query)}", expires

    def check(self, recording: Recording, file: str, expires: str, signature: str) -> None:
        """Return if the link counts.

        Raises:
            Forbidden: it is none of ours, was changed, or has expired; which is not told.
        """
        refused = self.refusal()
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= MAX_DIGITS):
            raise refused
        signed = self._sign(recording.id, file, int(expires))
        is_ours = hmac.compare_digest(signed.encode(), signature.encode("utf-8", "replace"))
        if not is_ours or int(expires) <= self._clock.now().timestamp():
            raise refused

    @staticmethod
    def refusal() -> Forbidden:
        """The one answer to a link that does not count, whyever."""
        return Forbidden("This link does not count. Ask for a new one.")

    def _sign(self, id_: str, file: str, expires: int) -> str:
        message = json.dumps(["recording", id_, file, expires]).encode()
        digest = hmac.new(self._key, message, sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _read_or_make(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise SetupError(f"Others may read {path}. Make it private: chmod 600.") from None
        found = path.read_bytes()
        if len(found) != KEY_BYTES:
            raise SetupError(f"{path} is no key. Remove it: links end, nothing else.") from None
        return found
    key = secrets.token_bytes(KEY_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    return key

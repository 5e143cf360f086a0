"""Stream keys: what an RTMP publisher shows. Kept as hashes; made, listed and revoked by people.

A key is short, since RTMP servers take 256 characters, and opens one stream for writing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from downstage.kernel.clock import Clock
from downstage.kernel.errors import NotFound, QuotaReached
from downstage.kernel.ids import new_id
from downstage.streams.documents import Document, Documents
from downstage.streams.model import Caller, Right
from downstage.streams.video.feeding import targets

__all__ = ["KeyView", "StreamKeys"]

EVERYBODY = "*"
"""Keys are found by their hash, before it is known whose they are."""
KIND = "rtmp-key"
BYTES = 24
MOST_OF_STREAM = 32
MAX_SHOWN = 128


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its secret."""

    id: str
    stream: str
    tenant: str
    label: str
    wanted: str
    max_fps: float | None
    created_at: str
    by: str


class StreamKeys:
    """All keys.

    Args:
        documents: where they are kept.
        clock: of the platform.
    """

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents, self._clock = documents, clock

    async def make(
        self, caller: Caller, stream: str, *, label: str, wanted: str, max_fps: float | None
    ) -> tuple[KeyView, str]:
        """A new key for the source *stream*, and its secret, which is told this once.

        Raises:
            Forbidden: *caller* may not write there.
            QuotaReached: it has too many.
        """
        _need(caller, stream, wanted)
        if len(await self.of(caller, stream)) >= MOST_OF_STREAM:
            raise QuotaReached(f"A stream has at most {MOST_OF_STREAM} keys: revoke some.")
        secret = secrets.token_urlsafe(BYTES)
        body: dict[str, Any] = {
            "key_id": new_id("k"),
            "stream": stream,
            "tenant": caller.tenant,
            "label": label,
            "wanted": wanted,
            "max_fps": max_fps,
            "created_at": self._clock.now().isoformat(timespec="seconds"),
            "by": caller.subject,
        }
        await self._documents.put(EVERYBODY, KIND, _hash(secret), body)
        return _view(body), secret

    async def of(self, caller: Caller, stream: str) -> list[KeyView]:
        """The keys of the source *stream*."""
        _need(caller, stream, "video")
        return [view for view, _ in await self._all() if _is(view, caller, stream)]

    async def revoke(self, caller: Caller, stream: str, key_id: str) -> KeyView:
        """End a key.

        Raises:
            NotFound: there is none.
        """
        _need(caller, stream, "video")
        for view, document in await self._all():
            if view.id == key_id and _is(view, caller, stream):
                await self._documents.remove(EVERYBODY, KIND, document.id)
                return view
        raise NotFound("There is no such key.")

    async def find(self, secret: str) -> KeyView | None:
        """Whose *secret* is; None: nobody's."""
        if not 0 < len(secret) <= MAX_SHOWN:
            return None
        found = await self._documents.get(EVERYBODY, KIND, _hash(secret))
        return None if found is None else _view(found.body)

    async def _all(self) -> list[tuple[KeyView, Document]]:
        return [(_view(item.body), item) for item in await self._documents.all(EVERYBODY, KIND)]


def _need(caller: Caller, stream: str, wanted: str) -> None:
    for target in targets(stream, wanted):
        caller.need(target, Right.WRITE)


def _is(view: KeyView, caller: Caller, stream: str) -> bool:
    return (view.tenant, view.stream) == (caller.tenant, stream)


def _view(body: dict[str, Any]) -> KeyView:
    names = ("stream", "tenant", "label", "wanted", "max_fps", "created_at", "by")
    return KeyView(body["key_id"], *(body[name] for name in names))


def _hash(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

"""The description of a service, as its client knows it: fetched late, once, never in the way."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from threading import Lock
from typing import Any, Literal, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import anyio
import anyio.to_thread

from downstage.kernel.logging import get_logger
from downstage.services.client.propagation import remaining_s
from downstage.services.description import Description
from downstage.services.errors import BaseServiceError
from downstage.services.transports import Transport

__all__ = ["Catalog", "DescriptionChoice"]

DescriptionChoice = Literal["auto"] | Mapping[str, Any] | Description | None
FETCH_S = 5.0
ABSENT_S = 60.0
"""How long a service that describes itself not, or wrongly, is not asked again."""
SHARED_S = 60.0
"""How long clients of one address take each other's description without asking."""
LEAST_AGE_S = 2.0
"""A 404 makes us look again, unless the description is younger."""
MOST_SHARED = 64
log = get_logger(__name__)

_sharing = Lock()
"""Clients may be of several loops, each in a thread of its own."""
_shared: dict[tuple[str, str], tuple[float, Description]] = {}


class Catalog:
    """Holds one client's description.

    Args:
        transport: to the service.
        uri: its address.
        app: the application given for ``local://``, if any.
        choice: ``"auto"`` fetches it, None goes without, a document or a `Description` is taken.
        headers: gives the headers that authorise the fetch.
    """

    def __init__(
        self,
        transport: Transport,
        uri: str,
        app: Any,
        choice: DescriptionChoice,
        headers: Callable[[], Awaitable[dict[str, str]]],
    ) -> None:
        self.current: Description | None = None
        self._transport = transport
        self._uri = uri
        self._headers = headers
        self._is_auto = isinstance(choice, str)
        self._not_before = 0.0
        self._loaded_at = 0.0
        self._cut_s = 0.0
        """The seconds that the last fetch was given, where they did not suffice."""
        self._source = _Source(uri, app) if self._is_auto else None
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, anyio.Lock] = WeakKeyDictionary()
        if isinstance(choice, str):
            if choice != "auto":
                raise ValueError('description is "auto", None, a document or a Description')
        elif isinstance(choice, Description) or choice is None:
            self.current = choice
        else:
            self.current = Description.from_document(choice)

    def is_due(self, within_s: float | None = None) -> bool:
        """Must it be fetched before a call that it may change, and that can wait so long?"""
        if not self._is_auto:
            return False
        if self.current is None:
            if self._cut_s and (within_s is None or within_s >= 2 * self._cut_s):
                return True  # one who had less time has asked in vain
            return time.monotonic() >= self._not_before
        return self._source is not None and self._source.has_changed()

    async def load(self, within_s: float | None = None) -> Description | None:
        """Fetch it if it is due; callers that come together share one fetch."""
        async with self._turn(within_s) as limit:
            if limit is not None and self.is_due(limit):
                await self._fetch(limit, take_shared=True)
        return self.current

    async def look_again(self, within_s: float | None = None) -> bool:
        """After a 404: fetch it anew if it may have changed since. Has it?"""
        if not self._is_auto or self.current is None:
            return False
        before = self.current
        async with self._turn(within_s) as limit:
            is_old = time.monotonic() - self._loaded_at >= LEAST_AGE_S
            if limit is not None and self.current is before and is_old:
                await self._fetch(limit, take_shared=False)
        return self.current is not before

    @asynccontextmanager
    async def _turn(self, within_s: float | None) -> AsyncGenerator[float | None]:
        """Wait for those who fetch; inside, the seconds left to fetch, None where there are none.

        Who must not wait so long goes on with what is known: the fetch itself is the others'.
        """
        limits = [limit for limit in (FETCH_S, within_s, remaining_s()) if limit is not None]
        ends, lock = time.monotonic() + min(limits), self._lock()
        with anyio.move_on_after(min(limits)) as scope:
            await lock.acquire()
        if scope.cancelled_caught:
            yield None
            return
        try:
            left = ends - time.monotonic()
            yield left if left > 0 else None
        finally:
            lock.release()

    def _lock(self) -> anyio.Lock:
        return self._locks.setdefault(asyncio.get_running_loop(), anyio.Lock())

    async def _fetch(self, limit_s: float, *, take_shared: bool) -> None:
        found = None
        begun = time.monotonic()
        try:
            with anyio.fail_after(limit_s):
                headers = await self._headers()
            key = (self._uri, _digest(headers))
            found = _take_shared(key) if take_shared and not self._is_local else None
            if found is None:
                found = await self._ask(headers, max(0.001, begun + limit_s - time.monotonic()))
                if found is not None and not self._is_local:
                    _share(key, found)
        except (BaseServiceError, TimeoutError) as error:
            log.debug("description.not_fetched", why=str(error))
        self._loaded_at = time.monotonic()
        # One who gave it little time must not keep it from the others for long.
        was_cut = self._loaded_at - begun >= 0.9 * limit_s
        self._not_before = self._loaded_at + (ABSENT_S * limit_s / FETCH_S if was_cut else ABSENT_S)
        self._cut_s = limit_s if was_cut and found is None and limit_s < FETCH_S / 2 else 0.0
        if found is not None or self._is_local:
            self.current = found

    async def _ask(self, headers: dict[str, str], limit_s: float) -> Description | None:
        from downstage.services.description.document import fetch

        if self._source is not None:
            await self._source.prepare()
        return await fetch(self._transport, base=self._uri, headers=headers, timeout_s=limit_s)

    @property
    def _is_local(self) -> bool:
        return self._source is not None and self._source.is_local


class _Source:
    """The application behind a ``local://`` address: it tells when its description changes."""

    def __init__(self, uri: str, app: Any) -> None:
        parts = urlsplit(uri)
        self.is_local = parts.scheme == "local"
        self._name = parts.netloc
        self._given = app
        self._find: Callable[[str], Any] | None = None
        self._seen: tuple[object, object] = (None, None)

    def has_changed(self) -> bool:
        """Has the application, or its document, become another since `prepare`?"""
        if not self.is_local:
            return False
        app, document = self._seen
        now = self._given or self._app()
        return now is not app or getattr(now, "openapi_schema", None) is not document

    async def prepare(self) -> None:
        """Let the application make its document in a thread: it may take long."""
        if not self.is_local:
            return
        app = self._app()
        make = getattr(app, "openapi", None)
        if callable(make) and getattr(app, "openapi_url", None):
            while getattr(app, "openapi_schema", None) is None:
                before = _routes(app)
                made = await anyio.to_thread.run_sync(make)
                if _routes(app) == before:
                    # Made from what is served now; else routes came or went meanwhile.
                    app.openapi_schema = made
                    break
                app.openapi_schema = None
        self._seen = (app, getattr(app, "openapi_schema", None))

    def _app(self) -> Any:
        if self._given is not None:
            return self._given
        if self._find is None:
            from downstage.services.registry import find_app

            self._find = find_app
        try:
            return self._find(self._name)
        except BaseServiceError:
            return None


def _routes(app: Any) -> list[int]:
    return [id(route) for route in cast("list[object]", app.router.routes)]


def _digest(headers: Mapping[str, str]) -> str:
    """What tells callers apart, without keeping what they show."""
    return hashlib.sha256(repr(sorted(headers.items())).encode()).hexdigest()


def _take_shared(key: tuple[str, str]) -> Description | None:
    at, found = _shared.get(key, (0.0, None))
    return found if found is not None and time.monotonic() - at < SHARED_S else None


def _share(key: tuple[str, str], found: Description) -> None:
    with _sharing:
        _shared.pop(key, None)
        while len(_shared) >= MOST_SHARED:
            del _shared[next(iter(_shared))]
        _shared[key] = (time.monotonic(), found)

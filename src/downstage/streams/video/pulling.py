"""Cameras and servers that are pulled: kept, connected, connected again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

import anyio

from downstage.kernel.errors import InvalidField, NotFound, PlatformError, QuotaReached
from downstage.kernel.logging import get_logger
from downstage.kernel.net import Guard
from downstage.streams.documents import Documents
from downstage.streams.model import Caller, Right
from downstage.streams.service import Streams
from downstage.streams.video.feeding import Feed, targets
from downstage.streams.video.forwarding import forwarding

__all__ = ["Pull", "Pulls", "check_url"]

log = get_logger(__name__)

EVERYBODY, KIND = "*", "pulled-source"
PORTS = {"rtsp": 554, "rtmp": 1935}
WAYS = frozenset({"udp", "multicast", "http", "https"})
"""In an RTSP address these choose how FFmpeg gets at pictures, past `forwarding`."""
MOST = 64
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
STEADY_S = 30.0

State = Literal["connecting", "live", "waiting"]


def check_url(url: str) -> SplitResult:
    """*url*, taken apart, if it may be a source's.

    Raises:
        InvalidField: another scheme, no host, or no URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidField("url", "That is no URL.") from None
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise InvalidField("url", "Give rtsp://host/path or rtmp://host/application/stream.")
    if parts.scheme == "rtsp" and WAYS & set(parts.query.lower().split("&")):
        raise InvalidField("url", "Sources are pulled over TCP alone: leave ?udp away.")
    if any(ord(char) <= 32 or ord(char) == 127 for char in url):  # noqa: PLR2004 - ASCII
        raise InvalidField("url", "An URL holds no blanks and no control characters.")
    return parts


@dataclass(slots=True)
class Pull:
    """One source that is pulled."""

    tenant: str
    name: str
    url: str
    """Holds the secret, if there is one."""
    wanted: str
    max_fps: float | None
    state: State = "connecting"
    error: str | None = None
    feed: Feed | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def shown_url(self) -> str:
        """Without anything secret."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))


class Pulls:
    """All of them.

    Args:
        streams: where they go.
        documents: where they are kept, in a file that only we read: addresses hold passwords.
        guard: says where may be connected to.
        start: ``start(function, *arguments, name=…)``: a task of the service.
    """

    def __init__(
        self, streams: Streams, documents: Documents, guard: Guard, start: Callable[..., Any]
    ) -> None:
        self._streams, self._documents, self._guard = streams, documents, guard
        self._start = start
        self._pulls: dict[tuple[str, str], Pull] = {}

    @property
    def all(self) -> list[Pull]:
        """Those of every tenant."""
        return list(self._pulls.values())

    async def resume(self) -> None:
        """Take up again what was pulled before a restart."""
        for document in await self._documents.all(EVERYBODY, KIND):
            body = document.body
            names = ("tenant", "name", "url", "wanted", "max_fps")
            self._begin(Pull(*(body[name] for name in names)))

    async def put(
        self, caller: Caller, name: str, url: str, *, wanted: str, max_fps: float | None
    ) -> tuple[Pull, bool]:
        """Pull *url* into the source *name*, in place of what was pulled there; new or not.

        Raises:
            Forbidden: *caller* may not write there, or the address may not be connected to.
            InvalidField: *url* is none that can be pulled.
            Upstream: its host has no address.
            QuotaReached: there are too many.
        """
        for target in targets(name, wanted):
            caller.need(target, Right.WRITE)
        parts = check_url(url)
        await self._guard.resolve(parts.hostname or "", parts.port or PORTS[parts.scheme])
        key = (caller.tenant, name)
        before = self._pulls.pop(key, None)
        if before is None and len(self._pulls) >= MOST:
            raise QuotaReached(f"At most {MOST} sources are pulled at once.")
        if before is not None:
            before.scope.cancel()
        body = {"tenant": caller.tenant, "name": name, "url": url}
        body |= {"wanted": wanted, "max_fps": max_fps}
        await self._documents.put(EVERYBODY, KIND, _id(key), body)
        pull = Pull(caller.tenant, name, url, wanted, max_fps)
        self._begin(pull)
        return pull, before is None

    def get(self, caller: Caller, name: str) -> Pull:
        """One source.

        Raises:
            NotFound: there is none, or *caller* may not read it.
        """
        pull = self._pulls.get((caller.tenant, name))
        if pull is None or Right.READ not in caller.rights(targets(name, pull.wanted)[0]):
            raise NotFound("Nothing is pulled into that stream.")
        return pull

    async def remove(self, caller: Caller, name: str) -> None:
        """Pull it no longer."""
        pull = self.get(caller, name)
        caller.need(targets(name, pull.wanted)[0], Right.WRITE)
        del self._pulls[caller.tenant, name]
        await self._documents.remove(EVERYBODY, KIND, _id((caller.tenant, name)))
        pull.scope.cancel()

    def _begin(self, pull: Pull) -> None:
        self._pulls[pull.tenant, pull.name] = pull
        self._start(self._keep, pull, name=f"pull.{pull.name}")

    async def _keep(self, pull: Pull) -> None:
        with pull.scope:
            wait = FIRST_WAIT_S
            while True:
                began = anyio.current_time()
                error = await self._once(pull)
                pull.state, pull.error = "waiting", None if error is None else error.detail
                if error is not None:
                    log.info("pull.failed", stream=pull.name, error_code=error.code)
                if anyio.current_time() - began > STEADY_S:
                    wait = FIRST_WAIT_S
                await anyio.sleep(wait * random.uniform(0.8, 1.0))  # noqa: S311  no secret
                wait = min(wait * 2, LONGEST_WAIT_S)

    async def _once(self, pull: Pull) -> PlatformError | None:
        from downstage.media.ingest import Ingest

        pull.state = "connecting"
        parts = urlsplit(pull.url)
        port = parts.port or PORTS[parts.scheme]
        try:
            async with forwarding(self._guard, parts.hostname or "", port) as forward:
                feed = pull.feed = Feed(self._streams, pull.tenant, pull.name, pull.wanted)
                feed.on_started = lambda: setattr(pull, "state", "live")
                wanted: Any = pull.wanted
                ingest = Ingest(
                    _by_way_of(parts, forward.port),
                    _options(parts, port),
                    feed.events,
                    wanted=wanted,
                    max_fps=pull.max_fps,
                )
                ingest.start(f"pull.{pull.name}")
                try:
                    error = await feed.run()
                finally:
                    ingest.stop()
                return forward.error or error
        except PlatformError as error:
            return error


def _by_way_of(parts: SplitResult, port: int) -> str:
    """The same address at our own port."""
    secret, at, _ = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{secret}{at}127.0.0.1:{port}", parts.path, parts.query, ""))


def _options(parts: SplitResult, port: int) -> dict[str, str]:
    if parts.scheme == "rtsp":
        return {"rtsp_transport": "tcp"}
    application = parts.path.strip("/").partition("/")[0]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return {"rtmp_live": "live", "rtmp_tcurl": f"rtmp://{host}:{port}/{application}"}


def _id(key: tuple[str, str]) -> str:
    return sha256("\n".join(key).encode()).hexdigest()

"""``/hls/{name}/…``: playlists, init segments, segments and parts, as one ASGI application.

========================  =====================================================================
path                      answer
========================  =====================================================================
``index.m3u8``            the playlist; ``_HLS_msn`` and ``_HLS_part`` wait for what they name
``init-{n}.mp4``          how what follows is coded
``seg-{n}.m4s``           a segment
``part-{n}.{m}.m4s``      a part of one; the next one is waited for
========================  =====================================================================

Served in front of the platform's application, and alone on a port of its own. Who asks is proven by
a bearer token (hls.js: ``xhrSetup``), by the sign-in's cookie, or once by a ticket in the
playlist's address, which a cookie for this stream replaces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from downstage.kernel.errors import (
    Forbidden,
    InvalidInput,
    InvalidToken,
    NotFound,
    PlatformError,
    RangeNotSatisfiable,
    TooMany,
    Unavailable,
)
from downstage.media.hls.playlist import CONTENT_TYPE, playlist
from downstage.services.fronts import TEMPLATE
from downstage.services.refusal import answer
from downstage.streams.callers import Callers, Guest
from downstage.streams.video.channel import Channel
from downstage.streams.video.channels import Channels
from downstage.streams.video.passes import Passes
from downstage.streams.video.sending import Sending

__all__ = ["PREFIX", "Hls"]

PREFIX = "/hls/"
START_S = 10.0
"""How long a first playlist may wait for its first segment."""
MOST_WAITING = 2000
"""Requests that wait for what is not there yet."""
AHEAD = 2
"""A playlist may be asked for so many segments ahead."""
KEPT_S = 60
PLACE = re.compile(r"/hls/([^/]{1,256})/([^/]{1,64})")
FILE = re.compile(
    r"(index\.m3u8)|init-(\d{1,6})\.mp4|(?:seg-(\d{1,16})|part-(\d{1,16})\.(\d{1,4}))\.m4s"
)
VIDEO = "video/mp4"


class Hls:
    """The application.

    Args:
        channels: what is on air.
        callers: lets callers in.
        passes: for players.
        origins: of pages that may play: ours, and those the operator listed.
    """

    def __init__(
        self, channels: Channels, callers: Callers, passes: Passes, origins: frozenset[str]
    ) -> None:
        self._channels, self._callers, self._passes = channels, callers, passes
        self._origins = origins
        self._waiting = 0
        self.served = 0
        """Bytes of segments that were sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotFound("There is no socket here.")
        scope[TEMPLATE] = "/hls/{name}/{file}"
        sending = Sending(scope, send, self._cors(scope))
        try:
            if scope["method"] == "OPTIONS":
                await sending.whole(HTTPStatus.NO_CONTENT, b"", {"access-control-max-age": "600"})
            elif scope["method"] in ("GET", "HEAD"):
                await self._answer(scope, sending)
            else:
                allow = {"allow": "GET, HEAD, OPTIONS"}
                await sending.whole(HTTPStatus.METHOD_NOT_ALLOWED, b"", allow)
        except PlatformError as error:
            if sending.begun:
                raise
            response = answer(error, scope.get("request_id"))
            for key, value in sending.headers.items():
                response.headers.setdefault(key, value)
            response.headers["cache-control"] = "no-store"
            if isinstance(error, RangeNotSatisfiable):
                response.headers["content-range"] = f"bytes */{error.context.get('size')}"
            await response(scope, receive, send)
        finally:
            self.served += sending.sent

    async def _answer(self, scope: Scope, sending: Sending) -> None:
        found = PLACE.fullmatch(scope["path"])
        file = FILE.fullmatch(found[2]) if found is not None else None
        if found is None or file is None:
            raise NotFound("There is nothing at this path.")
        name = found[1]
        guest = await self._guest(scope, name, sending)
        if file[1]:
            channel = await self._channels.open(guest.caller, name)
            await self._playlist(channel, scope, sending)
            return
        current = await self._channels.current(guest.caller, name)
        if current is None:
            raise NotFound("That is gone: read the playlist again.")
        data = await self._media(current, file)
        kept = {"content-type": VIDEO, "cache-control": f"private, max-age={KEPT_S}, immutable"}
        await sending.ranged(data, kept)

    async def _playlist(self, channel: Channel, scope: Scope, sending: Sending) -> None:
        window = channel.window
        wanted = _wanted(scope.get("query_string", b""))
        if not window.playable and not await self._wait(channel, START_S):
            raise channel.error or Unavailable("There is no picture yet.", retry_after_s=1)
        if channel.error is not None:
            raise channel.error
        if wanted is not None:
            last = window.segments[-1].number
            if wanted[0] > last + AHEAD:
                raise InvalidInput("That segment is too far ahead.")
            await self._wait(channel, channel.pacing.longest_s * 3, wanted)
        text = playlist(window, channel.pacing).encode()
        headers = {"content-type": CONTENT_TYPE, "cache-control": "no-cache"}
        await sending.whole(HTTPStatus.OK, text, headers)

    async def _media(self, channel: Channel, file: re.Match[str]) -> Sequence[bytes]:
        """The bytes of an init segment, a segment, or a part that may yet have to come."""
        window = channel.window
        if file[2]:
            init = window.init(int(file[2]))
            if init is None:
                raise NotFound("There is no such init segment.")
            return [init]
        number = int(file[3] or file[4])
        if file[3]:
            segment = window.find(number)
            if segment is None or not segment.closed:
                raise NotFound("There is no such segment.")
            return [part.data for part in segment.parts]
        at = int(file[5])
        if number <= window.segments[-1].number + 1 if window.segments else False:
            await self._wait(channel, channel.pacing.longest_s * 3, (number, at))
        segment = window.find(number)
        if segment is None or at >= len(segment.parts):
            raise NotFound("There is no such part.")
        return [segment.parts[at].data]

    async def _wait(
        self, channel: Channel, deadline_s: float, wanted: tuple[int, int | None] | None = None
    ) -> bool:
        """Wait for a segment or part; without *wanted* for something to begin with."""
        window = channel.window
        if self._waiting >= MOST_WAITING:
            raise TooMany("Too many players wait.", retry_after_s=1)
        self._waiting += 1
        try:
            if wanted is None:
                return await window.wait(lambda: window.playable, deadline_s)
            return await window.wait(lambda: window.has(*wanted), deadline_s)
        finally:
            self._waiting -= 1

    # Who asks

    async def _guest(self, scope: Scope, name: str, sending: Sending) -> Guest:
        held = self._passes.find(scope["headers"], name)
        if held is not None:
            self._check_page(scope)
            if not held.is_open and not self._callers.proving.counts(held.principal):
                raise InvalidToken
            return held
        guest = await self._callers.of_scope(scope, purpose="read")
        if b"token=" in scope.get("query_string", b""):
            secret = self._passes.make(guest, name)
            secure = scope.get("scheme") == "https"
            sending.headers["set-cookie"] = self._passes.cookie(secret, name, secure=secure)
        return guest

    def _check_page(self, scope: Scope) -> None:
        """A cookie comes by itself: the page that plays must be one that may."""
        origin = _header(scope, b"origin")
        site = _header(scope, b"sec-fetch-site")
        if origin is not None and origin.lower() not in self._origins:
            raise Forbidden("This page may not play this.")
        if origin is None and site in ("cross-site", "same-site"):
            raise Forbidden("This page may not play this.")

    def _cors(self, scope: Scope) -> dict[str, str]:
        origin = _header(scope, b"origin")
        headers = {"vary": "Origin", "x-content-type-options": "nosniff"}
        if origin is not None and origin.lower() in self._origins:
            headers |= {
                "access-control-allow-origin": origin,
                "access-control-allow-credentials": "true",
                "access-control-allow-methods": "GET, HEAD",
                "access-control-allow-headers": "authorization, range",
                "access-control-expose-headers": "content-range, retry-after",
            }
        return headers


def _header(scope: Scope, name: bytes) -> str | None:
    headers = cast("list[tuple[bytes, bytes]]", scope["headers"])
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def _wanted(query: bytes) -> tuple[int, int | None] | None:
    """What ``_HLS_msn`` and ``_HLS_part`` name.

    Raises:
        InvalidInput: they are no numbers, or the part stands alone.
    """
    if b"_HLS_" not in query:
        return None
    pairs: dict[str, Any] = dict(parse_qsl(query.decode("latin-1")))
    number, part = pairs.get("_HLS_msn"), pairs.get("_HLS_part")
    if number is None and part is None:
        return None
    for value in (number, part or "0"):
        if value is None or not re.fullmatch(r"\d{1,16}", value, re.ASCII):
            raise InvalidInput("_HLS_msn and _HLS_part are whole numbers.")
    return int(cast("str", number)), None if part is None else int(part)

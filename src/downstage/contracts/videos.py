"""What streams says about video: keys of publishers, cameras that are pulled, pictures by WebRTC.

========  =========================================  ============================================
verb      path                                       body → answer
========  =========================================  ============================================
POST      /v1/streams/{name}/keys                    StreamKeyBody → StreamKeyMade (201)
GET       /v1/streams/{name}/keys                    → StreamKeys
DELETE    /v1/streams/{name}/keys/{id}               → 204; a publisher on air is cut off
PUT       /v1/streams/{name}/source                  SourceBody → SourceView (201 new, 200)
GET       /v1/streams/{name}/source                  → SourceView
DELETE    /v1/streams/{name}/source                  → 204
POST      /v1/streams/{name}/views                   → ViewOffer (201): an SDP offer
POST      /v1/streams/{name}/views/{id}              ViewAnswer → 204: the SDP answer
DELETE    /v1/streams/{name}/views/{id}              → 204
GET       /hls/{name}/index.m3u8                     the playlist; see `downstage.streams.video`
========  =========================================  ============================================

A source *name* writes the streams ``<name>.video`` and ``<name>.audio``; where images are wanted,
the stream ``<name>``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from downstage.contracts.wire import Answer, Request

__all__ = [
    "SourceBody",
    "SourceView",
    "StreamKeyBody",
    "StreamKeyMade",
    "StreamKeyView",
    "StreamKeys",
    "ViewAnswer",
    "ViewOffer",
    "Wanted",
]

Wanted = Literal["video", "images"]
"""Coded pictures and sound as they come, or every picture as a JPEG."""


class StreamKeyBody(Request):
    """A key for one publisher."""

    label: str = Field(default="", max_length=128)
    """For people: which camera, whose laptop."""
    wanted: Wanted = "video"
    """What becomes of the pictures."""
    max_fps: float | None = Field(default=None, gt=0, le=240)
    """Images a second, at most."""


class StreamKeyView(Answer):
    """A key without its secret."""

    id: str
    stream: str
    label: str
    wanted: Wanted
    max_fps: float | None
    created_at: datetime
    live: bool
    """A publisher who showed it is on air."""


class StreamKeyMade(StreamKeyView):
    """The same with the secret, which is told this once."""

    key: str
    url: str | None
    """Where to publish, with the key; None where no RTMP port is open."""
    server: str | None
    """The same as programs like OBS want it: this as server, `key` as stream key."""


class StreamKeys(Answer):
    """The keys of one source."""

    items: list[StreamKeyView]


class SourceBody(Request):
    """A camera or server that is to be pulled, and pulled again when it breaks off."""

    url: SecretStr = Field(max_length=2048)
    """``rtsp://[user:password@]host[:port]/path`` or ``rtmp://…``; it is not told again."""
    wanted: Wanted = "video"
    """What becomes of the pictures."""
    max_fps: float | None = Field(default=None, gt=0, le=240)
    """Images a second, at most."""


class SourceView(Answer):
    """How a pulled source stands."""

    name: str
    url: str
    """Without user, password and query."""
    wanted: Wanted
    max_fps: float | None
    state: Literal["connecting", "live", "waiting"]
    error: str | None
    """Why it broke off last."""
    entries: int
    """Put in since it was last connected."""
    streams: list[str]
    """Names of the streams that it writes."""


class ViewOffer(Answer):
    """A WebRTC connection that shows a stream, as it is offered."""

    id: str
    sdp: str
    """With all candidates; answer with all of yours, within 30 s."""
    ice_servers: list[dict[str, str]]


class ViewAnswer(Request):
    """What the browser makes of it."""

    sdp: str = Field(min_length=8, max_length=60_000, pattern=r"^v=0\r?\n")

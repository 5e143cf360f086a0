"""Control messages to viewers: JSON arrays, as `downstage.contracts.streamer` lists them."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass

from downstage.contracts.streamer import MEDIA_BEAT_MS
from downstage.media.frame import Cursor

__all__ = ["StreamFacts", "cursor", "end", "notice", "pong", "stream"]


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a viewer is told about the stream."""

    width: int
    height: int
    fps: float
    codec: str | None
    """As WebCodecs wants it, for example ``avc1.42C029``."""
    encoder: str | None
    encoder_reason: str | None
    audio: bool
    audio_reason: str | None
    kbps: int
    beat_ms: int = MEDIA_BEAT_MS


def stream(facts: StreamFacts) -> str:
    """``["s", {…}]``."""
    return _text("s", asdict(facts))


def cursor(shape: Cursor) -> str:
    """``["c", {…}]``."""
    if shape.hidden:
        return _text("c", {"css": "none"})
    if shape.png is None:
        return _text("c", {"css": "default"})
    picture = base64.b64encode(shape.png).decode("ascii")
    return _text("c", {"png": picture, "x": shape.x, "y": shape.y})


def pong(number: int) -> str:
    """``["p", n]``."""
    return _text("p", number)


def notice(code: str) -> str:
    """``["n", code]``: an input was refused, the stream goes on."""
    return _text("n", code)


def end(reason: str) -> str:
    """``["e", reason]``."""
    return _text("e", reason)


def _text(kind: str, content: object) -> str:
    return json.dumps([kind, content], separators=(",", ":"))

"""Reading as much of an encoded frame as the transports need: is it a key frame, which profile."""

from __future__ import annotations

import re

from downstage.media.frame import Codec

__all__ = ["first_codec", "is_key", "webcodecs_name"]

_HEAD = 512
"""Parameter sets and the first slice of a key frame begin within these bytes."""
_START = b"\0\0\1"
_SLICE, _IDR, _SPS = 1, 5, 7


def is_key(data: memoryview | bytes, codec: Codec) -> bool:
    """Whether *data*, one whole frame, decodes on its own."""
    if codec == "vp8":
        return len(data) > 0 and not data[0] & 1
    for kind, _ in _units(bytes(data[:_HEAD])):
        if kind in {_IDR, _SPS}:
            return True
        if kind == _SLICE:
            return False
    return False


def webcodecs_name(data: memoryview | bytes, codec: Codec) -> str | None:
    """The codec string a WebCodecs decoder is configured with; None if *data* does not tell.

    Args:
        data: a key frame.
        codec: what it was coded with.
    """
    if codec == "vp8":
        return "vp8"
    head = bytes(data[:_HEAD])
    for kind, at in _units(head):
        if kind == _SPS and len(head) >= at + 4:
            return "avc1." + head[at + 1 : at + 4].hex().upper()
    return None


def first_codec(answer: str) -> Codec | None:
    """The codec that an SDP answer puts first in its video section, of those that we encode."""
    section = re.search(
        r"^m=video \d+ \S+ ([\d ]+)(.*?)(?=^m=|\Z)", answer, re.MULTILINE | re.DOTALL
    )
    if section is None:
        return None
    names = dict(re.findall(r"^a=rtpmap:(\d+) ([^/\s]+)/", section[2], re.MULTILINE))
    for payload in section[1].split():
        name = names.get(payload, "").lower()
        if name == "h264":
            return "h264"
        if name == "vp8":
            return "vp8"
    return None


def _units(head: bytes) -> list[tuple[int, int]]:
    """Type and position of each NAL unit that begins in *head* (Annex B)."""
    found: list[tuple[int, int]] = []
    at = head.find(_START)
    while at >= 0 and at + 3 < len(head):
        found.append((head[at + 3] & 31, at + 3))
        at = head.find(_START, at + 3)
    return found

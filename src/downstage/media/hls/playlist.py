"""The playlist: RFC 8216bis, low latency, one rendition.

The last segments are listed with their parts, older ones whole; a request may name the segment
and part it waits for, which `Window.wait` is for.
"""

from __future__ import annotations

from datetime import UTC, datetime

from downstage.media.hls.cutter import PART_S, Pacing
from downstage.media.hls.window import Segment, Window

__all__ = ["CONTENT_TYPE", "SHOWN_S", "init_name", "part_name", "playlist", "segment_name"]

CONTENT_TYPE = "application/vnd.apple.mpegurl"
SHOWN_S = 60.0
WITH_PARTS = 3
"""Segments at the end that are listed with their parts."""


def init_name(number: int) -> str:
    """``init-0.mp4``."""
    return f"init-{number}.mp4"


def segment_name(number: int) -> str:
    """``seg-7.m4s``."""
    return f"seg-{number}.m4s"


def part_name(segment: int, part: int) -> str:
    """``part-7.2.m4s``."""
    return f"part-{segment}.{part}.m4s"


def playlist(window: Window, pacing: Pacing) -> str:
    """The text, as things stand."""
    shown, hidden = _shown(window.segments)
    target = round(pacing.longest_s)
    gone = window.discontinuities + sum(segment.discontinuity for segment in hidden)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,"
        f"PART-HOLD-BACK={PART_S * 3:.3f},HOLD-BACK={target * 3:.3f}",
        f"#EXT-X-PART-INF:PART-TARGET={PART_S:.3f}",
        f"#EXT-X-MEDIA-SEQUENCE:{shown[0].number if shown else 0}",
    ]
    if gone:
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{gone}")
    init: int | None = None
    for place, segment in enumerate(shown):
        lines += _segment(segment, init, with_parts=place >= len(shown) - WITH_PARTS)
        init = segment.init
    lines.append("#EXT-X-ENDLIST" if window.ended else _hint(window))
    return "\n".join([*(line for line in lines if line), ""])


def _shown(segments: list[Segment]) -> tuple[list[Segment], list[Segment]]:
    """Those to list, and those that are held but no longer listed."""
    seconds = 0.0
    for at in range(len(segments) - 1, -1, -1):
        seconds += segments[at].duration_s
        if seconds > SHOWN_S and at + 1 < len(segments):
            return segments[at + 1 :], segments[: at + 1]
    return segments, []


def _segment(segment: Segment, init: int | None, *, with_parts: bool) -> list[str]:
    lines = list[str]()
    if segment.discontinuity:
        lines.append("#EXT-X-DISCONTINUITY")
    if init != segment.init:
        lines.append(f'#EXT-X-MAP:URI="{init_name(segment.init)}"')
    begins = datetime.fromtimestamp(segment.wall_ms / 1000, UTC)
    lines.append("#EXT-X-PROGRAM-DATE-TIME:" + begins.isoformat(timespec="milliseconds")[:-6] + "Z")
    if with_parts:
        for at, part in enumerate(segment.parts):
            alone = ",INDEPENDENT=YES" if part.independent else ""
            name = part_name(segment.number, at)
            lines.append(f'#EXT-X-PART:DURATION={part.duration_s:.5f},URI="{name}"{alone}')
    if segment.closed:
        lines += [f"#EXTINF:{segment.duration_s:.5f},", segment_name(segment.number)]
    return lines


def _hint(window: Window) -> str:
    if not window.segments:
        return ""
    last = window.segments[-1]
    name = part_name(last.number + 1, 0) if last.closed else part_name(last.number, len(last.parts))
    return f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{name}"'

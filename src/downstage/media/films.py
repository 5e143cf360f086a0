"""Pictures that were taken one by one, as a film that any browser plays."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error

__all__ = ["DECODERS", "NotDecoded", "write_film"]

DECODERS: Final = {"image/jpeg": "mjpeg", "image/png": "png", "image/webp": "webp"}
"""Codec of a picture, by its content type."""
MILLISECONDS: Final = Fraction(1, 1000)
OPTIONS: Final = {"preset": "veryfast", "crf": "23"}
MAX_PIXELS: Final = 36_000_000
"""Of a picture that is decoded: 8K has 33 million."""


class NotDecoded(Exception):
    """No picture of the film could be decoded."""


def write_film(path: Path, pictures: Iterator[tuple[int, bytes]], content_type: str) -> int:
    """Write *pictures* as H.264 in MP4, each shown from its own time on. Blocks, for long.

    Args:
        path: of the film; its folder exists.
        pictures: milliseconds, growing, and an encoded picture each. One that cannot be decoded
            is left out; the size of the first is that of the film.
        content_type: of the pictures, one of `DECODERS`.

    Returns:
        Pictures in the film.

    Raises:
        NotDecoded: there is none.
        OSError: it cannot be written.
    """
    decoder: Any = av.CodecContext.create(DECODERS[content_type], "r")
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    count, first, last = 0, 0, -1
    film: Any
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as film:
        track: Any = None
        for at, data in pictures:
            frame = _decoded(decoder, data)
            if frame is None:
                continue
            if track is None:
                track, first = _new_track(film, frame), at
            shown: Any = frame.reformat(track.width, track.height, "yuv420p")
            last = max(at - first, last + 1)
            shown.pts, shown.time_base = last, MILLISECONDS
            film.mux(track.encode(shown))
            count += 1
        if track is None:
            raise NotDecoded
        film.mux(track.encode(None))
    return count


def _new_track(film: Any, like: Any) -> Any:
    track = film.add_stream("libx264", rate=Fraction(1000, 1), options=OPTIONS)
    track.width, track.height = like.width & ~1, like.height & ~1
    track.pix_fmt = "yuv420p"
    track.codec_context.time_base = MILLISECONDS
    return track


def _decoded(decoder: Any, data: bytes) -> Any:
    try:
        frames = decoder.decode(av.Packet(data))
    except av.error.FFmpegError:
        return None
    return frames[0] if frames else None

"""What a playlist is made of: which streams stand behind a name, and how they are coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from downstage.contracts import video
from downstage.kernel.errors import NotFound, UnsupportedMedia
from downstage.media.hls.images import Raw, raw_layout
from downstage.streams.model import Caller, Grant, Right, StreamInfo
from downstage.streams.rights import ALL
from downstage.streams.service import Streams

__all__ = ["CodedStreams", "ImageStream", "Source", "find_source", "insider"]


@dataclass(frozen=True, slots=True)
class ImageStream:
    """Pictures that are each whole."""

    stream: str
    raw: Raw | None

    @property
    def streams(self) -> Sequence[str]:
        """Those that are read."""
        return (self.stream,)


@dataclass(frozen=True, slots=True)
class CodedStreams:
    """Coded pictures, and sound where there is some."""

    video: str
    audio: str
    sound: str | None
    """``opus`` or ``aac``; None: nothing is known of sound yet."""
    own: bool
    """Pushed by a streamer of ours, which gives a key frame each two seconds."""

    @property
    def streams(self) -> Sequence[str]:
        """Those that are read."""
        return (self.video, self.audio)


Source = ImageStream | CodedStreams


def insider(tenant: str) -> Caller:
    """Who reads for those that were let in."""
    grant = Grant("*", ALL, of_sessions=True)
    return Caller("service:streams", "video", tenant, (grant,))


async def find_source(streams: Streams, caller: Caller, name: str) -> Source:
    """What *name* stands for: a session, a source of coded pictures, a stream of images.

    Raises:
        NotFound: nothing that *caller* may read.
        UnsupportedMedia: a stream of something else.
    """
    if video.session_of(name) is not None:
        source = video.session_stream(video.session_of(name) or "")
        return await _coded(streams, insider(caller.tenant), source, own=True)
    info = await _info(streams, caller, name)
    kind, parameters = _kind(info)
    if info is None or kind == "video/h264":
        source = name.removesuffix(".video")
        if await _info(streams, caller, video.video_stream(source)) is None:
            raise NotFound(f"There is no stream {name}.")
        return await _coded(streams, caller, source, own=False)
    if kind == "image/raw":
        layout = raw_layout(parameters)
        if layout is None:
            raise UnsupportedMedia("image/raw needs width, height and format=rgb|bgr|rgba|gray.")
        return ImageStream(name, layout)
    if kind.startswith(("image/", "application/octet-stream")) or not kind:
        return ImageStream(name, None)
    raise UnsupportedMedia(f"A stream of {kind} is nothing to watch.")


async def _coded(streams: Streams, caller: Caller, source: str, *, own: bool) -> CodedStreams:
    audio = video.audio_stream(source)
    info = await _info(streams, caller, audio)
    kind, _ = _kind(info)
    sound = {"audio/opus": "opus", "audio/aac": "aac"}.get(kind)
    if own:
        sound = "opus"  # in silence nothing comes, and a player cannot take up sound later
    return CodedStreams(video.video_stream(source), audio, sound, own)


async def _info(streams: Streams, caller: Caller, name: str) -> StreamInfo | None:
    if Right.READ not in caller.rights(name):
        return None
    try:
        return await streams.info(caller, name)
    except NotFound:
        return None


def _kind(info: StreamInfo | None) -> tuple[str, dict[str, str]]:
    """Type and parameters of a content type."""
    parts = ((info.spec.content_type or "") if info else "").split(";")
    pairs = (part.strip().partition("=") for part in parts[1:])
    return parts[0].strip().lower(), {key.lower(): value for key, _, value in pairs}

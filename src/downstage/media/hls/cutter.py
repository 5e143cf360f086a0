"""Where a part ends and where a segment ends: pictures and sound in, fragments out.

A part is closed when the next picture would make it longer than `PART_S`, a segment at the first
key frame after `SEGMENT_S`. A source without key frames is cut at `LONGEST_S` all the same, since a
playlist promises a longest segment. The first segment is short: a player cannot begin before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from downstage.media.hls.boxes import (
    AUDIO_TRACK,
    VIDEO_TRACK,
    Run,
    RunSample,
    fragment,
    init_segment,
)
from downstage.media.hls.samples import VIDEO_RATE, AudioFormat, Picture, Sound, VideoFormat
from downstage.media.hls.window import Part, Window

__all__ = ["PART_S", "Cutter", "Pacing"]

PART_S = 0.5
US = 1_000_000
AAC_FRAME = 1024
MAX_WAITING_SOUND = 512
"""AAC frames that wait for pictures: ten seconds."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How long segments are; `longest_s` is what the playlist promises."""

    first_s: float = 1.0
    segment_s: float = 2.0
    longest_s: float = 4.0


class Cutter:
    """Cuts one source into its window.

    Args:
        window: what it fills.
        pacing: how long segments are.
    """

    def __init__(self, window: Window, pacing: Pacing | None = None) -> None:
        self._window, self.pacing = window, pacing or Pacing()
        self._formats: tuple[VideoFormat, AudioFormat | None] | None = None
        self._init = 0
        self._broken = False
        self._fragments = 0
        self._segments = 0
        self._pending: Picture | None = None
        self._zero_us = 0
        self._segment_at = self._part_at = 0
        self._pictures: list[RunSample] = []
        self._sounds: deque[Sound] = deque(maxlen=MAX_WAITING_SOUND)
        self._gap_us = 0

    @property
    def zero_us(self) -> int:
        """The instant of the source's clock that is 0 in the fragments."""
        return self._zero_us

    @property
    def started(self) -> bool:
        """Whether a picture has come since the last break."""
        return self._pending is not None

    def configure(self, video: VideoFormat, audio: AudioFormat | None) -> None:
        """From the next key frame on it is coded so; a change breaks the timeline."""
        if self._formats == (video, audio):
            return
        if self._formats is not None:
            self.interrupt()
        self._formats = (video, audio)
        self._init = self._window.put_init(init_segment(video, audio))

    def interrupt(self) -> None:
        """The source broke off: what follows has another clock."""
        if self._pending is not None:
            self._take_pending(max(self._gap_us, 1))
            self._close_part()
            self._window.close()
            self._broken = True
        self._pending = None
        self._pictures.clear()
        self._sounds.clear()

    def picture(self, picture: Picture) -> None:
        """The next picture, in the order of decoding; the first must be a key frame."""
        if self._pending is None:
            if picture.key and self._formats is not None:
                self._begin(picture)
            return
        gap = max(1, picture.at_us - self._pending.at_us)
        self._gap_us = gap
        self._take_pending(gap)
        self._pending = picture
        at = self._ticks(picture.at_us)
        if self._ends_segment(picture, at):
            self._close_part()
            self._open_segment(picture, at)
        elif at - self._part_at + self._ticks_of(gap) > PART_S * VIDEO_RATE:
            self._close_part()
            self._part_at = at

    def sound(self, sounds: Iterable[Sound]) -> None:
        """AAC frames, without holes, on the fragments' clock."""
        self._sounds.extend(sounds)

    def _begin(self, picture: Picture) -> None:
        if self._segments == 0 or self._broken:
            self._zero_us = picture.at_us
        self._pending = picture
        self._open_segment(picture, self._ticks(picture.at_us))

    def _open_segment(self, picture: Picture, at: int) -> None:
        self._window.begin(picture.wall_ms, self._init, discontinuity=self._broken)
        self._broken = False
        self._segments += 1
        self._segment_at = self._part_at = at

    def _ends_segment(self, picture: Picture, at: int) -> bool:
        lasted = (at - self._segment_at) / VIDEO_RATE
        enough = self.pacing.first_s if self._segments == 1 else self.pacing.segment_s
        # A little less is enough: key frames come by the publisher's clock, not by ours.
        return (picture.key and lasted >= enough * 0.9) or lasted >= self.pacing.longest_s

    def _take_pending(self, gap_us: int) -> None:
        picture = self._pending
        if picture is None:
            return
        begins = self._ticks(picture.at_us)
        ends = self._ticks(picture.at_us + gap_us)
        after = picture.shown_after_us * VIDEO_RATE // US
        self._pictures.append(RunSample(picture.data, max(1, ends - begins), after, picture.key))

    def _close_part(self) -> None:
        if not self._pictures:
            return
        lasted = sum(sample.duration for sample in self._pictures)
        runs = [Run(VIDEO_TRACK, self._part_at, list(self._pictures))]
        heard = self._sound_until(self._part_at + lasted)
        if heard:
            samples = [RunSample(item.data, AAC_FRAME) for item in heard]
            runs.append(Run(AUDIO_TRACK, heard[0].at, samples))
        self._fragments += 1
        data = fragment(self._fragments, runs)
        self._window.add(Part(data, lasted / VIDEO_RATE, self._pictures[0].key))
        self._pictures.clear()

    def _sound_until(self, ticks: int) -> list[Sound]:
        """Sound that begins before *ticks* of the video clock."""
        audio = self._formats[1] if self._formats else None
        found = list[Sound]()
        while audio is not None and self._sounds:
            if self._sounds[0].at * VIDEO_RATE >= ticks * audio.rate:
                break
            found.append(self._sounds.popleft())
        return found

    def _ticks(self, at_us: int) -> int:
        # Rounded from one zero, so that no error adds up.
        return (at_us - self._zero_us) * VIDEO_RATE // US

    @staticmethod
    def _ticks_of(span_us: int) -> int:
        return span_us * VIDEO_RATE // US

"""From entries that hold coded pictures and sound to a window, the picture untouched."""

from __future__ import annotations

from downstage.contracts.video import Unit
from downstage.kernel.errors import BadMessage
from downstage.kernel.logging import get_logger
from downstage.media.hls.cutter import Cutter
from downstage.media.hls.h264 import format_of, length_prefixed, split_units
from downstage.media.hls.samples import Picture, VideoFormat
from downstage.media.hls.sound import SoundCodec, SoundCoder

__all__ = ["CodedSource"]

BREAK_US, BACK_US = 10_000_000, 500_000
"""A longer hole, or a longer step back, is another clock."""
log = get_logger(__name__)


class CodedSource:
    """Feeds one source's units to a cutter; blocking work, for a thread.

    Args:
        cutter: cuts them.
        sound: what the sound is coded with; None until sound is known of.
    """

    def __init__(self, cutter: Cutter, sound: SoundCodec | None = None) -> None:
        self._cutter = cutter
        self._sound: SoundCodec | None = sound
        self._coder: SoundCoder | None = None
        self._format: VideoFormat | None = None
        self._expected: int | None = None
        self._lost = True
        self._at_us = 0
        self.refused = 0
        """Units that could not be read."""

    @property
    def is_running(self) -> bool:
        """Whether a key frame has come."""
        return self._cutter.started

    def interrupt(self) -> None:
        """The source is gone; what follows begins anew."""
        self._cutter.interrupt()
        self._coder = None
        self._lost = True
        self._expected = None

    def hear_of(self, sound: SoundCodec) -> None:
        """There is sound of that kind; pictures begin anew with it where there was none before."""
        if sound != self._sound:
            self._sound = sound
            if self._coder is not None or self._cutter.started:
                self.interrupt()

    def video(self, unit: Unit, wall_ms: int) -> None:
        """One picture; those after a loss are left out until the next key frame."""
        step_us = unit.at_us - self._at_us
        if unit.restart or not -BACK_US <= step_us < BREAK_US:
            if self._cutter.started:
                log.info("source.began_anew", restart=unit.restart, step_ms=step_us // 1000)
            self.interrupt()
        elif self._expected not in (None, unit.sequence):
            self._lost = True
        self._expected = unit.sequence + 1 & 0xFFFFFFFF
        self._at_us = unit.at_us
        if self._lost and not unit.key:
            return
        try:
            picture = self._picture(unit, wall_ms)
        except BadMessage:
            self.refused += 1
            self._lost = True
            return
        if self._format is None:
            return
        self._lost = False
        self._cutter.picture(picture)
        if self._sound is not None and self._cutter.started:
            if self._coder is None:
                self._coder = SoundCoder(self._sound, self._cutter.zero_us)
            self._cutter.sound(self._coder.reach(unit.at_us))

    def audio(self, unit: Unit) -> None:
        """One packet of sound; before the first picture it is dropped."""
        if self._coder is not None:
            self._cutter.sound(self._coder.push(unit.data, unit.at_us))

    def _picture(self, unit: Unit, wall_ms: int) -> Picture:
        units = split_units(unit.data)
        if unit.key:
            self._follow(format_of(units))
        data = length_prefixed(units)
        return Picture(data, unit.at_us, unit.shown_after_us, unit.key, wall_ms)

    def _follow(self, found: VideoFormat | None) -> None:
        """Take up how the picture is coded; another size or profile is a timeline of its own.

        Other parameters, such as the rate in the VUI, come with each key frame: an encoder that
        adapts its rate changes them, and decoders follow.
        """
        before = self._format
        if found is None:
            return
        if before is None or before.shape != found.shape:
            if before is not None:
                self._cutter.interrupt()
                self._coder = None
            self._format = before = found
        self._cutter.configure(before, None if self._sound is None else SoundCoder.format)

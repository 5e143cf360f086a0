"""Which time code is shown: play, pause, step and scrub; no clock of its own."""

from __future__ import annotations

__all__ = ["Playback"]


class Playback:
    """A playhead between two time codes, in a loop."""

    def __init__(self, start: float, end: float, codes_per_second: float) -> None:
        """Stand at *start*, paused."""
        self.start, self.end = start, end
        self._rate = codes_per_second
        self.code = start
        self.is_playing = False

    def over(self, start: float, end: float, codes_per_second: float) -> Playback:
        """The same between other ends: where it stood, and playing if it did."""
        other = Playback(start, end, codes_per_second)
        if self.is_animated and other.is_animated:
            other.code = min(max(self.code, start), end)
            other.is_playing = self.is_playing
        return other

    @property
    def is_animated(self) -> bool:
        """There is more than one time code."""
        return self.end > self.start

    @property
    def fraction(self) -> float:
        """How far the playhead has come, 0 to 1."""
        return (self.code - self.start) / (self.end - self.start) if self.is_animated else 0.0

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds from the start, and in all."""
        return (self.code - self.start) / self._rate, (self.end - self.start) / self._rate

    def toggle(self) -> None:
        """Play, or pause; what cannot move does neither."""
        self.is_playing = self.is_animated and not self.is_playing

    def advance(self, seconds: float) -> bool:
        """Let *seconds* pass. True: another picture."""
        if not self.is_playing or seconds <= 0:
            return False
        span = self.end - self.start
        self.code = self.start + (self.code - self.start + seconds * self._rate) % span
        return True

    def step(self, codes: int) -> None:
        """Pause, and go *codes* on (or back), to whole time codes, round the ends."""
        self.is_playing = False
        if not self.is_animated:
            return
        code = round(self.code) + codes
        if code > self.end:
            code = self.start
        self.code = float(self.end if code < self.start else code)

    def scrub(self, fraction: float) -> None:
        """Put the playhead at *fraction* of the way; playing goes on or stays paused."""
        fraction = min(max(fraction, 0.0), 1.0)
        self.code = self.start + fraction * (self.end - self.start)

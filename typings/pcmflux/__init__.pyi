"""What we call of pcmflux 2.2."""

from collections.abc import Callable

class AudioFrame:
    pts: int
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class AudioCaptureSettings:
    device_name: str | None
    sample_rate: int
    channels: int
    opus_bitrate: int
    opus_complexity: int | None
    frame_duration_ms: float
    use_vbr: bool
    use_silence_gate: bool
    omit_audio_header: bool
    latency_ms: int

class AudioCapture:
    @property
    def state(self) -> str: ...
    @property
    def last_error(self) -> str | None: ...
    def start_capture(
        self, settings: AudioCaptureSettings, callback: Callable[[AudioFrame], None] | None = None
    ) -> None: ...
    def stop_capture(self) -> None: ...

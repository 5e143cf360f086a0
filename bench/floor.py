"""The floor under the server's CPU: capture and encoding alone, no transport, nothing of ours.

    Xvfb :50 -screen 0 1280x720x24 &  DISPLAY=:50 python -m downstage.apps.test_card --fps 60 &
    DISPLAY=:50 python bench/floor.py

Prints the CPU of this process while pixelflux captures and encodes the card, callbacks dropped.
"""

from __future__ import annotations

import time

import pixelflux

SECONDS = 5.0


def measure(name: str, **changes: object) -> None:
    """One arrangement, after a second and a half to settle."""
    settings = pixelflux.CaptureSettings()
    settings.capture_width, settings.capture_height = 1280, 720
    settings.target_fps, settings.codec = 60.0, "h264"
    settings.video_fullframe = settings.omit_stripe_headers = True
    settings.video_cbr_mode, settings.video_bitrate_kbps = True, 8000
    for key, value in changes.items():
        setattr(settings, key, value)
    frames, size = 0, 0

    def arrived(frame: pixelflux.StripeFrame) -> None:
        nonlocal frames, size
        frames, size = frames + 1, size + len(frame)

    capture = pixelflux.ScreenCapture()
    capture.start_capture(arrived, settings)
    time.sleep(1.5)
    frames = size = 0
    cpu, began = time.process_time(), time.monotonic()
    time.sleep(SECONDS)
    passed = time.monotonic() - began
    share = (time.process_time() - cpu) / passed * 100
    rate, kbps = frames / passed, size * 8 / passed / 1000
    capture.stop_capture()
    print(f"{name:22} {share:5.1f} % of a core  {rate:5.1f} fps  {kbps:6.0f} kbps")


def main() -> None:
    """The arrangement we use, and what would change it."""
    measure("8000 kbps, CBR")
    measure("4000 kbps, CBR", video_bitrate_kbps=4000)
    measure("one reference", video_reference_frames=1)
    measure("one thread", cpu_encode_threading=False)


if __name__ == "__main__":
    main()

"""What the capture library takes by itself on a still screen: the floor under the streamer.

    DISPLAY=:50 python tests/real/streamer/library_alone.py

Prints the processor seconds of three seconds, with the streamer's own settings and nothing else of
it, once the picture has been painted over and rests.
"""

from __future__ import annotations

import asyncio
import time

from downstage.media.frame import Size
from downstage.media.source.capture import Capture, CaptureOptions

SETTLE_S = 3.0
MEASURE_S = 3.0


async def main() -> None:
    """Capture, let it settle, measure."""
    options = CaptureOptions(
        codec="h264",
        size=Size(1280, 720),
        fps=60,
        bitrate_kbps=8000,
        encoder="auto",
        wayland=False,
    )
    capture = Capture(options, lambda _frame: None)
    await capture.start()
    await asyncio.sleep(SETTLE_S)
    began = time.process_time()
    await asyncio.sleep(MEASURE_S)
    print(f"FLOOR {time.process_time() - began:.3f}", flush=True)
    await capture.stop()


if __name__ == "__main__":
    asyncio.run(main())

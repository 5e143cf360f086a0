"""Push a webcam, or a moving picture where there is none, into a stream.

The camera needs OpenCV (``pip install opencv-python-headless``).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from downstage.kernel.errors import PlatformError
from downstage.streams import Client

Frame = Callable[[], Any]
"""Takes the next picture: height × width × 3, BGR, as OpenCV has it."""


@contextlib.contextmanager
def camera(number: int, size: tuple[int, int]) -> Generator[Frame | None]:
    """The camera, if there is one that gives pictures."""
    try:
        import cv2
    except ImportError:
        yield None
        return
    opened = cv2.VideoCapture(number)
    opened.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    opened.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    try:
        yield (lambda: opened.read()[1]) if opened.isOpened() and opened.read()[0] else None
    finally:
        opened.release()


def pattern(size: tuple[int, int]) -> Frame:
    """What to show without a camera: colours that wander, and a clock."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    font = ImageFont.load_default(height // 8)
    numbers = itertools.count()

    def take() -> Any:
        number = next(numbers)
        frame = np.empty((height, width, 3), np.uint8)
        frame[:, :, 0] = x * 255 // width
        frame[:, :, 1] = (y + 2 * number) % height * 255 // height
        frame[:, :, 2] = (x + y + 3 * number) % 256
        image = Image.fromarray(frame)
        text = time.strftime("%H:%M:%S") + f"\nframe {number}"
        ImageDraw.Draw(image).text((width / 2, height / 2), text, (255, 255, 255), font, "mm")
        return np.asarray(image)

    return take


def main() -> None:
    """Push until Ctrl-C, or for so long."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("server", nargs="?", help="http(s)://host:port; else the one running here")
    words.add_argument("--stream", default="webcam")
    words.add_argument("--camera", type=int, default=0)
    words.add_argument("--size", default="640x480")
    words.add_argument("--fps", type=float, default=30)
    words.add_argument("--seconds", type=float, default=float("inf"))
    words.add_argument("--pattern", action="store_true", help="even where there is a camera")
    asked = words.parse_args()
    width, height = (int(part) for part in asked.size.split("x"))

    with Client(asked.server) as client, camera(asked.camera, (width, height)) as found:
        take = pattern((width, height)) if asked.pattern or found is None else found
        what = "a test picture" if take is not found else f"camera {asked.camera}"
        # Live pictures are worth nothing when they are late: those that cannot leave give way.
        with client.push(asked.stream, when_full="drop", in_flight=4 << 20) as push:
            print(f"Pushing {what} to {asked.stream} at {client.url}. Ctrl-C ends it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):  # what was sent is stored, too
                began = time.monotonic()
                for number in itertools.count():
                    due = number / asked.fps
                    if due > asked.seconds:
                        break
                    time.sleep(max(0.0, began + due - time.monotonic()))
                    push.send_image(take(), time=time.time())
        print(f"{push.stored} pictures are stored, {push.dropped} were dropped.", flush=True)


if __name__ == "__main__":
    try:
        main()
    except PlatformError as error:
        raise SystemExit(f"{error.detail}") from error

"""Pictures to push: a test pattern that moves, or a camera. Both block."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from downstage.kernel.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["MAX_SIDE", "opened_camera", "size_of_picture", "test_pattern"]

MAX_SIDE = 4096
SIZE = re.compile(r"(\d{2,4})x(\d{2,4})")
BARS = ((192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0), (192, 0, 192), (192, 0, 0))
BALL = (255, 140, 40)


def size_of_picture(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` as numbers.

    Raises:
        SetupError: it is not that.
    """
    found = SIZE.fullmatch(text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (16 <= width <= MAX_SIDE and 16 <= height <= MAX_SIDE):  # noqa: PLR2004
        raise SetupError(f"--size is WIDTHxHEIGHT, for example 640x480, not {text}.")
    return width, height


def test_pattern(width: int, height: int) -> Callable[[int], NDArray[Any]]:
    """What draws picture *number* of a moving picture: colour bars, a clock, a ball."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    bars = np.zeros((height, width, 3), np.uint8)
    for at, colour in enumerate(BARS):
        bars[:, at * width // len(BARS) : (at + 1) * width // len(BARS)] = colour
    bars[height * 3 // 4 :] = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None]
    ground = Image.fromarray(bars)
    font = ImageFont.load_default(max(12, height // 12))
    radius = max(6, height // 10)

    def draw(number: int) -> NDArray[Any]:
        image = ground.copy()
        pen = ImageDraw.Draw(image)
        angle = number / 30 * 2
        x = width / 2 + (width / 2 - radius) * math.sin(angle)
        y = height * 0.45 - abs(math.cos(angle * 1.7)) * height * 0.3
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=BALL)
        now = time.time()
        clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
        at = (width / 2, height * 0.62)
        pen.text(at, f"{clock}  #{number}", fill=(0, 0, 0), font=font, anchor="mm")
        return np.asarray(image)

    return draw


@contextmanager
def opened_camera(named: str, size: tuple[int, int]) -> Generator[Callable[[], NDArray[Any]]]:
    """What takes the next picture of a camera, in BGR.

    Raises:
        SetupError: there is no OpenCV, or no such camera.
    """
    try:
        import cv2
    except ImportError as error:
        raise SetupError(
            "A camera needs OpenCV: pip install opencv-python-headless. Without one there is "
            "--test-pattern."
        ) from error
    camera = cv2.VideoCapture(int(named) if named.isdigit() else named)
    camera.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
    camera.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])

    def take() -> NDArray[Any]:
        is_there, frame = camera.read()
        if not is_there:
            raise SetupError(f"The camera {named} gives no pictures. Is another program using it?")
        return frame

    try:
        if not camera.isOpened():
            raise SetupError(
                f"There is no camera {named} that can be opened; ls /dev/video* shows what there "
                "is. Without one there is --test-pattern."
            )
        yield take
    finally:
        camera.release()

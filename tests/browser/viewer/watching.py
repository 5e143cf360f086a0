"""The data page in a Chromium of its own, and what is pushed for it: a camera, and readings."""

from __future__ import annotations

import asyncio
import io
import json
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from PIL import Image, ImageDraw
from tests.browser.viewer.signed_in import SignedInPage
from tests.browser.viewer.tabs import Tab
from websockets.asyncio.client import connect

from downstage.testing.platform import PlatformProcess

SIZE = (1280, 800)
FPS = 30
PICTURE = (320, 240)
FRAMES = 64


class DataPage(SignedInPage):
    """The page as somebody who is signed in sees it."""

    async def go(self, path: str) -> None:
        """Open *path*, signed in as the platform's user."""
        await self.open(path)
        await self.until("!!document.querySelector('.data main')")

    async def press(self, words: str, within: str = "document") -> None:
        """Press the button with exactly these *words*, or this label."""
        find = (
            f"[...{within}.querySelectorAll('button, summary')].find(b => b.innerText.trim() === "
            f"{words!r} || b.ariaLabel === {words!r})"
        )
        await self.until(f"!!{find} && !{find}.disabled")
        await self.browser.evaluate(f"{find}.click()")

    async def fill(self, value: str) -> None:
        """Type into the question that is open."""
        await self.until("!!document.querySelector('dialog[open] input')")
        await self.browser.evaluate(f"document.querySelector('dialog input').value = {value!r}")

    async def drawn(self, stream: str) -> int:
        """Pictures of *stream* that were drawn so far."""
        found = await self.browser.evaluate(
            f"{tile(stream)}.querySelector('.picture').dataset.drawn"
        )
        return int(found or 0)

    async def look(self, stream: str, kind: str) -> None:
        """Show *stream* in another way."""
        await self.browser.evaluate(
            f"(() => {{ const choice = {tile(stream)}.querySelector('select');"
            f"choice.value = {kind!r}; choice.dispatchEvent(new Event('change')); }})()"
        )

    async def seek(self, position_ms: int) -> None:
        """Move the slider."""
        await self.browser.evaluate(
            "(() => { const bar = document.querySelector('.bar input');"
            f"bar.value = '{position_ms}'; bar.dispatchEvent(new Event('input')); }})()"
        )

    async def colour(self, stream: str) -> list[int]:
        """What the picture's middle shows: red, green, blue."""
        return await self.browser.evaluate(
            f"""(() => {{ const canvas = {tile(stream)}.querySelector('canvas');
            return [...canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2,
              1, 1).data].slice(0, 3); }})()"""
        )


def tile(stream: str) -> str:
    return f"document.querySelector('.tile[data-stream={json.dumps(stream)}]')"


@asynccontextmanager
async def data_page(
    platform: PlatformProcess, path: str = "/watch", size: tuple[int, int] = SIZE
) -> AsyncGenerator[DataPage]:
    async with Tab(size) as browser:
        page = DataPage(browser, platform)
        await page.go(path)
        yield page


class Camera:
    """Pushes pictures like those of a webcam, each of another colour, until it is stopped."""

    def __init__(self, platform: PlatformProcess, stream: str) -> None:
        self.platform, self.stream = platform, stream
        self.pushed = 0

    async def run(self) -> None:
        pictures = [frame(number) for number in range(FRAMES)]

        def next_picture(number: int) -> bytes:
            self.pushed = number + 1
            return pictures[number % FRAMES]

        await pushing(self.platform, self.stream, "image/jpeg", FPS, next_picture)


async def pushing(
    platform: PlatformProcess,
    stream: str,
    kind: str,
    rate: float,
    make: Callable[[int], bytes],
) -> None:
    platform.call("PUT", f"/v1/streams/{stream}", {"content_type": kind})
    address = f"{platform.url.replace('http', 'ws', 1)}/v1/streams/{stream}/push"
    headers = {"authorization": f"Bearer {platform.facts['token']}"}
    async with connect(address, additional_headers=headers, compression=None) as socket:
        began, number = time.monotonic(), 0
        while True:
            await socket.send(make(number))
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))


def frame(number: int) -> bytes:
    """A JPEG whose middle has a colour of its own."""
    share = number / FRAMES
    image = Image.new("RGB", PICTURE, (32, 40, 56))
    draw = ImageDraw.Draw(image)
    draw.rectangle((80, 60, 240, 180), fill=(int(255 * share), 160, int(255 * (1 - share))))
    at = 160 + int(110 * math.cos(share * math.tau))
    draw.ellipse((at - 18, 190, at + 18, 226), fill=(240, 179, 91))
    body = io.BytesIO()
    image.save(body, "JPEG", quality=85)
    return body.getvalue()


def readings(number: int) -> bytes:
    t = number / 50
    return json.dumps({"t": t, "x": math.sin(t), "y": math.cos(t)}).encode()


@asynccontextmanager
async def camera(platform: PlatformProcess, stream: str) -> AsyncGenerator[Camera]:
    made = Camera(platform, stream)
    running = [
        asyncio.create_task(made.run()),
        asyncio.create_task(pushing(platform, f"{stream}.imu", "application/json", 50, readings)),
    ]
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

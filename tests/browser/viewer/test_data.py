"""The data page: what a person sees of streams, recordings and replays."""

from __future__ import annotations

import asyncio
import io
import os
import urllib.request
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import pytest
from PIL import Image

from downstage.contracts.video import H264, Unit
from downstage.testing.platform import PlatformProcess

from .signed_in import TEXT
from .tabs import Tab
from .watching import (
    FPS,
    PICTURE,
    SIZE,
    Camera,
    DataPage,
    camera,
    data_page,
    pushing,
    tile,
)

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(180)]

PHONE = (390, 844)
LEAST_SHARE = 0.9
"""Of the pictures that were pushed: so many are drawn."""
WATCHED_S = 1.5
TRIES = 10


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots are kept: pytest's own folder of this test, or the one that is named."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def recorded_middle(platform: PlatformProcess, name: str, stream: str, at: int) -> tuple[int, ...]:
    """The colour in the middle of the picture that the recording holds at *at*."""
    image = Image.open(io.BytesIO(recorded_bytes(platform, name, stream, at))).convert("RGB")
    return cast("tuple[int, ...]", image.getpixel((PICTURE[0] // 2, PICTURE[1] // 2)))


def recorded_bytes(platform: PlatformProcess, name: str, stream: str, at: int) -> bytes:
    """The entry that the recording holds at *at*."""
    address = (
        f"{platform.url}/v1/recordings/{name}/entries?streams={stream}&how=previous&at={at}-99"
    )
    request = urllib.request.Request(
        address, headers={"authorization": f"Bearer {platform.facts['token']}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


@pytest.fixture
def recording(platform: PlatformProcess) -> Iterator[str]:
    name = "kitchen"
    yield name
    platform.call("DELETE", f"/v1/recordings/{name}")


async def test_who_has_no_streams_is_told_how_to_push(
    platform: PlatformProcess, shots: Path
) -> None:
    for name in platform.call("GET", "/v1/streams").body["items"]:  # of the tests before
        platform.call("DELETE", f"/v1/streams/{name}")
    async with data_page(platform) as page:
        await page.until(f"{TEXT}.includes('No streams yet')")
        shown = await page.browser.evaluate("document.querySelector('.snippets pre').innerText")
        assert f"{platform.url}/v1/streams/" in shown
        assert platform.facts["token"] not in await page.browser.evaluate("document.body.innerHTML")
        await page.browser.screenshot(shots / "data-empty.png")
        # What is to be copied is what works.
        await page.press("curl")
        await page.until(
            "document.querySelector('.snippets pre').innerText.includes('$DOWNSTAGE_')"
        )
        answer = platform.call("POST", "/v1/streams/demo.wave/entries", {"x": 1.5})
        assert answer.status == 201, answer
        await page.until("!!document.querySelector('.stream[title=\"demo.wave\"]')")
        platform.call("DELETE", "/v1/streams/demo.wave")
        await page.until("!document.querySelector('.stream')")
        assert page.browser.console == []


async def test_a_camera_is_watched_recorded_scrubbed_and_replayed(
    platform: PlatformProcess, shots: Path, recording: str
) -> None:
    async with data_page(platform) as page:
        async with camera(platform, "cam") as pushed:
            await page.until("!!document.querySelector('.stream[title=cam]')")
            await page.browser.evaluate("document.querySelector('.stream[title=cam]').click()")
            await page.until(f"{tile('cam')}?.dataset.kind === 'picture'")
            await page.until(f"Number({tile('cam')}.querySelector('.picture').dataset.drawn) > 5")
            shares = await watched(page, pushed)
            assert max(shares) >= LEAST_SHARE, shares
            await page.look("cam", "film")
            await page.until(f"{tile('cam')}.querySelector('video')?.currentTime > 0.3")
            await page.look("cam", "picture")
            await page.until(f"Number({tile('cam')}.querySelector('.picture')?.dataset.drawn) > 2")
            await page.browser.evaluate(
                "document.querySelector('.stream[title=\"cam.imu\"]').click()"
            )
            await page.until(f"{tile('cam.imu')}?.dataset.kind === 'plot'")
            await page.until(f"{tile('cam.imu')}.querySelectorAll('canvas').length > 0")
            await page.press("Record")
            await page.fill("no/slash")
            await page.press("Start recording")
            await page.until(f"{TEXT}.includes('A name has letters')")
            await page.fill(recording)
            await page.press("Start recording")
            await page.until(f"{TEXT}.includes('{recording} is being recorded')")
            before = pushed.pushed
            while pushed.pushed < before + 3 * FPS:
                await asyncio.sleep(0.05)
            await page.browser.screenshot(shots / "data-live.png")
            await page.press("Stop")
            await page.until(f"!{TEXT}.includes('is being recorded')")
            view = platform.call("GET", f"/v1/recordings/{recording}").body
            assert view["state"] == "stored"
        await page.browser.evaluate("document.querySelector('.recordings .open').click()")
        await page.until("!!document.querySelector('.bar')")
        await page.until(f"{tile('cam')}?.dataset.kind === 'picture'")
        assert await where(page) == f"/watch/recordings/{recording}/cam+cam.imu"
        await scrubbed(page, recording, view)
        await page.browser.screenshot(shots / "data-recording.png")
        await played(page, view)
        await replayed(page, recording)
        await taken_in(page, recording)
        await page.press("More for kitchen")
        await page.press("Delete")
        await page.press("Delete", "document.querySelector('dialog[open]')")
        await page.until("location.pathname === '/watch'")
        await page.until(f"!{TEXT}.includes('{recording}')")
        assert page.browser.console == []


async def where(page: DataPage) -> str:
    return await page.browser.evaluate("location.pathname")


async def watched(page: DataPage, pushed: Camera) -> list[float]:
    """Shares of the pushed pictures that were drawn, until one is enough."""
    shares = list[float]()
    while len(shares) < TRIES and max(shares, default=0) < LEAST_SHARE:
        drawn, sent = await page.drawn("cam"), pushed.pushed
        await asyncio.sleep(WATCHED_S)
        shares.append((await page.drawn("cam") - drawn) / (pushed.pushed - sent))
    return shares


async def scrubbed(page: DataPage, recording: str, view: dict[str, Any]) -> None:
    """What is shown is what the recording holds at that time."""
    start = int(view["first_id"].split("-")[0])
    for share in (0.8, 0.2, 0.55):
        position = int(view["duration_s"] * 1000 * share)
        await page.seek(position)
        held = recorded_middle(page.platform, recording, "cam", start + position)
        drawn = await page.until(
            f"""(() => {{ const canvas = {tile("cam")}.querySelector('canvas');
            const [r, g, b] = canvas.getContext('2d').getImageData(160, 120, 1, 1).data;
            return Math.abs(r - {held[0]}) + Math.abs(b - {held[2]}) < 10 && [r, g, b]; }})()"""
        )
        assert len(drawn) == 3
    before = await page.colour("cam")
    await page.press("Next entry")
    await page.press("Next entry")
    await page.browser.evaluate("document.activeElement?.blur()")
    for _ in range(6):  # the readings have entries between two pictures
        await page.press("Next entry")
    await page.until(
        f"""(() => {{ const canvas = {tile("cam")}.querySelector('canvas');
        const [r] = canvas.getContext('2d').getImageData(160, 120, 1, 1).data;
        return r !== {before[0]}; }})()"""
    )


async def played(page: DataPage, view: dict[str, Any]) -> None:
    """From there to its end, nothing left out, and then it stands still."""
    length = int(view["duration_s"] * 1000)
    await page.seek(length - 2000)
    await page.until("document.querySelector('.bar [role=status]').innerText === ''")
    await page.until(f"{tile('cam')}.querySelector('.picture').dataset.drawn > 0")
    drawn = await page.drawn("cam")
    await page.press("Play")
    await page.until("!!document.querySelector('.bar .play[aria-label=Pause]')")
    await page.until("!!document.querySelector('.bar .play[aria-label=Play]')")
    assert await page.drawn("cam") - drawn >= 2 * FPS * LEAST_SHARE - 2
    shown = await page.browser.evaluate("document.querySelector('.bar input').value")
    assert int(shown) == length


async def replayed(page: DataPage, recording: str) -> None:
    """Pushed again, in time, under other names."""
    await page.press("Replay into streams …")
    await page.press("Start")
    await page.until("!!document.querySelector('.replay progress')")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20
    while True:
        answer = await asyncio.to_thread(page.platform.call, "GET", "/v1/streams?pattern=replay.*")
        if "replay.cam" in answer.body["items"]:
            break
        assert loop.time() < deadline, answer
        await asyncio.sleep(0.1)
    await page.press("Stop", "document.querySelector('.replays')")
    await page.until("!document.querySelector('.replay')")


async def taken_in(page: DataPage, recording: str) -> None:
    """A copy comes in as a file, and holds as much."""
    await page.browser.evaluate(
        f"""(async () => {{
          const {{ token }} = JSON.parse(sessionStorage.getItem('downstage.token'));
          const headers = {{ authorization: `Bearer ${{token}}` }};
          const answer = await fetch('/v1/recordings/{recording}/file', {{ headers }});
          const held = new DataTransfer();
          held.items.add(new File([await answer.blob()], 'The copy.mcap'));
          const input = document.querySelector('.recordings input[type=file]');
          input.files = held.files;
          input.dispatchEvent(new Event('change'));
        }})()"""
    )
    await page.press("Take in", "document.querySelector('dialog[open]')")
    await page.until("!!document.querySelector('[aria-label=\"More for The-copy\"]')")
    copy = page.platform.call("GET", "/v1/recordings/The-copy").body
    assert copy["imported"]
    own = page.platform.call("GET", f"/v1/recordings/{recording}").body
    assert [s["entries"] for s in copy["streams"]] == [s["entries"] for s in own["streams"]]
    page.platform.call("DELETE", "/v1/recordings/The-copy")
    await page.until(f"!{TEXT}.includes('The-copy')")


async def test_coded_video_of_a_recording_is_decoded_from_any_place(
    platform: PlatformProcess,
) -> None:
    units = coded(90)
    name, stream = "coded", "door.video"
    task = asyncio.create_task(pushing(platform, stream, H264, 60, lambda n: units[n % 90]))
    try:
        while stream not in platform.call("GET", "/v1/streams").body["items"]:
            await asyncio.sleep(0.05)
        platform.call("POST", "/v1/recordings", {"name": name, "streams": [stream]})
        while recorded_entries(platform, name) < 2 * len(units):
            await asyncio.sleep(0.05)
        view = platform.call("POST", f"/v1/recordings/{name}/stop").body
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    start = int(view["first_id"].split("-")[0])
    async with data_page(platform, f"/watch/recordings/{name}") as page:
        await page.until(f"{tile(stream)}?.dataset.kind === 'film'")
        await page.until("!!document.querySelector('.bar input')")
        for share in (0.9, 0.7, 0.95):
            position = int(view["duration_s"] * 1000 * share)
            await page.seek(position)
            held = Unit.unpack(recorded_bytes(platform, name, stream, start + position))
            assert held is not None
            red, blue = shade(held.sequence % 90)
            await page.until(
                f"""(() => {{ const canvas = {tile(stream)}.querySelector('canvas');
                const [r, g, b] = canvas.getContext('2d').getImageData(80, 60, 1, 1).data;
                return Math.abs(r - {red}) + Math.abs(b - {blue}) < 24; }})()"""
            )
        assert page.browser.console == []
    platform.call("DELETE", f"/v1/recordings/{name}")


def recorded_entries(platform: PlatformProcess, name: str) -> int:
    view = platform.call("GET", f"/v1/recordings/{name}").body
    return sum(stream["entries"] for stream in view["streams"])


def shade(number: int) -> tuple[int, int]:
    """Red and blue of a coded picture."""
    return 20 + number * 2, 220 - number * 2


def coded(count: int) -> list[bytes]:
    """Pictures of one colour each as H.264, whole ones every 30, as entries."""
    encoder = cast("Any", av.CodecContext.create("libx264", "w"))
    encoder.width, encoder.height, encoder.pix_fmt = 160, 120, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 60), 30
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "qp": "18"}
    entries = list[bytes]()
    for number in range(count):
        red, blue = shade(number)
        picture = av.VideoFrame.from_image(Image.new("RGB", (160, 120), (red, 120, blue)))
        picture.pts = number
        for packet in encoder.encode(picture.reformat(format="yuv420p")):
            unit = Unit(bytes(packet), number * 16_667, number, key=bool(packet.is_keyframe))
            entries.append(unit.pack())
    assert len(entries) == count
    return entries


async def test_the_page_fits_a_phone_and_says_what_is_wrong(
    platform: PlatformProcess, shots: Path
) -> None:
    async with data_page(platform, "/watch/no-such-stream", PHONE) as page:
        await page.until(f"{TEXT}.includes('no stream no-such-stream')")
        width = "document.documentElement.scrollWidth <= innerWidth"
        assert await page.browser.evaluate(width)
        async with camera(platform, "phone"):
            await page.go("/watch/phone+phone.imu")
            await page.until(
                f"Number({tile('phone')}?.querySelector('.picture')?.dataset.drawn) > 2"
            )
            assert await page.browser.evaluate(width)
            await page.browser.screenshot(shots / "data-phone.png")
            await page.press("Close phone")
            await page.until("location.pathname === '/watch/phone.imu'")


async def test_who_is_not_signed_in_signs_in_first(platform: PlatformProcess) -> None:
    async with Tab(SIZE) as browser:
        page = DataPage(browser, platform)
        await browser.navigate(f"{platform.url}/watch/cam")
        await page.until(f"{TEXT}.includes('Sign in')")

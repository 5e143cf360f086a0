"""Processes are killed, links are cut: sessions resume or end with the reason, nothing is left."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from measuring.browser import Browser

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.chaos, pytest.mark.anyio, pytest.mark.timeout(180)]

VIEWER = "document.querySelector('downstage-viewer')"
Start = Callable[..., PlatformProcess]
PATIENCE_S = 2
"""For the next pictures: longer than that would be an interruption."""


def pid_of(platform: PlatformProcess, marker: str) -> int:
    """The youngest process of the platform whose command line names *marker*."""
    found = [pid for pid, command in platform.processes().items() if marker in command]
    assert found, f"no process with {marker}: {platform.processes()}"
    return max(found)


@asynccontextmanager
async def watching(url: str) -> AsyncGenerator[Browser]:
    async with Browser((1280, 720)) as browser:
        await browser.navigate(url)
        await frames_beyond(browser, 30, 20)
        yield browser


async def frames_beyond(browser: Browser, count: int, seconds: float) -> float:
    """Seconds until more than *count* pictures were decoded."""
    began = time.monotonic()
    while (await frames(browser)) <= count:
        if time.monotonic() - began > seconds:
            state = await browser.evaluate(f"JSON.stringify({VIEWER}?.state)")
            pytest.fail(f"no picture for {seconds} s: {state} {browser.console}")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def frames(browser: Browser) -> int:
    found = await browser.evaluate(f"{VIEWER}?.stats().then(s => s.decodedFrames)")
    return int(found or 0)


async def test_S04_a_restart_of_the_platform_interrupts_no_picture(start: Start) -> None:
    platform = start()
    session = platform.create("test-card")
    streamer = pid_of(platform, "downstage.streamer")
    link = platform.link(session["id"], transport="webrtc", resolution="1280x720")
    async with watching(link) as browser:
        # A new transport would count anew: it is one and the same while the numbers grow.
        seen = await frames(browser)
        await asyncio.to_thread(platform.kill)
        for _ in range(3):  # nothing else runs: these come from the streamer alone
            await frames_beyond(browser, seen := seen + 10, PATIENCE_S)
        starting = asyncio.create_task(asyncio.to_thread(platform.start))
        while not starting.done():
            await frames_beyond(browser, seen := seen + 10, PATIENCE_S)
        await starting
        for _ in range(4):
            assert await frames(browser) >= seen, "it is one and the same transport"
            await frames_beyond(browser, seen := await frames(browser) + 20, PATIENCE_S)
        again = platform.call("GET", f"/v1/sessions/{session['id']}").body
    assert again["state"] == "active"
    assert "downstage.streamer" in platform.processes().get(streamer, "gone")


async def test_S04_without_its_platform_an_instance_ends(
    start: Start, gone: Callable[[str, float], float]
) -> None:
    platform = start()
    platform.create("test-card")
    platform.kill()
    assert gone(str(platform.data), 12) < 12


async def test_ctrl_c_ends_everything_in_three_seconds(
    start: Start, gone: Callable[[str, float], float]
) -> None:
    times = list[float]()
    for _ in range(3):  # the best of some: the machine is shared
        platform = start()
        platform.create("test-card")
        times.append(platform.stop() + gone(str(platform.data), 10))
        if times[-1] <= 3:
            break
    assert min(times) <= 3


async def test_S04_an_x11_picture_survives_its_streamer(start: Start) -> None:
    platform = start()
    session = platform.create("test-card")
    link = platform.link(session["id"], resolution="1280x720")
    async with watching(link) as browser:
        took_s = list[float]()
        for _ in range(3):  # the best of some: the machine is shared
            os.kill(pid_of(platform, "downstage.streamer"), signal.SIGKILL)
            await asyncio.sleep(0.5)
            before, began = await frames(browser), time.monotonic()
            # A new transport counts anew: either more frames than before, or some at all.
            while not 0 < await frames(browser) < before and await frames(browser) <= before + 5:
                assert time.monotonic() - began < 30, "no picture"
                await asyncio.sleep(0.05)
            took_s.append(time.monotonic() - began)
            assert platform.wait_state(session["id"], "active")
            if took_s[-1] < 5:
                break
        assert min(took_s) < 5, took_s


async def test_S04_a_wayland_session_ends_with_its_streamer(start: Start, data: Any) -> None:
    folder = data / "apps" / "wayland-card"
    folder.mkdir(parents=True)
    (folder / "application.toml").write_text(
        'name = "wayland-card"\ntitle = "Card"\ndisplay = "wayland"\n'
        'command = ["{python}", "-m", "downstage.apps.test_card"]\n'
        '[environment]\nSDL_VIDEODRIVER = "wayland"\n',
    )
    platform = start("--app-folder", str(data / "apps"))
    session = platform.create("wayland-card")
    os.kill(pid_of(platform, "downstage.streamer"), signal.SIGKILL)
    ended = platform.wait_state(session["id"], "ended", deadline_s=10)
    assert (ended["outcome"], ended["reason"]) == ("failed", "streamer-died")


async def test_S04_an_application_that_exits_fails_its_session(start: Start) -> None:
    platform = start()
    session = platform.create("test-card")
    os.kill(pid_of(platform, "downstage.apps.test_card"), signal.SIGKILL)
    ended = platform.wait_state(session["id"], "ended", deadline_s=10)
    assert (ended["outcome"], ended["reason"]) == ("failed", "application-exited")
    assert ended["detail"]


async def test_fifty_creates_on_four_places(start: Start) -> None:
    """Four run, the rest, who would not wait, are told to come back."""
    platform = start("--capacity", "4")

    def create(_: int) -> Any:
        body = {"application": "test-card", "wait": False}
        return platform.call("POST", "/v1/sessions", body)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(create, range(50)))
    made = [answer for answer in answers if answer.status == 201]
    refused = [answer for answer in answers if answer.status == 503]
    assert (len(made), len(refused)) == (4, 46)
    assert all(answer.headers["retry-after"] for answer in refused)
    for answer in made:
        platform.call("DELETE", f"/v1/sessions/{answer.body['id']}")
    for answer in made:
        platform.wait_state(answer.body["id"], "ended")
    assert not [c for c in platform.processes().values() if "downstage.streamer" in c]
    assert platform.create("test-card")


async def test_S06_who_waits_gets_the_next_place(start: Start) -> None:
    platform = start("--capacity", "1")
    first = platform.create("test-card")
    waiting = platform.call("POST", "/v1/sessions", {"application": "test-card"})
    assert (waiting.status, waiting.body["state"], waiting.body["position"]) == (201, "queued", 1)
    platform.call("DELETE", f"/v1/sessions/{first['id']}")
    platform.wait_state(first["id"], "ended")
    assert platform.wait_state(waiting.body["id"], "ready", "active")["position"] is None
    platform.call("DELETE", f"/v1/sessions/{waiting.body['id']}")
    platform.wait_state(waiting.body["id"], "ended")
    assert not [c for c in platform.processes().values() if "downstage.streamer" in c]

"""Mouse, wheel and keys of a person at the page reach the application, and let go of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

HERE = Path(__file__).parent
TRANSPORTS = ["webrtc", "websocket"]
KEY_Q, SHIFT = 20, 225
"""Places on a keyboard, as USB counts them."""
Opener = Callable[..., AbstractAsyncContextManager[Any]]


class Witness:
    """A session of an application that writes down what reaches it."""

    def __init__(self, platform: PlatformProcess) -> None:
        self._platform = platform
        before = self._logs()
        self.session: str = platform.create("witness", display={"width": 1280, "height": 720})["id"]

        (self._log,) = self._logs() - before

    def _logs(self) -> set[Path]:
        return set((self._platform.data / "run").glob("*/app.log"))

    def link(self, transport: str) -> str:
        return self._platform.link(self.session, transport=transport, resolution="1280x720")

    def events(self, kind: str) -> list[list[Any]]:
        """Everything of *kind* so far, without that word."""
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("[")]
        return [words[1:] for words in map(json.loads, lines) if words[0] == kind]

    async def until(self, kind: str, *wanted: list[Any], seconds: float = 3) -> None:
        """Until the newest events of *kind* are *wanted*."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.events(kind)[-len(wanted) :] != list(wanted):
            if asyncio.get_running_loop().time() > deadline:
                pytest.fail(f"wanted {kind} {wanted}, came {self.events(kind)[-8:]}")
            await asyncio.sleep(0.05)

    def end(self) -> None:
        self._platform.call("DELETE", f"/v1/sessions/{self.session}")
        self._platform.wait_state(self.session, "ended")


@pytest.fixture(scope="module")
def platform() -> Iterator[PlatformProcess]:
    """One that knows the witness too."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    try:
        with PlatformProcess(folder / "d", "--app-folder", str(HERE)) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def witness(platform: PlatformProcess) -> Iterator[Witness]:
    made = Witness(platform)
    yield made
    made.end()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_key_is_counted_in_the_picture(
    platform: PlatformProcess, open_page: Opener, transport: str
) -> None:
    made = platform.create("test-card", display={"width": 1280, "height": 720})
    link = platform.link(made["id"], transport=transport, resolution="1280x720")
    async with open_page(link) as page:
        await page.until("window.downstageProbe.first !== null")
        await page.until_playing()
        await page.click(*await page.browser.probe("p.middle()"))
        await page.until("window.downstageProbe.presses === 1", 3)
        for count in (2, 3, 4):
            await page.key("KeyG", "g", down=True)
            await page.key("KeyG", "g", down=False)
            await page.until(f"window.downstageProbe.presses === {count}", 3)
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_pointer_wheel_and_keys_reach_the_application(
    witness: Witness, open_page: Opener, transport: str
) -> None:
    async with open_page(witness.link(transport)) as page:
        await page.until_playing()
        await page.click(640, 360)
        await witness.until("button", [1, True, 640, 360], [1, False, 640, 360])
        await page.browser.mouse("mouseMoved", 1000, 200)
        await witness.until("pointer", [1000, 200])
        await page.browser.mouse("mouseWheel", 1000, 200, deltaX=0, deltaY=100)
        await witness.until("wheel", [0, -1])
        await page.browser.mouse("mouseWheel", 1000, 200, deltaX=0, deltaY=-100)
        await witness.until("wheel", [0, -1], [0, 1])
        await page.key("KeyQ", "q", down=True)
        await page.key("KeyQ", "q", down=False)
        await witness.until("key", [KEY_Q, True, "q"], [KEY_Q, False, "q"])


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_another_layout_types_its_own_letters(
    witness: Witness, open_page: Opener, transport: str
) -> None:
    """The key beside Tab is Q in the US; what another layout has there arrives all the same."""
    async with open_page(witness.link(transport)) as page:
        await page.until_playing()
        await page.click(640, 360)
        for key in ("a", "é", "ж"):
            await page.key("KeyQ", key, down=True)
            await page.key("KeyQ", key, down=False)
        await witness.until("text", ["a"], ["é"], ["ж"])


@pytest.mark.parametrize("end", ["left", "killed"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_that_is_gone_lets_go(
    witness: Witness, open_page: Opener, transport: str, end: str
) -> None:
    async with open_page(witness.link(transport)) as page:
        await page.until_playing()
        await page.press(300, 300)
        await page.key("ShiftLeft", "Shift", down=True)
        await witness.until("key", [SHIFT, True, ""])
        await witness.until("button", [1, True, 300, 300])
        if end == "killed":
            page.browser.process.kill()
        else:
            await page.browser.navigate("about:blank")
        await witness.until("key", [SHIFT, True, ""], [SHIFT, False, ""], seconds=5)
        await witness.until("button", [1, True, 300, 300], [1, False, 300, 300], seconds=5)
    async with open_page(witness.link(transport)) as page:
        await page.until_playing()
        await page.click(500, 400)
        await witness.until("button", [1, True, 500, 400], [1, False, 500, 400])
    assert len(witness.events("button")) == 4

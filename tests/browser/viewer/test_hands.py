"""Mouse, wheel and keys of a person at the page reach the application, and let go of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.browser.witness import Witness

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

TRANSPORTS = ["webrtc", "websocket"]
KEY_Q, SHIFT = 20, 225
"""Places on a keyboard, as USB counts them."""
LET_GO_S = 15
"""The connection itself tells after half a minute: what lets go sooner is that the page is gone."""
Opener = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="module")
def listening(platform: PlatformProcess) -> Iterator[Witness]:
    """One session for all of them."""
    made = Witness(platform, {"width": 1280, "height": 720, "fps": 30})
    yield made
    made.end()


@pytest.fixture
def witness(listening: Witness) -> Witness:
    """Which has forgotten what came before."""
    listening.forget()
    return listening


def link_of(platform: PlatformProcess, session: str, transport: str) -> str:
    return platform.link(session, transport=transport, resolution="1280x720")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_key_is_counted_in_the_picture(
    platform: PlatformProcess, open_page: Opener, transport: str
) -> None:
    display = {"width": 1280, "height": 720, "fps": 20}
    made = platform.create("test-card", display=display)
    async with open_page(link_of(platform, made["id"], transport)) as page:
        await page.until("window.downstageProbe.first !== null")
        await page.until_playing()
        await page.click(*await page.browser.probe("p.middle()"))
        await page.until("window.downstageProbe.presses === 1")
        for count in (2, 3, 4):
            await page.key("KeyG", "g", down=True)
            await page.key("KeyG", "g", down=False)
            await page.until(f"window.downstageProbe.presses === {count}")
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_pointer_wheel_and_keys_reach_the_application(
    platform: PlatformProcess, witness: Witness, open_page: Opener, transport: str
) -> None:
    async with open_page(link_of(platform, witness.session, transport)) as page:
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
    platform: PlatformProcess, witness: Witness, open_page: Opener, transport: str
) -> None:
    """The key beside Tab is Q in the US; what another layout has there arrives all the same."""
    async with open_page(link_of(platform, witness.session, transport)) as page:
        await page.until_playing()
        await page.click(640, 360)
        for key in ("a", "é", "ж"):
            await page.key("KeyQ", key, down=True)
            await page.key("KeyQ", key, down=False)
        await witness.until("text", ["a"], ["é"], ["ж"])


@pytest.mark.parametrize("end", ["left", "killed"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_that_is_gone_lets_go(
    platform: PlatformProcess, witness: Witness, open_page: Opener, transport: str, end: str
) -> None:
    own = end == "killed"
    async with open_page(link_of(platform, witness.session, transport), own=own) as page:
        await page.until_playing()
        await page.press(300, 300)
        await page.key("ShiftLeft", "Shift", down=True)
        await witness.until("key", [SHIFT, True, ""])
        await witness.until("button", [1, True, 300, 300])
        if end == "killed":
            page.browser.process.kill()
        else:
            await page.browser.navigate("about:blank")
        await witness.until("key", [SHIFT, True, ""], [SHIFT, False, ""], seconds=LET_GO_S)
        await witness.until("button", [1, True, 300, 300], [1, False, 300, 300], seconds=LET_GO_S)
    async with open_page(link_of(platform, witness.session, transport)) as page:
        await page.until_playing()
        await page.click(500, 400)
        await witness.until("button", [1, True, 500, 400], [1, False, 500, 400])
    assert len(witness.events("button")) == 4

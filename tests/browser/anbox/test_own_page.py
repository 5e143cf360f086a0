"""Our own page has the same channels to the application, beside clients of the other dialect."""

from __future__ import annotations

import pytest
from tests.browser.anbox.conftest import Opener

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

VIEWER = "document.querySelector('downstage-viewer')"
OPEN = f"""() => {{
    const channel = window.channel = {VIEWER}.openChannel("shared");
    window.got = [];
    channel.onmessage = ({{ data }}) =>
        got.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
    return new Promise((resolve) => {{ channel.onopen = () => resolve(channel.label); }});
}}"""


async def test_a_page_of_ours_speaks_with_the_application(
    opened: Opener, card: str, platform: PlatformProcess
) -> None:
    async with opened() as client:
        page = await client.page.context.new_page()
        await page.goto(platform.link(card, transport="webrtc", resolution="640x360"))
        assert await page.evaluate(f"{VIEWER}?.openChannel('early') ?? null") is None
        await page.wait_for_function(f"{VIEWER}?.state.phase === 'playing'", timeout=30_000)
        assert await page.evaluate(OPEN) == "shared"
        await page.evaluate("channel.send('there'); channel.send(new Uint8Array([0, 200]))")
        await page.wait_for_function("got.length >= 2", timeout=15_000)
        assert await page.evaluate("got") == ["there", [0, 200]]
        refused = await page.evaluate(f"""() => new Promise((resolve) => {{
            const channel = {VIEWER}.openChannel("control");
            channel.onclose = () => resolve(true);
        }})""")
        assert refused, "that name is the platform's"

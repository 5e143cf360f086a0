"""A picture that comes by the TURN server alone, with the credentials of its own seat."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from downstage.cli.network.coturn import RelayPlan, coturn
from downstage.testing.coturn import Coturn, has_coturn, serve_coturn
from downstage.testing.platform import PlatformProcess

pytestmark = [
    pytest.mark.browser,
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not has_coturn(), reason="coturn is not installed: apt install coturn"),
]

SECRET = "a secret of a test, long enough"
VIEWER = "document.querySelector('downstage-viewer')"
KEEP = """
const Made = RTCPeerConnection;
window.made = [];
window.RTCPeerConnection = class extends Made {
  constructor(...given) { super(...given); window.made.push(this); }
};
"""
PATHS = """{
const found = [];
for (const one of window.made) (await one.getStats()).forEach((row, _, all) => {
  if (row.type === "candidate-pair" && row.nominated && row.state === "succeeded")
    found.push([all.get(row.localCandidateId).candidateType, row.bytesReceived]);
});
return found.length && found[0][1] > 100000 ? found : null; }
"""
Opener = Callable[..., AbstractAsyncContextManager[Any]]


def _own_address() -> str:
    """The address of this machine that is not its loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Coturn]:
    """As configured by us; the one address of our own that it may reach is the streamer's."""
    own = _own_address()
    with socket.socket() as probe:
        probe.bind((own, 0))
        port = int(probe.getsockname()[1])
    plan = RelayPlan(own, "tests", SECRET, port=port, ports=(49300, 49340), allowed=(own,))
    with serve_coturn(tmp_path, coturn(plan), address=own, port=port) as running:
        yield running


async def test_the_picture_comes_by_the_relay_alone(
    relay: Coturn, data: Path, tmp_path: Path, open_page: Opener
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    settings = {
        "DOWNSTAGE_TURN__URLS": f'["{relay.url}"]',
        "DOWNSTAGE_TURN__SECRET_FILE": str(secret),
        "DOWNSTAGE_TURN__RELAY_ONLY": "true",
    }
    with PlatformProcess(data / "d", environment=settings) as platform:
        made = platform.create("test-card", display={"width": 1280, "height": 720})
        link = platform.link(made["id"], transport="webrtc", resolution="1280x720")
        async with open_page(link, script=KEEP) as page:
            await page.until_playing()
            paths = await page.until(PATHS)
            assert await page.browser.evaluate(f"{VIEWER}.state.transport") == "webrtc"
        said = await _start_page_says(platform, open_page)
    assert {kind for kind, _ in paths} == {"relay"}
    assert "Pictures find a way" in said


async def _start_page_says(platform: PlatformProcess, open_page: Opener) -> str:
    """What it tells of the network before anything is started."""
    token = {"token": platform.facts["token"], "expires_at": "2099-01-01T00:00:00Z"}
    script = f"sessionStorage.setItem('downstage.token', JSON.stringify({json.dumps(token)}))"
    async with open_page(platform.url, script=script) as page:
        words = await page.until("document.querySelector('.network')?.textContent")
        return str(words)

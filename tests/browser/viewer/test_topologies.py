"""The same services in one process, in four over http, and with the agent behind NATS."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.nats import NatsServer
from downstage.testing.platform import PlatformProcess
from downstage.testing.served import ServedPlatform

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(180)]


@contextmanager
def in_one_process(data: Path) -> Iterator[PlatformProcess]:
    with PlatformProcess(data) as platform:
        yield platform


def hints(nats: NatsServer) -> dict[str, str]:
    """How services of several processes tell each other what changed."""
    return {"DOWNSTAGE_BUS__URL": nats.url}


@contextmanager
def over_http(data: Path) -> Iterator[PlatformProcess]:
    with NatsServer() as nats, ServedPlatform(data, environment=hints(nats)) as platform:
        yield platform


@contextmanager
def agent_behind_nats(data: Path) -> Iterator[PlatformProcess]:
    with NatsServer() as nats:
        uris = {"agent": f"{nats.url}/agent"}
        with ServedPlatform(data, uris=uris, environment=hints(nats)) as platform:
            yield platform


@pytest.mark.parametrize("topology", [in_one_process, over_http, agent_behind_nats])
async def test_a_frame_comes_from_wherever_the_services_run(
    topology: Callable[[Path], AbstractAsyncContextManager[Any]], open_page: Any
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))  # short: sockets lie in it
    try:
        with topology(folder / "data") as platform:
            made = platform.create("test-card")
            async with open_page(platform.link(made["id"])) as page:
                await page.until_playing()
                frames = (await page.stats())["decodedFrames"]
                await page.until(
                    "document.querySelector('downstage-viewer').stats()"
                    f".then(s => s.decodedFrames > {frames})"
                )
            platform.call("DELETE", f"/v1/sessions/{made['id']}")
            platform.wait_state(made["id"], "ended")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

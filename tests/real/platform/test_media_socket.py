"""The whole platform without a browser: what passes its media socket."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from downstage.contracts.streamer import KEY_FRAME, MAX_TO_BROWSER, MEDIA_HEADER, VIDEO
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(120)]

MEBIBYTE = 1024 * 1024


@pytest.fixture
def platform(data: Path) -> Iterator[PlatformProcess]:
    # At the default rate the encoder would blur noise rather than send so much.
    rate = {"DOWNSTAGE_MEDIA__BITRATE_KBPS": "200000"}
    with PlatformProcess(data / "d", environment=rate) as running:
        yield running
    shutil.rmtree(data, ignore_errors=True)


def open_media(platform: PlatformProcess, session_id: str) -> connect:
    code = platform.call("POST", f"/v1/sessions/{session_id}/links").body["code"]
    seat = platform.call(
        "POST",
        f"/v1/sessions/{session_id}/seat",
        {"code": code},
        token=None,
        headers={"origin": platform.url},
    ).body
    return connect(
        f"{platform.url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/media",
        subprotocols=["downstage.v1", f"downstage.ticket.{seat['media_ticket']}"],  # type: ignore[list-item]
        origin=platform.url,  # type: ignore[arg-type]
        max_size=MAX_TO_BROWSER,
        compression=None,
    )


async def largest_key_frame(socket: ClientConnection, until: int) -> int:
    """Bytes of the largest key frame; returns at the first of more than *until*."""
    largest, count = 0, 0
    while largest <= until:
        message = await socket.recv()
        if isinstance(message, str):
            continue
        kind, flags, _, sequence, _ = MEDIA_HEADER.unpack_from(message)
        count += 1
        await socket.send(json.dumps(["a", sequence]))
        if kind == VIDEO and flags & KEY_FRAME:
            largest = max(largest, len(message) - MEDIA_HEADER.size)
        if count % 20 == 0:
            await socket.send('["i"]')
    return largest


async def close_code(socket: ClientConnection) -> int | None:
    """How the other side closed it, once it did."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def test_a_key_frame_of_more_than_a_mebibyte_arrives(platform: PlatformProcess) -> None:
    """Noise at 1080p: the largest picture there is, over the gateway's own socket."""
    made = platform.create(
        "test-card",
        display={"width": 1920, "height": 1080, "fps": 30},
        arguments=["--noise"],
    )
    async with open_media(platform, made["id"]) as socket:
        with anyio.fail_after(80):  # two cores draw, encode and carry 200 Mbit/s of noise
            assert await largest_key_frame(socket, MEBIBYTE) > MEBIBYTE


async def test_more_than_64_kib_towards_the_server_ends_the_socket(
    platform: PlatformProcess,
) -> None:
    made = platform.create("test-card")
    async with open_media(platform, made["id"]) as socket:
        await socket.send(json.dumps(["x", "y" * 66_000]))
        with anyio.fail_after(10):
            assert await close_code(socket) == 1009
    assert platform.wait_state(made["id"], "ready", "active", "disconnected")

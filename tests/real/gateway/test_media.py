"""The relay of frames: whole, bounded, cheap, and never to another place than the manager named."""

from __future__ import annotations

import json
import os
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web

pytestmark = [pytest.mark.real, pytest.mark.anyio]

FRAME = b"\x01" + os.urandom(16_383)


async def serve_media(path: Any, handler: Any) -> web.AppRunner:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def upgrade(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20, compress=False)
        await socket.prepare(request)
        await handler(socket, request)
        return socket

    app = web.Application()
    app.router.add_get("/media", upgrade)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    return runner


def media_path(house: Any, session_id: str) -> Any:
    return house.run / house.instance_of(session_id) / "media.sock"


async def closing(socket: Any) -> tuple[int | None, str | None]:
    with anyio.fail_after(10):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return socket.close_code, None


async def test_bytes_pass_both_ways_unchanged(house: Any, loop_watchdog: Any) -> None:
    idr = os.urandom(3 * 1024 * 1024)

    async def streamer(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_str(json.dumps(["s", {"query": dict(request.query)}]))
        await socket.send_bytes(idr)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)

    async with house.on_stage() as (session_id, _):
        runner = await serve_media(media_path(house, session_id), streamer)
        try:
            seat = await house.seat(session_id)
            async with house.socket(session_id, "media", seat["media_ticket"]) as socket:
                with anyio.fail_after(10):
                    hello = json.loads((await socket.receive()).data)
                    assert hello[1]["query"]["role"] == "controller"
                    assert hello[1]["query"]["peer"].startswith(seat["seat"] + ".")
                    assert (await socket.receive()).data == idr
                    await socket.send_str('["m",0.5,0.5]')
                    assert (await socket.receive()).data == '["m",0.5,0.5]'
                await house.wait(session_id, "active")
                await socket.send_str("x" * (64 * 1024))
                assert len((await socket.receive()).data) == 64 * 1024
                await socket.send_str("x" * (64 * 1024 + 1))
                assert (await closing(socket))[0] == 1009
            await house.wait(session_id, "disconnected")
        finally:
            await runner.cleanup()


async def test_a_streamer_that_goes_closes_the_relay(house: Any) -> None:
    async def streamer(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.close(code=4001, message=b"application-exited")

    async with house.on_stage() as (session_id, _):
        runner = await serve_media(media_path(house, session_id), streamer)
        try:
            seat = await house.seat(session_id)
            async with house.socket(session_id, "media", seat["media_ticket"]) as socket:
                assert await closing(socket) == (4001, "application-exited")
        finally:
            await runner.cleanup()


async def test_the_session_s_end_closes_the_relay(house: Any) -> None:
    async def streamer(socket: web.WebSocketResponse, request: web.Request) -> None:
        async for _ in socket:
            pass

    async with house.on_stage() as (session_id, _):
        runner = await serve_media(media_path(house, session_id), streamer)
        try:
            seat = await house.seat(session_id)
            async with house.socket(session_id, "media", seat["media_ticket"]) as socket:
                await house.wait(session_id, "active")
                await house.call("DELETE", f"/v1/sessions/{session_id}", await house.token())
                assert await closing(socket) == (1000, "ended")
        finally:
            await runner.cleanup()


async def test_a_viewer_who_does_not_read_holds_the_streamer_back(house: Any) -> None:
    sent = 0

    async def streamer(socket: web.WebSocketResponse, request: web.Request) -> None:
        nonlocal sent
        with anyio.move_on_after(1):
            while True:
                await socket.send_bytes(FRAME)
                sent += 1

    async with house.on_stage() as (session_id, _):
        runner = await serve_media(media_path(house, session_id), streamer)
        try:
            seat = await house.seat(session_id)
            host, port = house.url.removeprefix("http://").split(":")
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(
                    f"GET /v1/sessions/{session_id}/media HTTP/1.1\r\nHost: {host}:{port}\r\n"
                    f"Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: {house.url}\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                    "Sec-WebSocket-Protocol: downstage.v1, "
                    f"downstage.ticket.{seat['media_ticket']}\r\n\r\n".encode()
                )
                assert b"101" in await stream.receive(12)
                await anyio.sleep(1.2)
        finally:
            await runner.cleanup()
    # What the kernel buffers on loopback is in this, too; without back-pressure it is 100 MB.
    assert sent * len(FRAME) < 16 * 1024 * 1024


async def test_no_picture_yet_is_503_and_a_foreign_path_is_never_dialled(house: Any) -> None:
    created = await house.create()
    seat = await house.seat(created["id"])
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.socket(created["id"], "media", seat["media_ticket"])
    assert refused.value.status == 503
    assert refused.value.headers is not None
    assert refused.value.headers["retry-after"] == "1"
    dialled = anyio.Event()

    async def elsewhere(socket: web.WebSocketResponse, request: web.Request) -> None:
        dialled.set()

    other = await house.create()
    outside = house.run.parent / "outside.sock"
    runner = await serve_media(outside, elsewhere)
    try:
        inside = house.run / "link.sock"
        inside.symlink_to(outside)
        for path in (str(outside), f"{house.run}/../outside.sock", str(inside), "relative.sock"):
            house.manager.change(house.instance_of(other["id"]), hint=False, media_socket=path)
            seat = await house.seat(other["id"])
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await house.socket(other["id"], "media", seat["media_ticket"])
            assert refused.value.status == 503, path
            house.gateway.reconciler.forget(house.instance_of(other["id"]))
    finally:
        await runner.cleanup()
    assert not dialled.is_set()


async def test_an_ended_session_has_no_media(house: Any) -> None:
    created = await house.create()
    seat = await house.seat(created["id"])
    await house.call("DELETE", f"/v1/sessions/{created['id']}", await house.token())
    await house.wait(created["id"], "ended")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await house.socket(created["id"], "media", seat["media_ticket"])
    assert refused.value.status == 409

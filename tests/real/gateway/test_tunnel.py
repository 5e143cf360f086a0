"""Media of an instance elsewhere: the streamer dials back, and what passes is bounded as ever."""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import anyio
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]
FRAME = os.urandom(3 * 1024 * 1024)


async def dial_back(house: Any, session_id: str, relay: str, *, token: str | None = None) -> Any:
    instance = house.instance_of(session_id)
    shown = token or house.instance_token(session_id)
    return await house.unix.ws_connect(
        f"http://gateway/v1/relays/{instance}/{relay}",
        headers={"authorization": f"Bearer {shown}"},
        max_msg_size=0,
    )


async def test_a_streamer_that_cannot_be_reached_dials_back(house: Any, loop_watchdog: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        seat = await house.seat(session_id)
        socket: Any = None

        async def view() -> None:
            nonlocal socket
            socket = await house.socket(session_id, "media", seat["media_ticket"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(view)
            asked = await streamer.hear("media.dial")
            assert asked["peer"].startswith(seat["seat"] + ".")
            assert asked["role"] == "controller"
            upstream = await dial_back(house, session_id, asked["relay"])
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await dial_back(house, session_id, asked["relay"])
        assert refused.value.status == 404
        await house.wait(session_id, "active")
        with anyio.fail_after(10):
            await upstream.send_bytes(FRAME)
            assert (await socket.receive()).data == FRAME
            await upstream.send_str('["s",{}]')
            assert (await socket.receive()).data == '["s",{}]'
            await socket.send_str('["m",0.5,0.5]')
            assert (await upstream.receive()).data == '["m",0.5,0.5]'
            await upstream.close(code=4001, message=b"application-exited")
            end = await socket.receive()
            assert (end.data, end.extra) == (4001, "application-exited")
        await house.wait(session_id, "disconnected")


async def test_the_viewer_s_leaving_ends_the_streamer_s_socket(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        seat = await house.seat(session_id)
        async with anyio.create_task_group() as tasks:

            async def view() -> None:
                socket = await house.socket(session_id, "media", seat["media_ticket"])
                await socket.close()

            tasks.start_soon(view)
            asked = await streamer.hear("media.dial")
            upstream = await dial_back(house, session_id, asked["relay"])
            with anyio.fail_after(10):
                while not upstream.closed:
                    await upstream.receive()


async def test_nobody_else_can_take_a_relay(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer), house.on_stage() as (other, _):
        seat = await house.seat(session_id)
        async with anyio.create_task_group() as tasks:

            async def view() -> None:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await house.socket(session_id, "media", seat["media_ticket"])
                assert refused.value.status == 503

            tasks.start_soon(view)
            asked = await streamer.hear("media.dial")
            for token, status in (
                (house.instance_token(other), 401),
                (await house.token(), 401),
                ("none", 401),
            ):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await dial_back(house, session_id, asked["relay"], token=token)
                assert refused.value.status == status
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await dial_back(house, other, asked["relay"], token=house.instance_token(other))
            assert refused.value.status == 404
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await dial_back(house, session_id, "x" * 22)
            assert refused.value.status == 404


async def test_a_viewer_waits_for_a_streamer_that_comes_to_its_line_just_now(house: Any) -> None:
    async with house.on_stage() as (session_id, _):
        seat = await house.seat(session_id)
    # Its line has broken: it is on its way to this gateway, or back.
    async with anyio.create_task_group() as tasks:
        found = list[Any]()

        async def view() -> None:
            socket = await house.socket(session_id, "media", seat["media_ticket"])
            await socket.send_str('["u"]')
            found.append(socket)

        tasks.start_soon(view)
        await anyio.sleep(0.2)
        async with house.dial(session_id) as lost:
            first = await lost.hear("media.dial")  # and breaks again before it has dialled
        async with house.dial(session_id) as streamer:
            asked = await streamer.hear("media.dial")
            assert asked["relay"] == first["relay"]
            upstream = await dial_back(house, session_id, asked["relay"])
            assert (await upstream.receive()).data == '["u"]'
    assert found


async def test_an_agent_that_is_away_does_not_keep_pictures_away(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        seat = await house.seat(session_id)
        house.manager.silent = anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:

                async def view() -> None:
                    await house.socket(session_id, "media", seat["media_ticket"])

                tasks.start_soon(view)
                asked = await streamer.hear("media.dial")  # nobody said where the socket is
                await dial_back(house, session_id, asked["relay"])
        finally:
            house.manager.silent.set()

"""A session pushes its picture as streams when its owner asks, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_the_owner_asks_and_the_streamer_hears_it(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        path, anna = f"/v1/sessions/{session_id}/streams", await house.token("anna")
        status, body, _ = await house.call("POST", path, anna, json={"seconds": 45})
        assert status == 200, body
        assert body["video"] == f"session.{session_id}.video"
        assert body["audio"] == f"session.{session_id}.audio"
        assert body["playlist"] == f"/hls/session.{session_id}/index.m3u8"
        heard = await streamer.hear("streams.push")
        assert heard == {"type": "streams.push", "seconds": 45, "url": None}
        await house.call("POST", path, anna, json={"on": False})
        assert (await streamer.hear("streams.push"))["seconds"] == 0


async def test_somebody_else_sees_no_session_and_an_administrator_may(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        path = f"/v1/sessions/{session_id}/streams"
        status, body, _ = await house.call("POST", path, await house.token("eve"), json={})
        assert (status, body["code"]) == (404, "not-found")
        assert (await house.call("POST", path, None, json={}))[0] == 401
        operator = await house.token("operator")
        assert (await house.call("POST", path, operator, json={}))[0] == 200
        assert (await streamer.hear("streams.push"))["seconds"] == 30


async def test_the_service_of_streams_asks_in_a_person_s_name(house: Any) -> None:
    async with house.on_stage() as (session_id, streamer):
        owner = (await house.get(session_id))["owner"]
        wiring = house.host._wiring
        gateway = wiring.as_service("streams", "gateway", owner)
        await gateway.v1.sessions[session_id].streams.post(seconds=20)
        assert (await streamer.hear("streams.push"))["seconds"] == 20


async def test_without_a_streamer_it_is_to_be_tried_again(house: Any) -> None:
    session = await house.create()
    path, anna = f"/v1/sessions/{session['id']}/streams", await house.token("anna")
    status, body, headers = await house.call("POST", path, anna, json={})
    assert (status, body["code"]) == (503, "unavailable")
    assert headers["retry-after"] == "1"
    assert (await house.call("POST", path, anna, json={"seconds": 0}))[0] == 422

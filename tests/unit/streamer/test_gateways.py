"""The streamer goes round its gateways, never faster than it may, and follows who is at home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from pydantic import SecretStr

from downstage.contracts.streamer import StreamerConfig
from downstage.streamer import dialling
from downstage.streamer import link as link_module
from downstage.streamer.gateways import Gateways, Place
from downstage.streamer.link import Link

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def config(*urls: str) -> StreamerConfig:
    return StreamerConfig(
        instance_id="i-1",
        session_id="s-1",
        instance_token=SecretStr("token"),
        link_url=urls[0],
        link_urls=list(urls[1:]),
        media_socket="/nowhere",
        display_kind="x11",
    )


def dialled(gateways: Gateways, times: int) -> list[tuple[str, bool]]:
    return [(gateways.next().url[-1], gateways.is_round) for _ in range(times)]


def test_all_are_dialled_in_turn_with_a_pause_after_each_round() -> None:
    gateways = Gateways(config("http://a", "http://b", "http://c", "http://a"))
    assert dialled(gateways, 4) == [("a", False), ("b", False), ("c", True), ("a", False)]


def test_one_that_was_talked_to_comes_first_again() -> None:
    gateways = Gateways(config("http://a", "http://b"))
    gateways.talked(Place("http://c"))
    assert dialled(gateways, 3) == [("c", True), ("a", False), ("b", False)]


def test_a_told_home_is_next_and_a_pause_follows_it() -> None:
    gateways = Gateways(config("http://a", "http://b"))
    assert dialled(gateways, 1) == [("a", False)]
    gateways.told("http://c/")
    assert not gateways.is_round
    assert dialled(gateways, 2) == [("c", True), ("b", True)]
    gateways.told("unix:///etc/passwd")
    gateways.told("javascript:x")
    assert gateways.next().url == "http://a"


def test_places_on_unix_sockets_and_with_an_authority_of_their_own(tmp_path: Path) -> None:
    local = Place("unix:///run/gateway.sock", str(tmp_path / "none.pem"))
    assert (local.base, local.trust) == ("http://gateway", True)
    assert Place("https://g.example/").base == "https://g.example"
    with pytest.raises(OSError, match="No such file"):
        _ = Place("https://g.example", str(tmp_path / "none.pem")).trust


class Handler:
    """What a link talks for."""

    def __init__(self) -> None:
        self.heard = anyio.Event()

    def greeting(self) -> list[dict[str, Any]]:
        return [{"type": "hello"}]

    def received(self, message: dict[str, Any]) -> None:
        self.heard.set()


async def serve(tasks: list[web.AppRunner], answer: Any) -> str:
    app = web.Application()
    app.router.add_get("/v1/instances/i-1/link", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    tasks.append(runner)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_a_dead_gateway_then_one_that_names_the_home() -> None:
    runners, pauses, dials = list[web.AppRunner](), list[float](), list[str]()

    async def home(request: web.Request) -> web.StreamResponse:
        dials.append("home")
        assert request.headers["authorization"] == "Bearer token"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert await socket.receive_json() == {"type": "hello"}
        await socket.send_json({"type": "end", "reason": "stopped"})
        async for _ in socket:
            pass
        return socket

    async def other(request: web.Request) -> web.StreamResponse:
        del request
        dials.append("other")
        return web.Response(status=421, headers={"downstage-home": at_home})

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.sleep(0)

    at_home = await serve(runners, home)
    second = await serve(runners, other)
    handler = Handler()
    link = Link(config("http://127.0.0.1:9", second), handler, pause=pause)
    try:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.run)
                await handler.heard.wait()
                assert link.connected
                assert link.place.url == at_home
                tasks.cancel_scope.cancel()
    finally:
        for runner in runners:
            await runner.cleanup()
    assert dials == ["other", "home"]
    assert pauses == []


async def test_a_gateway_that_beats_no_more_is_left_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "SILENT_S", 0.3)
    monkeypatch.setattr(dialling, "DEADLINE_S", 60)  # who waits for the silent one is too late
    runners, answered, dials = list[web.AppRunner](), list[Any](), list[str]()
    cut, let_go, moved = anyio.Event(), anyio.Event(), anyio.Event()

    async def home(request: web.Request) -> web.StreamResponse:
        dials.append("home")
        if cut.is_set():  # whoever dials it now hears nothing at all
            await let_go.wait()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for _ in range(3):
            await socket.send_json({"type": "beat"})
            while (said := await socket.receive_json()) != {"type": "beat"}:
                assert said == {"type": "hello"}
            answered.append(said)
        cut.set()
        async for _ in socket:  # pings are answered, as by what stands before a gateway
            pass
        return socket

    async def other(request: web.Request) -> web.StreamResponse:
        dials.append("other")
        if dials.count("other") < 3:  # it has not noticed yet that the home is gone
            return web.Response(status=421, headers={"downstage-home": first})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert await socket.receive_json() == {"type": "hello"}
        moved.set()
        async for _ in socket:
            pass
        return socket

    first, second = await serve(runners, home), await serve(runners, other)
    link = Link(config(first, second), Handler())
    try:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(link.run)
                await moved.wait()
                assert link.connected
                assert link.place.url == second
                let_go.set()
                tasks.cancel_scope.cancel()
    finally:
        let_go.set()
        for runner in runners:
            await runner.cleanup()
    assert len(answered) == 3
    # One that is silent was waited for beside the others, not before them.
    assert (dials.count("home"), dials.count("other")) == (2, 3)


async def test_a_gateway_that_never_beat_may_be_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "SILENT_S", 0.1)
    runners, dials = list[web.AppRunner](), list[str]()

    async def earlier(request: web.Request) -> web.StreamResponse:
        dials.append("earlier")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    link = Link(config(await serve(runners, earlier)), Handler())
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.run)
            with anyio.fail_after(10):
                while not link.connected:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.6)
            assert link.connected
            tasks.cancel_scope.cancel()
    finally:
        for runner in runners:
            await runner.cleanup()
    assert dials == ["earlier"]

"""The service as a whole: before its engine is ready, in readiness, in figures, at its end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from downstage.kernel.errors import Unavailable
from downstage.services import AsyncClient
from downstage.services.operator import operator_app
from downstage.services.registry import put_app, remove_app
from downstage.testing.streams import StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]
NOBODY = "redis://127.0.0.1:1"
"""Where no engine is, and none will come."""


async def test_before_the_engine_is_there_callers_are_told_to_come_back(data: Path) -> None:
    overrides = {"streams.url": NOBODY}
    async with (
        streams_server(data / "d", overrides=overrides, wait=False) as server,
        aiohttp.ClientSession(headers=server.headers("alice")) as session,
    ):
        with pytest.raises(Unavailable):
            await server.streams.list(await server.caller("alice"))
        for method, path in (
            ("GET", "/v1/streams"),
            ("POST", "/v1/streams/a/entries"),
            ("GET", "/v1/streams-consumers"),
        ):
            async with session.request(method, server.url + path, data=b"x") as answer:
                assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
                assert (await answer.json())["code"] == "unavailable"
        async with session.get(f"{server.url}/v1/streams", headers={"authorization": ""}) as answer:
            assert answer.status == 401  # who is not known learns nothing of the engine
        put_app("operator", operator_app(server.host))
        try:
            told = await AsyncClient("local://operator").ready.get()
        finally:
            remove_app("operator")
        assert told["services"]["streams"] == "running"
        assert "engine of streams" in told["waiting"]["streams"]
        async with asyncio.timeout(20):  # its own application tells whoever balances load
            while True:
                ready: Any = server.host.app("streams").state.ready
                if not ready:
                    break
                await asyncio.sleep(0.02)
        assert "downstage_streams_up 0" in server.extension.metrics()


async def test_figures_are_on_the_operator_s_port_and_nowhere_else(
    server: StreamsServer, session: aiohttp.ClientSession, api: Any, fresh: str
) -> None:
    await api.push(fresh, b"x" * 1000)
    await api.json("GET", f"/v1/streams/{fresh}/entries")
    text, _ = server.host.metrics_hub.render("", lines=server.host.metric_lines())
    families = {f.name: f for f in text_string_to_metric_families(text.decode())}
    assert families["downstage_streams_up"].samples[0].value == 1
    assert families["downstage_streams_engine_memory_bytes"].samples[0].value > 1000
    assert families["downstage_streams_entries_in"].samples[0].value >= 1
    mine = [s for s in families["downstage_stream_bytes_in"].samples if s.labels["stream"] == fresh]
    assert [(s.labels["tenant"], s.value >= 1000) for s in mine] == [("main", True)]
    async with session.get(f"{server.url}/metrics") as answer:
        assert answer.status != 200
        assert fresh not in await answer.text()


async def test_what_was_pushed_is_there_after_another_start(data: Path, fresh: str) -> None:
    async with streams_server(data / "d") as server:
        caller = await server.caller("alice")
        receipt = await server.streams.append(caller, [(fresh, b"*", b"kept")])
        await server.streams.describe(caller, fresh, {"content_type": "text/plain"})
    async with streams_server(data / "d") as server:
        caller = await server.caller("alice")
        entries = await server.streams.range(caller, fresh, None, None)
        assert [(bytes(e.id), e.data) for e in entries] == [(receipt.ids[0], b"kept")]
        assert (await server.streams.info(caller, fresh)).spec.content_type == "text/plain"

"""Calls that must type-check against the stub of the service in `test_typed_calls.py`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_type

from client import AsyncClient, Client, NewSession, Page, Session
from pydantic import BaseModel


class Mine(BaseModel):
    application: str


async def correct() -> None:
    async with AsyncClient("http://localhost:8600", raise_for_status=True, timeout_s=5) as client:
        made = await client.v1.sessions.post(application="usd-viewer", kind="fast")
        assert_type(made, Session)
        assert_type(made["id"], str)
        body: NewSession = {"application": "usd-viewer"}
        assert_type(await client.v1.sessions.post(body), Session)
        assert_type(await client.v1.sessions.post(Mine(application="x")), Session)
        page = await client.v1.sessions.get(limit=10, since=datetime.now(UTC), x_mark="m")
        assert_type(page, Page)
        for item in page["items"]:
            assert_type(item.get("next"), str | None)
        assert_type(await client.v1.sessions.get("x"), Session)
        assert_type(await client.v1.sessions.get(session_id="x"), Session)
        assert_type(await client.v1.sessions["x"].get(__headers__={"a": "b"}), Session)
        await client.v1.sessions["x"].stop_now.post(__timeout__=3)
        await client.v1.sessions["x"].files[7].put(b"data")
        await getattr(client.v1.sessions, made["id"]).delete()
        assert_type(await client.post.ping.post(), str)
        assert_type(await client["import"].get(), dict[str, int])
        async for _ in client.v1.sessions.get.pages(limit=50):
            pass
        async with client.v1.sessions.get.stream() as stream:
            del stream
        assert_type(client.v1.sessions.get.curl(limit=1), str)
        async with client.v1.ws() as socket:
            del socket


def blocking() -> None:
    with Client("http://localhost:8600") as client:
        assert_type(client.v1.sessions.get("x"), Session)
        assert_type(client.v1.sessions.post(application="x")["id"], str)
        for _ in client.v1.sessions.get.pages():
            pass

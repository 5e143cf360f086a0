"""Server-sent events of streams: entries, changes, coming back, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from downstage.testing.streams import StreamsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]
LINES = "application/x-ndjson"
DEADLINE_S = 20


@dataclass
class Told:
    """One event."""

    name: str
    data: Any
    id: str


class Events:
    """Reads events one after the other."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, *names: str) -> Told:
        """The next one of *names*; any, where none are given."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                told = await self._one()
                if not names or told.name in names:
                    return told

    async def _one(self) -> Told:
        fields = dict[str, str]()
        while True:
            line = await self._answer.content.readline()
            if not line:
                raise EOFError
            text = line.decode().rstrip("\r\n")
            if not text and "event" in fields:
                return Told(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            name, colon, value = text.partition(": ")
            if colon and name:
                fields[name] = value


@asynccontextmanager
async def following(
    api: Any, headers: dict[str, str] | None = None, **query: str
) -> AsyncIterator[Events]:
    path = "/v1/streams-events"
    async with api.request("GET", path, params=query, headers=headers or {}) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), (
            await answer.text()
        )
        events = Events(answer)
        assert (await events.next()).name == "ready"
        yield events


async def test_entries_come_as_they_are_pushed_and_after_what_was_seen(
    api: Any, fresh: str
) -> None:
    await api.push(fresh, b'{"n": 1}\n{"n": 2}\n', LINES)
    async with following(api, streams=fresh, **{"from": "0"}) as events:
        first, second = await events.next("entry"), await events.next("entry")
        assert [first.data["value"], second.data["value"]] == [{"n": 1}, {"n": 2}]
        assert second.id == f"{fresh}/{second.data['id']}"
        await api.push(fresh, b'{"n": 3}', "application/json")
        assert (await events.next("entry")).data["value"] == {"n": 3}
    back = {"Last-Event-ID": first.id}
    async with following(api, back, streams=fresh) as events:
        assert (await events.next("entry")).data["id"] == second.data["id"]
    async with following(api, streams=fresh, **{"from": "-"}) as events:
        assert (await events.next("entry")).data["value"] == {"n": 3}


async def test_streams_that_are_made_later_join_by_their_pattern_and_are_told(
    api: Any, fresh: str
) -> None:
    query = {"streams": f"{fresh}-*", "changes": "true"}
    async with following(api, **query) as events:
        await api.push(f"{fresh}-a", b"one", "text/plain")
        told = {event.name: event for event in [await events.next("change", "entry") for _ in "12"]}
        while "entry" not in told or "change" not in told:
            event = await events.next("change", "entry")
            told[event.name] = event
        assert told["entry"].data["value"] == "one"
        assert told["change"].data["stream"] == f"{fresh}-a"
        await api.push(f"{fresh}-b", b"\x00", "application/octet-stream")
        entry = await events.next("entry")
        assert (entry.data["data"], entry.data["size"]) == ("AA==", 1)
        assert set(entry.id.split(",")) == {
            f"{fresh}-a/{told['entry'].data['id']}", f"{fresh}-b/{entry.data['id']}",
        }  # fmt: skip
        await api.json("DELETE", f"/v1/streams/{fresh}-a", 204)
        while (change := await events.next("change")).data["what"] != "gone":
            pass
        assert change.data["stream"] == f"{fresh}-a"


async def test_what_may_not_be_read_is_not_told(
    server: StreamsServer, session: aiohttp.ClientSession, api: Any, fresh: str
) -> None:
    token = await server.program_token("alice", streams={f"{fresh}-mine": ["read"]})
    headers = {"authorization": f"Bearer {token}"}
    async with following(api, headers, streams=f"{fresh}-*", changes="true") as events:
        await api.push(f"{fresh}-other", b"x", "text/plain")
        await api.push(f"{fresh}-mine", b"y", "text/plain")
        entry = await events.next("entry")
        assert (entry.data["stream"], entry.data["value"]) == (f"{fresh}-mine", "y")
    query = {"streams": f"{fresh}-other"}
    await api.json("GET", "/v1/streams-events", 404, params=query, headers=headers)


async def test_events_end_when_the_token_is_revoked(
    server: StreamsServer, api: Any, fresh: str
) -> None:
    token = await server.program_token("bob", "streams:read")
    principal = await server.host.authenticator.principal(token)
    headers = {"authorization": f"Bearer {token}"}
    before = server.callers.count
    async with following(api, headers, streams=fresh) as events:
        assert server.callers.count == before + 1
        bob = await server.host.authenticator.principal(server.token("bob"))
        await server.identity.issue.revoke_program(bob, principal.token_id)
        async with asyncio.timeout(DEADLINE_S):
            while server.host.authenticator.counts(principal):
                await asyncio.sleep(0)
        server.callers.check()
        with pytest.raises(EOFError):
            await events.next("entry")
    async with asyncio.timeout(DEADLINE_S):
        while server.callers.count != before:
            await asyncio.sleep(0.01)


async def test_a_browser_shows_a_ticket(
    server: StreamsServer, session: aiohttp.ClientSession, api: Any, fresh: str
) -> None:
    made = await api.json("POST", "/v1/streams/tickets", 201, json={"purpose": "read"})
    path = f"{server.url}/v1/streams-events?streams={fresh}&token={made['ticket']}"
    async with session.get(path) as answer:
        assert answer.status == 200
        assert (await Events(answer).next()).name == "ready"
    async with session.get(path) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"streams": ""},
        {"streams": "a/b"},
        {"streams": ",".join(f"s{n}" for n in range(65))},
        {"streams": "a", "from": "soon"},
        {"streams": "a", "max_fps": "0"},
    ],
)
async def test_what_cannot_be_followed_is_422(api: Any, query: dict[str, str]) -> None:
    await api.json("GET", "/v1/streams-events", 422, params=query)
    await api.json(
        "GET", "/v1/streams-events", 422, params={"streams": "a"},
        headers={"Last-Event-ID": "a/soon"},
    )  # fmt: skip

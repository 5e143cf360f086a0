"""The gateway under examination, and what a check says when it is not as it should be."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

__all__ = ["Check", "Failed", "Reply", "Target", "demand", "hear"]

ANSWER_S = 20.0
POLL_S = 0.2


class Failed(Exception):
    """The gateway does something else than its contract says."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the suite."""

    group: str
    name: str
    run: Callable[[Target], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: Any
    headers: dict[str, str]
    raw: bytes


def demand(is_so: object, text: str) -> None:
    """Fail with *text* unless it is so."""
    if not is_so:
        raise Failed(text)


@dataclass(slots=True)
class Target:
    """One gateway, with the caller's token.

    Attributes:
        made: sessions that the suite started and that may still run.
    """

    url: str
    token: str
    application: str
    http: aiohttp.ClientSession
    ready_s: float = 60.0
    made: list[str] = field(default_factory=list[str])

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Call *path*; *token* empty: the caller's, None: none."""
        sent = dict(headers or {})
        shown = self.token if token == "" else token
        if shown is not None:
            sent.setdefault("Authorization", f"Bearer {shown}")
        deadline = aiohttp.ClientTimeout(total=ANSWER_S)
        async with self.http.request(
            method, self.url + path, json=body, headers=sent, timeout=deadline
        ) as answer:
            raw = await answer.read()
            try:
                said = json.loads(raw) if raw else None
            except ValueError:
                said = None
            found = {key.lower(): value for key, value in answer.headers.items()}
            return Reply(answer.status, said, found, raw)

    async def create(self, **fields: Any) -> dict[str, Any]:
        """A session by our own API; it is ended after the suite."""
        asked = {"application": self.application, "wait": False, **fields}
        reply = await self.call("POST", "/v1/sessions", asked)
        demand(reply.status == 201, f"create answers {reply.status}: {reply.body}")  # noqa: PLR2004
        self.made.append(reply.body["id"])
        return reply.body

    async def until(self, session: str, *states: str) -> dict[str, Any]:
        """The session as soon as it is in one of *states*."""
        deadline = time.monotonic() + self.ready_s
        while True:
            reply = await self.call("GET", f"/v1/sessions/{session}")
            demand(reply.status == 200, f"a session of ours answers {reply.status}")  # noqa: PLR2004
            if reply.body["state"] in states:
                return reply.body
            demand(
                time.monotonic() < deadline and reply.body["state"] != "ended",
                f"the session is {reply.body['state']} ({reply.body.get('detail')}), not "
                f"{' or '.join(states)}, after {self.ready_s:g} s",
            )
            await asyncio.sleep(POLL_S)

    async def end(self, session: str) -> None:
        """End it and wait until it has."""
        await self.call("DELETE", f"/v1/sessions/{session}")
        await self.until_over(session)

    async def until_over(self, session: str) -> None:
        """Wait until it has ended."""
        deadline = time.monotonic() + self.ready_s
        while time.monotonic() < deadline:
            reply = await self.call("GET", f"/v1/sessions/{session}")
            if reply.status in (404, 410) or reply.body["state"] == "ended":
                if session in self.made:
                    self.made.remove(session)
                return
            await asyncio.sleep(POLL_S)
        raise Failed(f"the session does not end within {self.ready_s:g} s")

    async def dial(
        self, path: str, *protocols: str, headers: dict[str, str] | None = None
    ) -> aiohttp.ClientWebSocketResponse:
        """A WebSocket; refused with `aiohttp.WSServerHandshakeError`."""
        url = self.url.replace("http", "ws", 1) + path if path.startswith("/") else path
        return await self.http.ws_connect(
            url, protocols=protocols, headers=headers, max_msg_size=1 << 22
        )

    async def refused(self, path: str, *protocols: str, headers: dict[str, str]) -> int:
        """The status by which a WebSocket is refused; 0 where it is let in."""
        try:
            socket = await self.dial(path, *protocols, headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        await socket.close()
        return 0


async def hear(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next JSON message of this type."""
    async with asyncio.timeout(ANSWER_S):
        async for message in socket:
            said: Any = json.loads(message.data)
            if said.get("type") == kind:
                return said
            demand(said.get("type") != "error", f"the socket says: {said}")
    raise Failed(f"the socket closed ({socket.close_code}) before it said {kind}")

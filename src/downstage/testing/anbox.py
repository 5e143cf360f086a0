"""A client of the Anbox dialect as its stock SDK behaves, as far as REST and signalling go.

It asks with ``Authorization: Macaroon root=…`` and slashes at the end, opens the socket that it is
told, speaks first, and hangs up once it is connected. Media are not its business.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import anyio

__all__ = ["AnboxAnswer", "AnboxClient", "AnboxSocket", "encoded"]

DEADLINE_S = 15.0
SCREEN = {"width": 1280, "height": 720, "fps": 60, "density": 240}


def encoded(text: str) -> str:
    """*text* as SDP and candidates travel."""
    return base64.b64encode(text.encode()).decode("ascii")


@dataclass(frozen=True, slots=True)
class AnboxAnswer:
    """An answer in the dialect's envelope."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def metadata(self) -> Any:
        """What was asked for."""
        return self.body["metadata"]

    @property
    def error(self) -> str:
        """What went wrong."""
        return str(self.body["error"])


class AnboxSocket:
    """The client's half of a signalling socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        """Send one message."""
        await self.socket.send_str(json.dumps(message))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The next message, which must be of this type.

        Raises:
            RuntimeError: it is another, or the socket closes.
        """
        with anyio.fail_after(DEADLINE_S):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise RuntimeError(f"waited for {kind}, got {message}")
        found: dict[str, Any] = json.loads(message.data)
        if found["type"] != kind:
            raise RuntimeError(f"waited for {kind}, got {found}")
        return found

    async def ending(self) -> tuple[str | None, int | None]:
        """The ``error`` message that comes, if one does, and the code of the close after it."""
        told: str | None = None
        with anyio.fail_after(DEADLINE_S):
            while True:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    found = json.loads(message.data)
                    if found["type"] == "error":
                        told = str(found["message"])
                elif message.type is aiohttp.WSMsgType.CLOSE:
                    return told, message.data
                else:
                    return told, self.socket.close_code


class AnboxClient:
    """Somebody who calls the dialect.

    Args:
        http: to call by.
        url: of the gateway.
        token: shown in each request; None: none.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._token = token

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> AnboxAnswer:
        """One request below ``/1.0``."""
        headers: dict[str, str] = dict(options.pop("headers", {}))
        if self._token is not None:
            headers.setdefault("Authorization", f"Macaroon root={self._token}")
        if body is not None:
            options["json"] = body
        request = self._http.request(method, f"{self._url}/1.0{path}", headers=headers, **options)
        async with request as answer:
            text = await answer.text()
            return AnboxAnswer(answer.status, answer.headers, json.loads(text) if text else {})

    async def create(self, app: str, **body: Any) -> dict[str, Any]:
        """A new session, as the SDK asks for it.

        Raises:
            RuntimeError: it was refused.
        """
        wanted = {"app": app, "region": "", "joinable": True, "extra_data": None, "screen": SCREEN}
        return self._granted(await self.call("POST", "/sessions/", {**wanted, **body}), 201)

    async def join(self, session_id: str, width: int = 1280, height: int = 720) -> dict[str, Any]:
        """Where to connect to a session that there is.

        Raises:
            RuntimeError: it was refused.
        """
        body = {"screen": {"width": width, "height": height}}
        return self._granted(await self.call("POST", f"/sessions/{session_id}/join", body), 200)

    @asynccontextmanager
    async def socket(self, url: str, *, origin: str | None = None) -> AsyncGenerator[AnboxSocket]:
        """The socket of an address, opened by a page of *origin* or by a program."""
        headers = {} if origin is None else {"origin": origin}
        async with self._http.ws_connect(
            url, max_msg_size=0, autoclose=False, headers=headers
        ) as found:
            yield AnboxSocket(found)

    def _granted(self, answer: AnboxAnswer, status: int) -> dict[str, Any]:
        if (answer.status, answer.body.get("status")) != (status, "success"):
            raise RuntimeError(f"{answer.status}: {answer.body}")
        return answer.metadata

"""One open socket of entries, and what it means when it ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
from yarl import URL

from downstage.client.http import Http, Unreachable
from downstage.client.outcome import error_of_code
from downstage.client.ways import proxy_of
from downstage.kernel import errors

__all__ = ["Broken", "Wire", "open_wire"]

CONNECT_S = 10.0
PING_S = 20.0
"""Seconds of silence after which the server is asked whether it is there."""
HANG_UP_S = 1.0
MAX_MESSAGE = 1 << 30
LATER = frozenset({"unavailable", "too-many", "capacity", "going-away", "internal"})
"""Reasons of a close after which coming back helps."""
NO_REASON = 1006
STATUSES: dict[int, type[errors.PlatformError]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    413: errors.TooLarge,
}
SAID = {
    401: "The server wants a token: see DOWNSTAGE_TOKEN.",
    403: "This token may not do that with these streams.",
    404: "There is no such stream, or this token may not read it.",
}


class Broken(errors.Unavailable):
    """The connection is gone, and another one may do."""


class Wire:
    """A socket: texts and binary messages, in turn.

    Args:
        socket: connected.
        host: for errors.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, host: str) -> None:
        self._socket = socket
        self._host = host
        self._was_asked = False

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            Broken: the connection is gone, or the server asks to come back.
            PlatformError: the server ended it, and said why.
        """
        while True:
            try:
                message = await self._socket.receive(timeout=PING_S)
            except TimeoutError:
                await self._ask()
                continue
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                raise Broken(f"The connection to {self._host} broke.") from error
            self._was_asked = False
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                found: str | bytes = message.data
                return found
            if message.type is aiohttp.WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is not aiohttp.WSMsgType.PONG:
                raise self._ended(message)

    async def _ask(self) -> None:
        if self._was_asked:
            raise Broken(f"{self._host} says nothing any more.")
        self._was_asked = True
        try:
            await self._socket.ping()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise Broken(f"The connection to {self._host} broke.") from error

    def _ended(self, message: aiohttp.WSMessage) -> errors.PlatformError:
        is_said = message.type is aiohttp.WSMsgType.CLOSE
        code = int(message.data or 0) if is_said else (self._socket.close_code or NO_REASON)
        reason = str(message.extra or "") if is_said else ""
        if not reason or reason in LATER:
            return Broken(f"The connection to {self._host} ended ({code}).")
        found = error_of_code(reason, _said(reason, code))
        if type(found) is errors.PlatformError:
            return Broken(f"{self._host} ended the connection: {reason} ({code}).")
        return found

    async def send(self, *messages: str | bytes | memoryview) -> None:
        """Send texts and binary messages.

        Raises:
            Broken: the connection is gone.
        """
        try:
            for message in messages:
                if isinstance(message, str):
                    await self._socket.send_str(message)
                else:
                    await self._socket.send_bytes(message)  # pyright: ignore[reportArgumentType]
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise Broken(f"The connection to {self._host} broke.") from error

    async def close(self) -> None:
        """Say goodbye; not for long."""
        with suppress(TimeoutError, OSError, aiohttp.ClientError, RuntimeError):
            async with asyncio.timeout(HANG_UP_S):
                await self._socket.close()


async def open_wire(http: Http, path: str) -> Wire:
    """Connect to *path* (with its query); once more with a fresh token where one was refused.

    Raises:
        Unreachable: no connection comes about.
        Broken: the server cannot take it now.
        PlatformError: it refuses.
    """
    try:
        return await _once(http, path)
    except errors.Unauthenticated:
        if http.credentials is None or await http.credentials.token() is None:
            raise
        http.credentials.forget()
    return await _once(http, path)


async def _once(http: Http, path: str) -> Wire:
    headers = await http.headers()  # asks a person perhaps: no deadline of ours
    url = URL(http.origin.url + path, encoded=True)
    host = http.origin.host
    try:
        async with asyncio.timeout(CONNECT_S):
            socket = await http.session().ws_connect(
                url,
                proxy=proxy_of(http.origin, url),
                headers=headers,
                max_msg_size=MAX_MESSAGE,
                autoping=False,
                autoclose=True,
                timeout=aiohttp.ClientWSTimeout(ws_close=HANG_UP_S),  # pyright: ignore[reportCallIssue]
                compress=0,
            )
    except aiohttp.WSServerHandshakeError as error:
        kind = STATUSES.get(error.status)
        if kind is not None:
            detail = SAID.get(error.status, f"The server refused it ({error.status}).")
            raise kind(detail) from error
        if error.status < 500 and error.status != 429:  # noqa: PLR2004 - HTTP
            raise errors.InvalidInput(f"The server refused it ({error.status}).") from error
        raise Broken(f"{host} is not ready ({error.status}).") from error
    except (aiohttp.InvalidURL, UnicodeError) as error:
        raise errors.BadUrl("The address names no server.") from error
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable(f"{host}:{http.origin.port} cannot be reached.") from error
    return Wire(socket, host)


def _said(reason: str, code: int) -> str:
    return {
        "lagged": "What comes next is not kept any more: this reader was too slow, or away too "
        "long. Keep more of the stream (retention), or read with latest=True.",
        "too-large": "A message is larger than the server takes.",
        "memory-limit": "The server's memory for streams is full.",
        "invalid-token": "The token does not count any more.",
        "forbidden": "This token may not do that.",
        "not-found": "There is no such stream, or this token may not read it.",
    }.get(reason, f"The server ended it: {reason} ({code}).")

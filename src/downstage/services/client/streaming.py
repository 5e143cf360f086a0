"""Answers that are read while they come: bytes, lines, JSON lines, server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec

from downstage.services.client.asked import Asked
from downstage.services.client.engine import GOOD, Engine
from downstage.services.client.events import Event, EventReader
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.target import Target
from downstage.services.errors import BaseServiceError, ServiceUnavailableError
from downstage.services.transports import MAX_ANSWER, Answer, Call, Stream, Transport
from downstage.services.transports.transport import MAX_MESSAGE

__all__ = ["CallStream"]

LAST_EVENT_ID = "last-event-id"
NO_CONTENT = 204
MOST_FAILURES = 5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class CallStream:
    """A call whose answer is read piece by piece; made by ``.stream()`` after a verb.

    Enter it, then iterate once: over itself for bytes, or over `lines`, `ndjson` or `events`.
    Leaving it early ends the call at the service, too.
    """

    def __init__(
        self,
        engine: Engine,
        target: Target,
        arguments: tuple[object, ...],
        keywords: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._written = (target, arguments, keywords)
        self._asked: Asked | None = None
        self._stack = AsyncExitStack()
        self._stream: Stream | None = None
        self._out: Outgoing | None = None

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self._open.status

    @property
    def headers(self) -> dict[str, str]:
        """Header fields of the answer, names in lower case."""
        return self._open.headers

    async def __aenter__(self) -> Self:
        self._asked = await self._engine.ask(*self._written)
        try:
            await self._connect({})
        except BaseException:  # a hook failed, or we were cancelled, with the answer open
            await self._disconnect()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream = None
        await self._stack.__aexit__(kind, error, traceback)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._open)

    async def read(self) -> bytes:
        """All that is left, at most `MAX_ANSWER` bytes."""
        body = bytearray()
        async for piece in self:
            body += piece
            if len(body) > MAX_ANSWER:
                raise ServiceUnavailableError(f"the answer is larger than {MAX_ANSWER} bytes")
        return bytes(body)

    async def failure(self) -> BaseServiceError:
        """The exception that the answer stands for, if it is an error; reads its body."""
        assert self._out is not None  # noqa: S101 - set when it was entered
        answer = Answer(self.status, self.headers, await self.read())
        return self._engine.failure(self._out, answer)

    async def lines(self) -> AsyncGenerator[str]:
        """Lines of text without their ends: LF, CRLF or CR."""
        async for line in _lines(self):
            yield line.decode("utf-8", "replace")

    async def ndjson(self) -> AsyncGenerator[Any]:
        """One object a line; empty lines are left out.

        Raises:
            BaseServiceError: a line is no JSON.
        """
        async for line in _lines(self):
            if line.strip():
                try:
                    yield msgspec.json.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise BaseServiceError(f"a line of the answer is no JSON: {error}") from error

    async def events(self, *, reconnect: bool = False) -> AsyncGenerator[Event]:
        """Server-sent events.

        Args:
            reconnect: ask again when the stream ends or breaks off, naming the last event's id,
                until the service answers 204 or an error.

        Raises:
            ServiceUnavailableError: it broke off, or came back `MOST_FAILURES` times in vain.
        """
        last_id, pause, failures = "", FIRST_PAUSE_S, 0
        while True:
            reader = EventReader(last_id)
            try:
                if self._stream is None:
                    await self._connect({LAST_EVENT_ID: last_id} if last_id else {})
                    if self.status == NO_CONTENT:
                        return
                async for line in _lines(self):
                    event = reader.feed(line)
                    if event is not None:
                        failures = 0
                        yield event
            except ServiceUnavailableError:
                failures += 1
                if not reconnect or failures >= MOST_FAILURES:
                    raise
            if not reconnect:
                return
            last_id, pause = reader.last_id, reader.retry_s or pause
            await self._disconnect()
            await anyio.sleep(min(pause * 2 ** max(0, failures - 1), LONGEST_PAUSE_S))

    @property
    def _open(self) -> Stream:
        if self._stream is None:
            raise RuntimeError("enter the stream first: async with … as stream")
        return self._stream

    async def _connect(self, headers: dict[str, str]) -> None:
        asked = self._asked
        assert asked is not None  # noqa: S101 - set before the first connect
        out = self._engine.outgoing(asked)
        out.headers.update(headers)
        self._stream = await self._engine.deliver(out, self._send, self._disconnect)
        self._out = out
        if self._stream.status >= GOOD and self._engine.options.raises:
            await self._refuse()

    async def _send(self, transport: Transport, call: Call) -> Stream:
        return await self._stack.enter_async_context(transport.stream(call))

    async def _disconnect(self) -> None:
        self._stream = None
        await self._stack.aclose()

    async def _refuse(self) -> None:
        try:
            error = await self.failure()
        finally:
            await self._disconnect()
        raise error


async def _lines(pieces: CallStream) -> AsyncGenerator[bytes]:
    """Lines of *pieces*, without their ends."""
    rest = bytearray()
    ends_with_return = False
    async for piece in pieces:
        if not piece:
            continue
        if ends_with_return and piece[:1] == b"\n":
            piece = piece[1:]  # noqa: PLW2901 - the second half of a line's end
        ends_with_return = piece[-1:] == b"\r"
        parts = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest += parts[0]
        if len(parts) > 1:
            yield bytes(rest)
            for part in parts[1:-1]:
                yield part
            rest = bytearray(parts[-1])
        if len(rest) > MAX_MESSAGE:
            raise ServiceUnavailableError(
                f"a line of the answer is longer than {MAX_MESSAGE} bytes"
            )
    if rest:
        yield bytes(rest)

"""The client of streams for programs without an event loop; asked for one, it gives the other."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Literal, Self

from downstage.client.streams.asynchronous import PATIENCE_S, AsyncClient, Durability, How
from downstage.client.streams.blocking import call, iterate
from downstage.client.streams.blocking_parts import Consumer, Pull, Push, Recordings
from downstage.client.streams.model import (
    ConsumerInfo,
    Entry,
    Gap,
    Receipt,
    Retention,
    StreamInfo,
    Ticket,
)
from downstage.client.streams.places import NOW, Start

__all__ = ["Client"]

AT_ONCE = 64


class Client:
    """Streams of one server: ``with Client(url) as client``; its calls block.

    In an event loop, ``async with Client(url) as client`` gives an `AsyncClient`.

    Args:
        url: ``http(s)://host[:port]``; None: the platform that runs on this machine.
        token: who one is; None: ``DOWNSTAGE_TOKEN``, the file that ``DOWNSTAGE_TOKEN_FILE`` names,
            or, at a platform of this user on this machine, its operator's.
        patience_s: seconds for which readers and publishers wait for a server that is away.

    Attributes:
        recordings: recordings and replays.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        self._inner = AsyncClient(url, token=token, patience_s=patience_s)
        self._lent = AsyncExitStack()
        self.recordings = Recordings(self._inner.recordings)

    @property
    def url(self) -> str:
        """Of the server."""
        return self._inner.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> AsyncClient:
        return await self._lent.enter_async_context(self._inner)

    async def __aexit__(self, *_: object) -> None:
        await self._lent.aclose()

    def close(self) -> None:
        """End readers and publishers, and every connection."""
        call(self._inner.close)

    # --- entries ---------------------------------------------------------------------------------

    def pull(
        self,
        *streams: str | Sequence[str],
        last: Start | Mapping[str, Start] = NOW,
        count: int | None = None,
        latest: bool = False,
        max_fps: float | None = None,
        sync: str | None = None,
        timeout: float | None = None,
        on_gap: Callable[[Gap], object] | None = None,
    ) -> Pull:
        """Entries of streams as they come: see `AsyncClient.pull`.

        `on_gap` is called on a thread of the client's.
        """
        return Pull(
            self._inner.pull(
                *streams,
                last=last,
                count=count,
                latest=latest,
                max_fps=max_fps,
                sync=sync,
                timeout=timeout,
                on_gap=on_gap,
            )
        )

    def push(
        self,
        stream: str | None = None,
        *,
        ack: bool = True,
        content_type: str | None = None,
        retention: Retention | Mapping[str, Any] | None = None,
        durability: Durability | None = None,
        schema: Mapping[str, Any] | None = None,
        batch: int = 64,
        batch_bytes: int = 1 << 20,
        linger: float = 0.0,
        in_flight: int = 32 << 20,
        when_full: Literal["wait", "drop"] = "wait",
        on_receipt: Callable[[Receipt], object] | None = None,
    ) -> Push:
        """A publisher: see `AsyncClient.push`; `on_receipt` is called on a thread of ours."""
        return Push(
            self._inner.push(
                stream,
                ack=ack,
                content_type=content_type,
                retention=retention,
                durability=durability,
                schema=schema,
                batch=batch,
                batch_bytes=batch_bytes,
                linger=linger,
                in_flight=in_flight,
                when_full=when_full,
                on_receipt=on_receipt,
            )
        )

    def range(
        self,
        stream: str,
        start: Start = None,
        stop: Start = None,
        *,
        count: int | None = None,
        newest_first: bool = False,
        max_fps: float | None = None,
    ) -> Iterator[Entry]:
        """Entries of a stream that are stored, between two ids or times."""
        return iterate(
            lambda: self._inner.range(
                stream, start, stop, count=count, newest_first=newest_first, max_fps=max_fps
            ),
            at_once=AT_ONCE,
            size=len,
        )

    def newest(self, stream: str) -> Entry | None:
        """The newest entry of a stream; None: it holds none."""
        return call(self._inner.newest, stream)

    def at(
        self,
        time: Start,
        *streams: str,
        how: How = "nearest",
        tolerance_ms: int | None = None,
    ) -> dict[str, Entry | None]:
        """What each of some streams held at a time; None: nothing near enough."""
        return call(self._inner.at, time, *streams, how=how, tolerance_ms=tolerance_ms)

    # --- streams ---------------------------------------------------------------------------------

    def list(self, pattern: str = "*") -> builtins.list[str]:
        """Names of streams that hold entries."""
        return call(self._inner.list, pattern)

    def infos(self, pattern: str = "*", *, everything: bool = False) -> builtins.list[StreamInfo]:
        """The same with what is known of each; *everything*: those without entries, too."""
        return call(self._inner.infos, pattern, everything=everything)

    def info(self, stream: str) -> StreamInfo:
        """One stream."""
        return call(self._inner.info, stream)

    def describe(
        self,
        stream: str,
        *,
        content_type: str | None = None,
        schema: Mapping[str, Any] | None = None,
        description: str | None = None,
        durability: Durability | None = None,
        retention: Retention | Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> StreamInfo:
        """Change what a stream is described as; what is None stays."""
        return call(
            self._inner.describe,
            stream,
            content_type=content_type,
            schema=schema,
            description=description,
            durability=durability,
            retention=retention,
            meta=meta,
        )

    def delete(self, stream: str) -> None:
        """Delete a stream, its entries and its description."""
        call(self._inner.delete, stream)

    def trim(self, stream: str, *, keep: int | None = None, before_id: str | None = None) -> int:
        """Remove the oldest entries; says how many went."""
        return call(self._inner.trim, stream, keep=keep, before_id=before_id)

    def ticket(self, purpose: Literal["push", "pull", "read"] = "read") -> Ticket:
        """A ticket that opens one address (``?token=…``) once, within a minute."""
        return call(self._inner.ticket, purpose)

    # --- consumers -------------------------------------------------------------------------------

    def consumer(
        self, name: str, streams: str | None = None, *, start: str = NOW, ack_wait: float = 30
    ) -> Consumer:
        """A place in streams that outlives its readers: see `AsyncClient.consumer`."""
        made = call(self._inner.consumer, name, streams, start=start, ack_wait=ack_wait)
        return Consumer(made)

    def consumers(self) -> builtins.list[ConsumerInfo]:
        """All that may be seen."""
        return call(self._inner.consumers)

    def delete_consumer(self, name: str) -> None:
        """Forget a consumer and its places."""
        call(self._inner.delete_consumer, name)

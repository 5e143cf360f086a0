"""Consumers: places in streams that are kept at the server, with acknowledgements."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec

from downstage.client.streams.api import Api, path_of
from downstage.client.streams.model import ConsumerInfo, Taken
from downstage.client.streams.outage import Outage
from downstage.client.streams.rows import Row, taken_of
from downstage.kernel.errors import Unavailable

__all__ = ["AsyncConsumer"]

WAIT_S = 20.0
PATIENCE_S = 300.0


class _Fetched(msgspec.Struct):
    items: list[Row]


class _Acked(msgspec.Struct):
    acked: int


class AsyncConsumer:
    """One consumer: ``async for taken in consumer: …; await consumer.ack(taken)``.

    Made by `AsyncClient.consumer`. What is not acknowledged in time is given again, to whoever of
    this name asks next.
    """

    def __init__(self, api: Api, info: ConsumerInfo) -> None:
        self._api = api
        self._info = info

    @property
    def name(self) -> str:
        """Of the consumer."""
        return self._info.name

    async def info(self) -> ConsumerInfo:
        """Where it stands, and how far behind."""
        path = path_of("streams-consumers", self.name)
        return await self._api.call("GET", path, returns=ConsumerInfo)

    async def fetch(self, count: int = 1, *, wait_s: float = 0.0) -> list[Taken]:
        """Entries that nobody was given yet, or that are due again.

        Args:
            count: at most.
            wait_s: seconds to wait for the first, at most 30.
        """
        path = path_of("streams-consumers", self.name, "fetch")
        body = {"count": count, "wait": wait_s}
        found = await self._api.call("POST", path, body=body, returns=_Fetched)
        return [taken_of(row, await self._api.type_of(row.stream)) for row in found.items]

    async def ack(self, *taken: Taken) -> int:
        """Acknowledge entries; says how many of them were pending."""
        by_stream = dict[str, list[str]]()
        for one in taken:
            by_stream.setdefault(one.stream, []).append(one.id)
        acked = 0
        for stream, ids in by_stream.items():
            acked += await self._ack(stream, ids, through=False)
        return acked

    async def ack_through(self, taken: Taken) -> int:
        """Acknowledge an entry and all before it in its stream."""
        return await self._ack(taken.stream, [taken.id], through=True)

    async def _ack(self, stream: str, ids: Sequence[str], *, through: bool) -> int:
        path = path_of("streams-consumers", self.name, "ack")
        body = {"stream": stream, "ids": ids, "through": through}
        return (await self._api.call("POST", path, body=body, returns=_Acked)).acked

    async def __aiter__(self) -> AsyncGenerator[Taken]:
        outage = Outage(PATIENCE_S)
        while True:
            try:
                found = await self.fetch(64, wait_s=WAIT_S)
            except Unavailable as error:
                await outage.pause(error)
                continue
            outage.over()
            for taken in found:
                yield taken

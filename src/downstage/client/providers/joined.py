"""A channel of our content service that was joined."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from downstage.client.providers.connection import Connection, Stream
from downstage.client.providers.provider import Channel
from downstage.client.types import ChannelEvent, Content

__all__ = ["ServerChannel"]

_CHANNEL_EVENTS = {
    "message": ChannelEvent.MESSAGE,
    "hello": ChannelEvent.HELLO,
    "join": ChannelEvent.JOIN,
    "left": ChannelEvent.LEFT,
    "deleted": ChannelEvent.DELETED,
    "error": ChannelEvent.ERROR,
}


class ServerChannel(Channel):
    """One membership.

    Args:
        connection: that it goes over.
        stream: what the server pushes to it.
    """

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[tuple[ChannelEvent, str, Content]]:
        async for _, raw in self._stream:
            kind, member, data, *more = msgspec.msgpack.decode(raw, type=list[Any])
            event = _CHANNEL_EVENTS.get(kind, ChannelEvent.ERROR)
            sender = str(more[0] if more and more[0] else member)
            yield event, sender, Content(data or b"")

    async def send(self, content: bytes | memoryview) -> None:
        """Say something to all others."""
        await self._connection.request("send", self._stream.id, bytes(content))

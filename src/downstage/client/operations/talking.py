"""Saying something in a channel."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from downstage.client.client import Client
from downstage.kernel.errors import NotFound

__all__ = ["send_message"]

Buffer = bytes | bytearray | memoryview


async def send_message(client: Client, join_request_id: int, content: Buffer) -> None:
    """Say something to everybody else in a channel.

    Args:
        join_request_id: `Request.id` of the `join_channel_with_callback` that joined it.
        content: the message, anything with a buffer.
    """
    channel = client.channels.get(join_request_id)
    if channel is None:
        raise NotFound("No such request has joined a channel.")
    await channel.send(memoryview(content).cast("B"))

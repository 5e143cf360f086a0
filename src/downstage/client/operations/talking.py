"""Saying something in a channel."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

import asyncio

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
    joining = client.channels.get(join_request_id)
    if joining is None:
        raise NotFound("No such request has joined a channel.")
    await asyncio.wait([joining])
    if joining.cancelled():
        raise NotFound("The channel could not be joined, or was left.")
    channel = joining.result()
    await channel.send(memoryview(content).cast("B"))

"""Saying something in a channel.

Made by ``tools/generate_client.py`` from `downstage.client.operations.talking`; change that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from downstage.client.flavour import block_bare, start_bare, wait_bare
from downstage.client.operations import talking as do
from downstage.client.request import Request
from downstage.client.types import Result

__all__ = [
    "send_message",
    "send_message_async",
    "send_message_with_callback",
]


def send_message(join_request_id: int, content: bytes | bytearray | memoryview) -> Result:
    """Say something to everybody else in a channel.

    Args:
        join_request_id: `Request.id` of the `join_channel_with_callback` that joined it.
        content: the message, anything with a buffer.
    """
    return block_bare(do.send_message, join_request_id, content)


async def send_message_async(
    join_request_id: int, content: bytes | bytearray | memoryview
) -> Result:
    """Say something to everybody else in a channel.

    Args:
        join_request_id: `Request.id` of the `join_channel_with_callback` that joined it.
        content: the message, anything with a buffer.
    """
    return await wait_bare(do.send_message, join_request_id, content)


def send_message_with_callback(
    join_request_id: int, content: bytes | bytearray | memoryview, callback: Callable[[Result], Any]
) -> Request:
    """Say something to everybody else in a channel.

    Args:
        join_request_id: `Request.id` of the `join_channel_with_callback` that joined it.
        content: the message, anything with a buffer.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.send_message, join_request_id, content)

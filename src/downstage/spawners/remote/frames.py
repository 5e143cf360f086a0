"""Frames of the stream between a manager and its half on a node. Pure.

::

    length (4) | channel (4) | kind (1) | payload (length bytes)        big-endian

Channel 0 is the stream's own. Every other one is opened by a `CALL` of the manager and is over
with an `END` of either side.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from downstage.kernel.errors import PlatformError

__all__ = [
    "MAX_PAYLOAD",
    "MAX_PIECE",
    "PROTOCOL",
    "WINDOW",
    "Decoder",
    "Frame",
    "FrameError",
    "Kind",
    "encode",
    "json_of",
    "object_of",
]

PROTOCOL = 1
"""Both ends must have the same: it changes whenever something here or in `wire` does."""
MAX_PAYLOAD = 1 << 20
MAX_PIECE = 32 * 1024
"""Bytes of one `DATA`: somebody else's frame waits for no more."""
WINDOW = 32
"""Frames of a channel that its other end has not taken yet; nobody sends more."""
HEAD = struct.Struct(">IIB")


class FrameError(PlatformError):
    """What comes is not what the other end of such a stream would send."""

    code = "bad-frame"
    status = 502


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    """Of the stream, first of all, each way: protocol and what else there is to say."""
    BEAT = 2
    """Of the stream: still there."""
    CALL = 3
    """Opens a channel: an object with ``do``."""
    ITEM = 4
    """An object; takes a place of the window."""
    DATA = 5
    """Bytes; takes a place of the window."""
    CREDIT = 6
    """So many frames were taken: ``{"frames": n}``."""
    END = 7
    """The channel is over: ``{"value": …}`` or ``{"error": …}``; from the caller: enough."""


KINDS = frozenset(int(kind) for kind in Kind)


@dataclass(frozen=True, slots=True)
class Frame:
    """One of them."""

    channel: int
    kind: Kind
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """The bytes of *frame*.

    Raises:
        FrameError: its payload is too long.
    """
    if len(frame.payload) > MAX_PAYLOAD:
        raise FrameError(f"A message of {len(frame.payload)} bytes is too long for a node.")
    return HEAD.pack(len(frame.payload), frame.channel, frame.kind) + frame.payload


class Decoder:
    """Makes frames of bytes, however they come; holds back at most one that is not whole."""

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether an end of the stream now cuts no frame in two."""
        return not self._rest

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with *data*.

        Raises:
            FrameError: these are no frames.
        """
        self._rest += data
        at = 0
        try:
            while len(self._rest) - at >= HEAD.size:
                size, channel, kind = HEAD.unpack_from(self._rest, at)
                if size > MAX_PAYLOAD or kind not in KINDS:
                    raise FrameError("What the node says is no frame.")
                begin = at + HEAD.size
                if len(self._rest) - begin < size:
                    return
                at = begin + size
                yield Frame(channel, Kind(kind), bytes(self._rest[begin:at]))
        finally:
            del self._rest[:at]


def json_of(payload: object) -> bytes:
    """An object as payload."""
    return json.dumps(payload, separators=(",", ":")).encode()


def object_of(frame: Frame) -> dict[str, Any]:
    """The object in a frame.

    Raises:
        FrameError: there is none.
    """
    try:
        found: object = json.loads(frame.payload)
    except ValueError as error:
        raise FrameError("A frame holds no JSON.") from error
    if not isinstance(found, dict):
        raise FrameError("A frame holds no object.")
    return cast("dict[str, Any]", found)

"""What is said over NATS, byte by byte: one head, then the body as it is.

::

    byte 0      version, 1
    byte 1      kind
    bytes 2–5   length of the head, big-endian
    head        msgpack, an array; what is in it depends on the kind
    body        the rest

Sans-I/O: this module never sees a connection, so it can be fuzzed whole.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TypeVar

import msgspec

__all__ = [
    "MAX_HEAD",
    "PREFIX_BYTES",
    "VERSION",
    "AnswerHead",
    "CallHead",
    "CreditHead",
    "FailHead",
    "FrameError",
    "Kind",
    "PieceHead",
    "kind_of",
    "pack",
    "pack_bare",
    "unpack",
]

VERSION = 1
MAX_HEAD = 64 * 1024
"""Bytes of a head: method, path, query and headers together."""
_PREFIX = struct.Struct(">BBI")
PREFIX_BYTES = _PREFIX.size


class FrameError(Exception):
    """A frame that cannot be read; the text says why."""


class Kind(IntEnum):
    """What a frame is."""

    CALL = 1
    """Caller → subject: a request, with its body or the first piece of it."""
    ACCEPT = 2
    """Server → caller: it takes longer, or more of the body may come; the reply subject is where
    the caller speaks to this server."""
    ANSWER = 3
    """Server → caller: status, headers, and the body or its first piece."""
    PIECE = 4
    """Either way: the next piece of a body."""
    CREDIT = 5
    """Either way: so many bytes of pieces have been taken."""
    BEAT = 6
    """Either way: still here."""
    CANCEL = 7
    """Caller → server: the answer is wanted no more."""
    FAIL = 8
    """Server → caller: there will be no answer, or no more of it."""


_KINDS = {int(kind): kind for kind in Kind}


class CallHead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A request."""

    method: str
    path: str
    """Percent-encoded."""
    query: str
    headers: list[tuple[bytes, bytes]]
    """Names in lower case."""
    deadline_ms: int = 0
    """How long the handler may take, from its arrival; 0 is for ever."""
    until_head: bool = False
    """The deadline is for the answer's head, not for the whole."""
    more: bool = False
    """Further pieces of the body follow."""


class AnswerHead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An answer's beginning."""

    status: int
    headers: list[tuple[bytes, bytes]]
    more: bool = False


class PieceHead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A piece of a body; the first after the head's own has the number 1."""

    number: int
    more: bool = True


class CreditHead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Bytes taken since the last credit, as `nats_flow.cost` counts them."""

    taken: int


class FailHead(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Why there is no answer."""

    why: str


_Head = TypeVar("_Head", CallHead, AnswerHead, PieceHead, CreditHead, FailHead)
_encode = msgspec.msgpack.Encoder().encode
_decoders = {
    head: msgspec.msgpack.Decoder(head)
    for head in (CallHead, AnswerHead, PieceHead, CreditHead, FailHead)
}


def pack(kind: Kind, head: msgspec.Struct, body: bytes | memoryview = b"") -> bytes:
    """One frame.

    Raises:
        FrameError: the head is larger than `MAX_HEAD`, or holds what it may not.
    """
    try:
        packed = _encode(head)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"the head cannot be packed: {error}") from error
    if len(packed) > MAX_HEAD:
        raise FrameError(f"the head is larger than {MAX_HEAD} bytes")
    return b"".join((_PREFIX.pack(VERSION, kind, len(packed)), packed, body))


def pack_bare(kind: Kind) -> bytes:
    """A frame without head and body."""
    return _PREFIX.pack(VERSION, kind, 0)


def kind_of(frame: bytes) -> Kind:
    """The kind of *frame*.

    Raises:
        FrameError: too short, of another version, or of no known kind.
    """
    if len(frame) < PREFIX_BYTES:
        raise FrameError("the frame is cut short")
    if frame[0] != VERSION:
        raise FrameError(f"the frame is of version {frame[0]}; version {VERSION} is spoken here")
    try:
        return _KINDS[frame[1]]
    except KeyError:
        raise FrameError(f"the frame is of the unknown kind {frame[1]}") from None


def unpack(frame: bytes, head: type[_Head]) -> tuple[_Head, bytes]:
    """Head and body of *frame*, whose kind has been looked at.

    Raises:
        FrameError: the head is too large, reaches past the frame or is out of form.
    """
    size = _PREFIX.unpack_from(frame)[2]
    end = PREFIX_BYTES + size
    if size > MAX_HEAD:
        raise FrameError(f"the head is larger than {MAX_HEAD} bytes")
    if end > len(frame):
        raise FrameError("the head reaches past the frame")
    try:
        found = _decoders[head].decode(frame[PREFIX_BYTES:end])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"the head is out of form: {error}") from None
    return found, frame[end:]  # type: ignore[return-value]

"""Frames of RFC 6455 as a server reads and writes them; no I/O.

Reading is what a socket that pushes small entries does most: a frame that is whole, unfragmented
and binary costs one pass of this loop and one copy, made while it is unmasked. Large frames arrive
in a buffer of their own, so the bytes behind them need not be moved. Nobody gets memory for what
was only announced: a buffer grows with what has arrived.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from functools import cache
from itertools import repeat

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Data",
    "FrameReader",
    "Packet",
    "Violation",
    "frame_head",
]

Data = bytes | bytearray | memoryview

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RESERVED, OPCODE, MASKED = 0x80, 0x70, 0x0F, 0x80
WHOLE_BINARY = FIN | BINARY
OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
LEAST_HEAD = 6
"""Bytes of the shortest head that a client sends: two, and the mask."""
MAX_CONTROL = 125
SHORT, LONG = 126, 127
"""In place of a length: it follows in two bytes, or in eight."""

ROOM = 256 * 1024
"""Bytes that are read at once: they stay in the processor's cache until they are unmasked."""
HEAD = 4096
"""Bytes that are read at once where a large frame is expected."""
GROWTH = 4
"""A buffer of its own holds at most so many times what has arrived of its frame."""
LARGE = 32 * 1024
"""A frame above this that is not whole yet gets a buffer of its own."""
KEPT = 16 << 20
"""The largest buffer that is kept for the next large frame, whoever sends it."""
TURN = 256
"""Frames that are told at once: the others on the loop have their turn then."""
JOINED = 96 * 1024
"""Bytes up to which it is cheaper to copy parts together than to send them apart."""


class Violation(Exception):
    """The peer broke the protocol; the socket ends with *code*."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Rooms(threading.local):
    """What the sockets of one loop read into: nothing of it is in use between two reads."""

    def __init__(self) -> None:
        self.small = bytearray(ROOM)
        self.large: bytearray | None = None


_rooms = _Rooms()


class FrameReader:
    """Cuts what arrives on one socket into messages.

    Args:
        limit: bytes that a message may have.
        on_binary, on_text: called for each message.
        on_control: called for each ping, pong and close, with opcode and payload.

    Attributes:
        paused: nothing is told while it is set; see `go_on`.
        is_behind: `TURN` frames were told at once, and more may be there: call `go_on` later.
    """

    __slots__ = (
        "_apply_mask", "_gathered", "_had_large", "_have", "_head", "_kind", "_large", "_left",
        "_mask", "_size", "is_behind", "limit", "on_binary", "on_control", "on_text", "paused",
    )  # fmt: skip

    def __init__(
        self,
        limit: int,
        on_binary: Callable[[bytes], None],
        on_text: Callable[[str], None],
        on_control: Callable[[int, bytes], None],
    ) -> None:
        self.limit = limit
        self.on_binary = on_binary
        self.on_text = on_text
        self.on_control = on_control
        self._apply_mask = _masking()
        self.paused = self.is_behind = False
        self._left = b""
        """The beginning of a frame that is not whole; while paused, whole ones too."""
        self._large: bytearray | None = None
        self._had_large = False
        self._head = self._have = self._size = 0
        self._mask = b""
        self._gathered: bytearray | None = None
        """Fragments of a message; never more than its limit, however many there are."""
        self._kind = BINARY

    @property
    def is_within(self) -> bool:
        """Whether a message has begun that is not whole."""
        return bool(self._left) or self._large is not None or self._gathered is not None

    def room(self) -> memoryview:
        """Where the next bytes go; `filled` must follow before anything else is read here."""
        large = self._large
        if large is not None:
            if self._have == len(large):
                large = self._grow(large)
            return memoryview(large)[self._have : self._size]
        left = self._left
        if not left:
            # Where large frames come, what is read with the head of one would have to be copied.
            return memoryview(_rooms.small)[:HEAD] if self._had_large else memoryview(_rooms.small)
        if len(left) > ROOM - LARGE:  # it was paused amid much
            _rooms.small = bytearray(len(left) + ROOM)
        _rooms.small[: len(left)] = left
        return memoryview(_rooms.small)[len(left) :]

    def filled(self, count: int) -> None:
        """*count* bytes were put into `room`.

        Raises:
            Violation: they are no frames that a client may send.
        """
        if self._large is None:
            self._cut(len(self._left) + count)
            return
        self._have += count
        if self._have == self._size:
            self._end_large()

    def go_on(self) -> None:
        """Tell what had arrived when this was paused, or fell behind.

        Raises:
            Violation: as `filled`.
        """
        left = self._left
        self.is_behind = False
        if left:
            _rooms.small[: len(left)] = left
            self._cut(len(left))

    def _cut(self, end: int) -> None:
        data, on_binary, limit = _rooms.small, self.on_binary, self.limit
        apply_mask = self._apply_mask
        view = memoryview(data)
        at = 0
        try:
            for _ in repeat(None, TURN):
                if end - at < LEAST_HEAD or self.paused:
                    break
                first, size, start = data[at], data[at + 1] - MASKED, at + LEAST_HEAD
                if size < 0:
                    break
                if size >= SHORT:
                    start += 2 if size == SHORT else 8
                    if start > end:
                        break
                    size = int.from_bytes(view[at + 2 : start - 4], "big")
                stop = start + size
                if (
                    first == WHOLE_BINARY
                    and stop <= end
                    and size <= limit
                    and self._gathered is None
                ):
                    payload = apply_mask(view[start:stop], data[start - 4 : start])
                    at = stop
                    self._had_large = size > LARGE
                    on_binary(payload)
                    continue
                self._check(first, size)
                if stop > end:
                    if size > LARGE:
                        self._begin_large(first, size, view[start - 4 : end])
                        at = end
                    break
                payload = apply_mask(view[start:stop], data[start - 4 : start])
                at = stop
                self._take(first, payload)
            else:
                self.is_behind = True
        finally:
            self._left = bytes(view[at:end]) if at < end else b""
        if len(self._left) > 1 and self._left[1] < MASKED and not self.paused:
            raise Violation(1002, "unmasked")

    def _check(self, first: int, size: int) -> None:
        opcode = first & OPCODE
        if first & RESERVED or opcode not in OPCODES or size >> 63:
            raise Violation(1002, "bad-frame")
        if opcode >= CLOSE:
            if not first & FIN or size > MAX_CONTROL:
                raise Violation(1002, "bad-control")
            return
        if (opcode == CONTINUATION) != (self._gathered is not None):
            raise Violation(1002, "bad-fragment")
        if size > self.limit - len(self._gathered or b""):
            raise Violation(1009, "too-large")

    def _take(self, first: int, payload: bytes) -> None:
        opcode = first & OPCODE
        if opcode >= CLOSE:
            self.on_control(opcode, payload)
        elif opcode != CONTINUATION and first & FIN:
            self._tell(opcode, payload)
        else:
            if self._gathered is None:
                self._gathered, self._kind = bytearray(), opcode
            self._gathered += payload
            if first & FIN:
                whole, self._gathered = bytes(self._gathered), None
                self._tell(self._kind, whole)

    def _tell(self, opcode: int, payload: bytes) -> None:
        if opcode == BINARY:
            self.on_binary(payload)
            return
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise Violation(1007, "bad-text") from None
        self.on_text(text)

    def _begin_large(self, first: int, size: int, mask_and_some: memoryview) -> None:
        kept, _rooms.large = _rooms.large, None
        have = len(mask_and_some) - 4
        large = kept if kept is not None else bytearray(min(size, GROWTH * HEAD))
        self._mask, large[:have] = bytes(mask_and_some[:4]), mask_and_some[4:]
        self._large, self._head, self._size, self._have = large, first, size, have
        self._had_large = True

    def _grow(self, large: bytearray) -> bytearray:
        more = bytearray(min(self._size, GROWTH * len(large)))
        more[: len(large)] = large
        self._large = more
        return more

    def _end_large(self) -> None:
        large, self._large = self._large, None
        assert large is not None  # noqa: S101 - the caller looked
        payload = self._apply_mask(memoryview(large)[: self._size], self._mask)
        if len(large) <= KEPT and len(large) > len(_rooms.large or b""):
            _rooms.large = large
        self._take(self._head, payload)


def frame_head(opcode: int, size: int) -> bytes:
    """What stands before the payload of a whole frame that a server sends."""
    if size < SHORT:
        return bytes((FIN | opcode, size))
    if size < 1 << 16:
        return struct.pack("!BBH", FIN | opcode, SHORT, size)
    return struct.pack("!BBQ", FIN | opcode, LONG, size)


class Packet:
    """Messages in order, encoded once for all sockets that they are sent to.

    Args:
        messages: each its opcode, `TEXT` or `BINARY`, and the parts that it is made of.

    Attributes:
        messages: the same.
        size: bytes on the wire.
        wire: framed: what a server writes.
    """

    __slots__ = ("messages", "size", "wire")

    def __init__(self, *messages: tuple[int, Sequence[Data]]) -> None:
        self.messages = messages
        wire = list[Data]()
        for opcode, parts in messages:
            wire.append(frame_head(opcode, sum(map(len, parts))))
            wire += parts
        self.size = sum(map(len, wire))
        self.wire: list[Data] = [b"".join(wire)] if self.size <= JOINED else wire


@cache
def _masking() -> Callable[..., bytes]:
    """What masks and unmasks.

    It is loaded with the first socket: who imports the framework to call a service needs none.
    """
    try:
        from websockets.speedups import apply_mask
    except ImportError:  # built without a compiler: right, and slow
        from websockets.utils import apply_mask
    return apply_mask

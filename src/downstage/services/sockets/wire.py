"""One open socket on our own server: frames in, frames out, nothing between."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Sequence

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.sockets.frames import (
    BINARY,
    CLOSE,
    LARGE,
    PING,
    PONG,
    TEXT,
    Data,
    FrameReader,
    Packet,
    Violation,
    frame_head,
)
from downstage.services.sockets.words import CLOSE as CODE
from downstage.services.sockets.words import Listener, close_of

__all__ = ["CLOSE_S", "IDLE_S", "WireSocket"]

IDLE_S = 60.0
"""How long a peer may say nothing, not even to a ping."""
CLOSE_S = 3.0
"""How long a peer may take to let itself be closed, and what waits to leave."""
STALLED_S = 1.0
"""The same when the server stops."""
BEATS = 3
"""Times that a silent peer is asked while it may be idle."""
TLS_S = 0.25
"""How long what comes is still read where TLS cannot say that no more will leave."""
HIGH, LOW = 1 << 20, 1 << 18
"""Bytes that wait to leave: above the first much waits, below the second most of it has left."""
MAX_UNSENT_PONGS = 64 * 1024
"""Whoever asks faster than it reads the answers gets none for a while."""
LEAST_PROGRESS = 16 * 1024
"""Bytes of a large message, either way, by which a slow peer shows that it moves."""
MAX_REASON = 123
SENT_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})
FIRST_FREE, LAST_FREE = 3000, 4999
log = get_logger(__name__)


class WireSocket(asyncio.BufferedProtocol):
    """Reads and writes one socket, once the request that opened it has been answered.

    Args:
        transport: of the connection; it is not read until `start`.
        listener: is called for what comes.
        limit: bytes of a message.
        idle_s: how long the peer may be silent.
        on_lost: called once when the connection has gone.
        facts: for the log.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        listener: Listener,
        *,
        limit: int,
        idle_s: float,
        on_lost: Callable[[WireSocket], None],
        facts: dict[str, str],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._listener = listener
        self._on_lost = on_lost
        self._facts = facts
        self._reader = FrameReader(limit, listener.on_binary, listener.on_text, self._on_control)
        self._is_open = True
        self._is_dead = False
        """What comes can no longer be read as frames: it is thrown away."""
        self._is_held = False
        self._told_close = False
        self._read = self._written = self._moved = 0
        self._heard = True
        self._missed = 0
        self._beat_s = idle_s / BEATS
        self._timer: asyncio.TimerHandle | None = None

    def start(self, early: bytes = b"") -> None:
        """Tell the listener, and read; *early* came before anything else."""
        self._transport.set_write_buffer_limits(HIGH, LOW)
        # Sockets that were opened together do not all ask at the same moment.
        self._set_timer(self._beat_s * random.uniform(0.7, 1), self._beat)  # noqa: S311
        self._guarded(self._listener.on_open, self)
        while early:
            room = self.get_buffer(len(early))
            count = min(len(room), len(early))
            room[:count] = early[:count]
            self.buffer_updated(count)
            early = early[count:]
        if not self._reader.paused:
            self._transport.resume_reading()

    # What comes.

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        del sizehint
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """So many came."""
        self._read += nbytes
        if self._is_dead:
            return
        try:
            self._reader.filled(nbytes)
        except (Violation, PlatformError) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the edge: it ends this socket alone
            self._crash(error)
        if self._reader.is_behind and not self._reader.paused:
            self._rest()

    def _rest(self) -> None:
        """Let others on the loop have their turn: this peer sends more than it can be told at once.

        Without that whoever sends empty frames as fast as the network takes them has the loop for
        itself.
        """
        if not self._transport.is_closing():
            self._reader.paused = True
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._is_dead or self._transport.is_closing() or (self._is_held and self._is_open):
            return
        self._reader.paused = False
        self._guarded(self._reader.go_on)
        if self._reader.paused:
            return
        if self._reader.is_behind:
            self._rest()
        else:
            self._transport.resume_reading()

    def _guarded(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            function(*arguments)
        except (Violation, PlatformError) as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the edge, as above
            self._crash(error)

    def _on_control(self, opcode: int, payload: bytes) -> None:
        self._heard = True
        if opcode == PING:
            if self._is_open and self.buffered() < MAX_UNSENT_PONGS:
                self._write([frame_head(PONG, len(payload)), payload])
        elif opcode == CLOSE:
            self._answer_close(payload)

    def _answer_close(self, payload: bytes) -> None:
        if self._is_open:
            code = _code_of(payload)
            self._end(code, "")
        self._reader.paused = self._is_dead = True
        self._transport.close()

    # What leaves.

    @property
    def is_open(self) -> bool:
        """Whether what is sent now may still arrive."""
        return self._is_open

    def send_text(self, text: str | bytes) -> None:
        """Send one text message."""
        data = text.encode() if isinstance(text, str) else text
        self._send(TEXT, [data])

    def send_bytes(self, data: Data) -> None:
        """Send one binary message."""
        self._send(BINARY, [data])

    def send_buffers(self, parts: Sequence[Data]) -> None:
        """Send one binary message made of *parts*."""
        self._send(BINARY, parts)

    def send_packet(self, packet: Packet) -> None:
        """Send what was encoded before."""
        if self._is_open:
            self._written += packet.size
            self._transport.writelines(packet.wire)

    def _send(self, opcode: int, parts: Sequence[Data]) -> None:
        if self._is_open:
            self._write([frame_head(opcode, sum(map(len, parts))), *parts])

    def _write(self, parts: Sequence[Data]) -> None:
        size = sum(map(len, parts))
        self._written += size
        if size <= LARGE:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def buffered(self) -> int:
        """Bytes that wait to leave."""
        return self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """Read no more."""
        self._is_held = True
        if self._is_open and not self._reader.paused:
            self._reader.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._is_held:
            self._is_held = False
            self._loop.call_soon(self._go_on)  # the caller may be in the middle of something

    def resume_writing(self) -> None:
        """Most of what waited has left."""
        if self._is_open:
            self._guarded(self._listener.on_drained)

    # How it ends.

    def close(self, code: int = CODE.NORMAL, reason: str = "") -> None:
        """Say why, and end."""
        if not self._is_open:
            return
        self._end(code, reason)
        # The peer's answer is waited for, and what comes before it is no longer told.
        reader = self._reader
        reader.on_binary = reader.on_text = _forget
        if not reader.paused:
            reader.paused = True
            self._transport.pause_reading()
        self._loop.call_soon(self._go_on)

    def shutdown(self) -> None:
        """The server stops."""
        self.close(CODE.GOING_AWAY, "going-away")
        self._set_timer(STALLED_S, self._transport.abort)

    def _end(self, code: int | None, reason: str) -> None:
        self._is_open = False
        payload = b"" if code is None else struct.pack("!H", code) + reason.encode()[:MAX_REASON]
        self._write([frame_head(CLOSE, len(payload)), payload])
        self._set_timer(CLOSE_S, self._transport.abort)
        self._tell_close()

    def _fail(self, error: Violation | PlatformError) -> None:
        if isinstance(error, Violation):
            self._break(error.code, error.reason)
            return
        if self._is_open:
            code, reason = close_of(error)
            if code == CODE.OURS:
                log.error("socket.failed", exc_info=error, code=error.code, **self._facts)
            self.close(code, reason)

    def _crash(self, error: Exception) -> None:
        log.error("socket.crashed", exc_info=error, **self._facts)
        self._break(CODE.OURS, "internal")

    def _break(self, code: int, reason: str) -> None:
        """End where what comes is not understood: it is read and forgotten until the peer left.

        Were the connection closed with bytes unread, the kernel would reset it, and the peer never
        learn why.
        """
        if self._is_open:
            self._end(code, reason)
        self._is_dead = True
        self._reader = FrameReader(0, _forget, _forget, _forget_control)
        if not self._transport.is_closing():
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._loop.call_later(TLS_S, self._transport.close)
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        """The peer says nothing more: so do we."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        del exc
        self._is_open, self._is_dead = False, True
        if self._timer is not None:
            self._timer.cancel()
        self._tell_close()
        self._on_lost(self)

    def _tell_close(self) -> None:
        if not self._told_close:
            self._told_close = True
            try:
                self._listener.on_close()
            except Exception:  # the edge: nobody is left who could be told
                log.exception("socket.crashed", **self._facts)

    # Whether anybody is there.

    def _beat(self) -> None:
        """Now and then: ask a silent peer, and end with one that does not answer."""
        self._set_timer(self._beat_s, self._beat)
        moved = self._read + self._written - self.buffered()
        has_moved = moved - self._moved >= LEAST_PROGRESS
        is_there = self._heard or has_moved or self._reader.paused
        self._missed = 0 if is_there else self._missed + 1
        self._heard, self._moved = False, moved
        if self._missed >= BEATS:
            self._break(CODE.POLICY, "idle")
        elif not has_moved:
            self._write([frame_head(PING, 0)])

    def _set_timer(self, seconds: float, function: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, function)


def _forget(message: object) -> None:
    del message


def _forget_control(opcode: int, payload: bytes) -> None:
    del opcode, payload


def _code_of(payload: bytes) -> int | None:
    """The code that a peer gave; None: it gave none.

    Raises:
        Violation: none that may be sent, or a reason that is no text.
    """
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 0
    if code not in SENT_CODES and not FIRST_FREE <= code <= LAST_FREE:
        raise Violation(1002, "bad-close")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(1007, "bad-text") from None
    return code

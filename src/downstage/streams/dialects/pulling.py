"""One socket that pulls, while it is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from downstage.kernel.errors import PlatformError, UnsupportedMedia
from downstage.services.sockets import CLOSE, Socket, close_of
from downstage.streams.delivery import encode
from downstage.streams.dialects.conversion import Conversion
from downstage.streams.dialects.staying import Staying
from downstage.streams.model import Caller, EntryId
from downstage.streams.reading import Delivery, Sink, Wish
from downstage.streams.subscription import Subscription

__all__ = ["PullSocket", "Wishes"]


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a socket that pulls was opened with."""

    wish: Wish
    header: bool
    ack: bool
    rate_s: float
    """Seconds from one delivery to the next, at least."""
    timeout_s: float
    """Seconds without any data after which it is closed; 0: never."""
    output: str | None
    source: str | None


Subscribe = Callable[[Caller, Wish, Sink], Subscription]


class PullSocket(Staying):
    """One reader.

    Args:
        subscribe: of the service.
        caller: who reads.
        wishes: what.
        conversion: into another form, where that is wanted.
        own: tell what was skipped or lost, as our own API does.
    """

    def __init__(
        self,
        subscribe: Subscribe,
        caller: Caller,
        wishes: Wishes,
        conversion: Conversion | None,
        *,
        own: bool,
    ) -> None:
        self._subscribe = subscribe
        self._reader = caller
        self._wishes = wishes
        self._conversion = conversion
        self._own = own
        self._sink: _Sink | None = None
        self._subscription: Subscription | None = None

    def on_open(self, socket: Socket) -> None:
        """Begin."""
        super().on_open(socket)
        self._sink = _Sink(socket, self._wishes, self._conversion, own=self._own)
        self._subscription = self._subscribe(self._reader, self._wishes.wish, self._sink)
        self._sink.begin(self._subscription.wake)

    def on_text(self, text: str) -> None:
        """Any message acknowledges the last delivery."""
        del text
        if self._sink is not None:
            self._sink.acknowledged()

    def on_binary(self, data: bytes) -> None:
        """As a text."""
        del data
        if self._sink is not None:
            self._sink.acknowledged()

    def on_drained(self) -> None:
        """There is room again."""
        if self._sink is not None:
            self._sink.drained()

    def on_close(self) -> None:
        """It is over."""
        if self._subscription is not None:
            self._subscription.end()
        if self._sink is not None:
            self._sink.end()
        super().on_close()


class _Sink(Sink):
    """Where the subscription delivers to: the socket, at the pace that its reader wants."""

    def __init__(
        self, socket: Socket, wishes: Wishes, conversion: Conversion | None, *, own: bool
    ) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._socket = socket
        self._wishes = wishes
        self._conversion = conversion
        self._own = own
        self._header = wishes.header
        self._is_paced = bool(wishes.ack or wishes.rate_s)
        self._awaits = False
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._rest: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._wake: Callable[[], None] = _nothing
        if conversion is not None:
            conversion.start(self._send, self.drained, self.failed)
        if wishes.timeout_s:
            self._silence = self._loop.call_later(wishes.timeout_s, self._on_silence)

    def begin(self, wake: Callable[[], None]) -> None:
        """*wake* tells the subscription that this is ready again."""
        self._wake = wake

    def end(self) -> None:
        """Nothing follows."""
        for timer in (self._rest, self._silence):
            if timer is not None:
                timer.cancel()
        if self._conversion is not None:
            self._conversion.stop()

    def deliver(self, delivery: Delivery) -> None:
        """Send entries."""
        self._last = self._loop.time()
        if self._own and delivery.skipped:
            self._socket.send_text(msgspec.json.encode({"skipped": delivery.skipped}))
        if self._conversion is None:
            self._socket.send_packet(encode(delivery, header=self._header))
        else:
            self._conversion.put(delivery)
        if self._is_paced:
            self._awaits = self._wishes.ack
            if self._wishes.rate_s:
                self._rest = self._loop.call_later(self._wishes.rate_s, self._rested)

    def _send(self, delivery: Delivery) -> None:
        self._socket.send_packet(encode(delivery, header=self._header))

    def buffered(self) -> int:
        """Bytes that have not left, those that are being converted among them."""
        waiting = self._socket.buffered()
        return waiting if self._conversion is None else waiting + self._conversion.size

    def drained(self) -> None:
        """They have."""
        if self.on_drained is not None:
            self.on_drained()

    def ready(self) -> bool:
        """Whether the next delivery may come."""
        return not self._is_paced or not (self._awaits or self._rest is not None)

    def acknowledged(self) -> None:
        """The reader has what was sent last."""
        if self._awaits:
            self._awaits = False
            self._go_on()

    def _rested(self) -> None:
        self._rest = None
        self._go_on()

    def _go_on(self) -> None:
        if self.ready():
            self._wake()

    def _on_silence(self) -> None:
        left = self._last + self._wishes.timeout_s - self._loop.time()
        if left <= 0:
            self._socket.close(CLOSE.NORMAL, "timeout")
        else:
            self._silence = self._loop.call_later(left, self._on_silence)

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        """The engine has lost entries."""
        if self._own:
            said = {"gap": {"stream": stream, "lost": lost, "after": str(after)}}
            self._socket.send_text(msgspec.json.encode(said))

    def failed(self, error: PlatformError) -> None:
        """The subscription has ended."""
        code, reason = close_of(error)
        is_form = isinstance(error, UnsupportedMedia)
        self._socket.close(CLOSE.UNSUPPORTED if is_form else code, reason)


def _nothing() -> None: ...

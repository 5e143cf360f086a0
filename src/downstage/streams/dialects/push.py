"""Sockets that push: ``/data/{ids}/push`` as the data server has it, and our own.

Plain, each binary message is an entry. In batches a text, the header, comes before each binary
message. Names joined by ``+`` and ``*`` push in batches, whatever is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from downstage.kernel.errors import (
    BadFrame,
    BadMessage,
    Forbidden,
    InvalidField,
    PlatformError,
)
from downstage.services.sockets import (
    CLOSE,
    Handover,
    Listener,
    Socket,
    SocketRequest,
    close_of,
)
from downstage.streams import names
from downstage.streams.append import Producer
from downstage.streams.dialects.asked import Asked, Refused
from downstage.streams.dialects.staying import Staying
from downstage.streams.framing import MAX_HEADER, Offsets, Rows, cut, read_rows
from downstage.streams.model import AUTO, Caller, Receipt, Right
from downstage.streams.service import Streams
from downstage.streams.words import Item

__all__ = ["DataServerAnswers", "OwnAnswers", "PushOpener"]

ALL = "*"
UNDERSTOOD = "Send a header as text, then one binary message, in turn."


class Answers(Protocol):
    """How a dialect tells what became of a push."""

    def stored(self, socket: Socket, receipt: Receipt, key: str | None) -> None:
        """It was stored, under that key."""
        ...

    def refused(
        self, socket: Socket, error: PlatformError, key: str | None, *, acked: bool
    ) -> None:
        """Nothing of it was; *acked*: the client waits to be told."""
        ...


class DataServerAnswers:
    """Ids joined by commas; whatever is refused closes the socket."""

    def stored(self, socket: Socket, receipt: Receipt, key: str | None) -> None:
        """Tell the ids."""
        del key
        socket.send_text(b",".join(receipt.ids))

    def refused(
        self, socket: Socket, error: PlatformError, key: str | None, *, acked: bool
    ) -> None:
        """Close."""
        del key, acked
        socket.close(*close_of(error))


class OwnAnswers:
    """JSON; whoever waits to be told may go on after a refusal.

    The key of a push comes back: what is refused at once overtakes what is being stored.
    """

    def stored(self, socket: Socket, receipt: Receipt, key: str | None) -> None:
        """Tell the ids, and what was promised for them."""
        said: dict[str, object] = {
            "ids": [id_.decode("ascii") for id_ in receipt.ids],
            "durability": receipt.durability.value,
        }
        if receipt.repeated:
            said["repeated"] = True
        if key is not None:
            said["key"] = key
        socket.send_text(msgspec.json.encode(said))

    def refused(
        self, socket: Socket, error: PlatformError, key: str | None, *, acked: bool
    ) -> None:
        """Tell why, or close."""
        if not acked:
            socket.close(*close_of(error))
            return
        said: dict[str, object] = {"error": {"code": error.code, "detail": error.detail}}
        if key is not None:
            said["key"] = key
        socket.send_text(msgspec.json.encode(said))


class _Header(msgspec.Struct):
    """Our own form of a header: an object around the list."""

    entries: msgspec.Raw
    key: str | None = None
    offsets: Offsets | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a socket that pushes was opened with."""

    streams: tuple[str, ...] | None
    """Of the path; None: the headers name them."""
    batch: bool
    ack: bool
    offsets: Offsets | None
    by_time: bool
    """Ids are the times that HoloLens frames say."""

    @classmethod
    def of(cls, asked: Asked) -> Wishes:
        """As the address has them.

        Raises:
            InvalidField: something there is out of form.
        """
        joined = asked.names
        streams = None if joined == ALL else names.split(joined)
        is_one = streams is not None and len(streams) == 1
        offsets: Offsets | None = asked.one_of("offsets", "start", "end")  # pyright: ignore[reportAssignmentType]
        return cls(
            streams,
            asked.yes("batch", False) or not is_one,
            asked.yes("ack", False),
            offsets,
            asked.yes("parse_meta", False),
        )


class PushOpener:
    """Makes listeners to sockets that push.

    Args:
        streams: where to.
        answers: of the dialect.
    """

    def __init__(self, streams: Streams, answers: Answers) -> None:
        self._streams = streams
        self._answers = answers

    def listen(self, caller: Caller, request: SocketRequest) -> Listener:
        """For a producer.

        Raises:
            PlatformError: it may not push there.
        """
        try:
            wishes = Wishes.of(Asked(request))
        except InvalidField as error:
            return Refused(error)
        _check_any(caller, wishes)
        producer = self._streams.producer(caller, wishes.streams)
        return PushSocket(producer, wishes, self._answers)


def _check_any(caller: Caller, wishes: Wishes) -> None:
    if wishes.streams is None and not any(
        grant.rights & (Right.WRITE | Right.ADMIN) for grant in caller.grants
    ):
        raise Forbidden("This token may not push.", scope="streams:write")


class PushSocket(Staying):
    """One producer."""

    def __init__(self, producer: Producer, wishes: Wishes, answers: Answers) -> None:
        self._producer = producer
        self._wishes = wishes
        self._answers = answers
        self._header: tuple[Rows, Offsets | None, str | None] | None = None
        self._is_skipping = False
        """The header of the binary message that comes next was refused."""
        self._done = self._told if wishes.ack else None
        if not wishes.batch:
            stream = (wishes.streams or ("",))[0]
            self.on_binary = partial(self._single, stream)
            if not wishes.ack and not wishes.by_time:
                self.on_binary = partial(producer.put, stream)  # the hot path: nothing between

    def elsewhere(self, handover: Handover) -> bool:
        """The producer is there, then."""
        is_away = super().elsewhere(handover)
        if is_away:
            self._producer.close()
        return is_away

    def on_open(self, socket: Socket) -> None:
        """Let the store say when it has too much to do, and what it refused."""
        super().on_open(socket)
        self._producer.on_pressure = self._on_pressure
        self._producer.on_failed = self._on_failed

    def on_close(self) -> None:
        """What was put goes on."""
        self._producer.on_pressure = self._producer.on_failed = None
        self._producer.close()
        super().on_close()

    def on_text(self, text: str) -> None:
        """A header."""
        if not self._wishes.batch or self._header is not None or self._is_skipping:
            self._unsupported(UNDERSTOOD if self._wishes.batch else "Send binary messages alone.")
            return
        try:
            self._header = self._read(text)
        except PlatformError as error:
            self._is_skipping = True
            self._refuse(error)

    def on_binary(self, data: bytes) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The payloads of a batch."""
        header, self._header = self._header, None
        if header is None:
            if not self._is_skipping:
                self._unsupported(UNDERSTOOD)
            self._is_skipping = False
            return
        rows, offsets, key = header
        try:
            items = cut(rows, data, self._wishes.streams, offsets=offsets)
            if self._wishes.by_time:
                items = [_timed(item) for item in items]
            done = self._done
            if done is not None and key is not None:
                done = partial(self._told, key=key)
            self._producer.put_batch(items, done, key=key)
        except PlatformError as error:
            self._refuse(error, key)

    def _single(self, stream: str, data: bytes) -> None:
        item: Item = (stream, AUTO, data)
        try:
            self._producer.put_batch([_timed(item) if self._wishes.by_time else item], self._done)
        except PlatformError as error:
            self._refuse(error)

    def _read(self, text: str) -> tuple[Rows, Offsets | None, str | None]:
        offsets = self._wishes.offsets
        if not text.startswith("{") or not isinstance(self._answers, OwnAnswers):
            return read_rows(text), offsets, None
        if len(text) > MAX_HEADER:
            raise BadFrame(f"A header has at most {MAX_HEADER} bytes.", bytes=len(text))
        try:
            header = msgspec.json.decode(text, type=_Header)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadFrame("The header is not an object with entries.") from error
        return read_rows(bytes(header.entries)), header.offsets or offsets, header.key

    def _told(self, result: Receipt | PlatformError, key: str | None = None) -> None:
        if not self.socket.is_open:
            return
        if isinstance(result, PlatformError):
            self._refuse(result, key)
        else:
            self._answers.stored(self.socket, result, key)

    def _refuse(self, error: PlatformError, key: str | None = None) -> None:
        self._answers.refused(self.socket, error, key, acked=self._wishes.ack)

    def _unsupported(self, detail: str) -> None:
        self.socket.close(CLOSE.UNSUPPORTED, BadMessage(detail).code)

    def _on_failed(self, error: PlatformError) -> None:
        self.socket.close(*close_of(error))

    def _on_pressure(self, is_pressed: bool) -> None:
        if is_pressed:
            self.socket.pause()
        else:
            self.socket.resume()


def _timed(item: Item) -> Item:
    """*item* with the time that its frame says, where it says one."""
    from downstage.media.holo import time_ms

    found = time_ms(bytes(item[2]))
    return item if found is None else (item[0], b"%d-*" % found, item[2])

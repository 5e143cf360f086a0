"""Reader, publisher, consumer and recordings for programs without an event loop."""

from __future__ import annotations

import builtins
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from downstage.client.client import default_client
from downstage.client.streams.blocking import call, iterate
from downstage.client.streams.consuming import AsyncConsumer
from downstage.client.streams.model import (
    ConsumerInfo,
    Entry,
    Receipt,
    RecordingInfo,
    ReplayInfo,
    Taken,
)
from downstage.client.streams.outgoing import Item
from downstage.client.streams.pulling import AsyncPull
from downstage.client.streams.pushing import AsyncPush, Time, entry_id_of
from downstage.client.streams.recording import AsyncRecordings, Progress
from downstage.client.streams.values import JPEG, encode, encode_image
from downstage.client.turns import Turns

__all__ = ["Consumer", "Pull", "Push", "Recordings"]

LOOK_S = 1.0


class Pull:
    """Entries of streams, as they come: ``for entry in pull``. Made by `Client.pull`.

    Leaving the loop ends it; iterating again goes on where it was.
    """

    def __init__(self, inner: AsyncPull) -> None:
        self._inner = inner

    @property
    def gaps(self) -> Sequence[Any]:
        """Entries that are missing, as far as it is known; the newest ones."""
        return tuple(self._inner.gaps)

    @property
    def skipped(self) -> int:
        """Entries that were passed over because this reader was slow (``latest=True``)."""
        return self._inner.skipped

    @property
    def last_ids(self) -> dict[str, str]:
        """The last id that was received of each stream: what ``last=`` takes to go on later."""
        return self._inner.last_ids

    def __enter__(self) -> Self:
        call(self._inner.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Entry]:
        found = deque[Entry]()
        try:
            while found := deque(call(self._inner.take, self._inner.at_once)):
                while found:
                    yield found.popleft()
        finally:
            call(self._end, found)

    async def _end(self, found: Sequence[Entry]) -> None:
        self._inner.give_back(found)
        await self._inner.close()

    def values(self) -> Iterator[Any]:
        """What the entries mean, by their types: arrays, pixels, objects, text, bytes."""
        for entry in self:
            yield entry.value

    def take(self, most: int = 64) -> list[Entry]:
        """The next entries: at least one, at most *most*; none: that was all."""
        return call(self._inner.take, most)

    def close(self) -> None:
        """End it."""
        call(self._inner.close)


class Push:
    """Pushes: ``with client.push("cam") as push: push.send(value)``. Made by `Client.push`.

    Safe from several threads. Leaving the block waits until all is stored, unless it is left by an
    error.
    """

    def __init__(self, inner: AsyncPush) -> None:
        self._inner = inner
        self._turns = Turns(default_client().engine.loop)
        self._changed = threading.Condition()
        self._handed = 0
        """Bytes that are on their way to the loop."""
        inner.publishing.on_freed = self._freed

    @property
    def sent(self) -> int:
        """Entries that were sent."""
        return self._inner.sent

    @property
    def stored(self) -> int:
        """Entries that the server acknowledged."""
        return self._inner.stored

    @property
    def dropped(self) -> int:
        """Entries that gave way because the server did not keep up (``when_full="drop"``)."""
        return self._inner.dropped

    def __enter__(self) -> Self:
        call(self._inner.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self.close()

    def send(
        self,
        value: Any,
        *,
        stream: str | None = None,
        content_type: str | None = None,
        id: str | None = None,  # noqa: A002 - its name
        time: Time = None,
    ) -> None:
        """Push a value; returns as soon as there is room for it: see `AsyncPush.send`.

        Raises:
            PlatformError: what went wrong with an earlier one; `flush` tells the last ones.
        """
        self._add(self._item(value, stream, content_type, id, time))

    def send_image(
        self,
        frame: Any,
        *,
        stream: str | None = None,
        quality: int = 85,
        order: Literal["RGB", "BGR"] = "BGR",
        form: str = JPEG,
        id: str | None = None,  # noqa: A002 - its name
        time: Time = None,
    ) -> None:
        """Push a picture as JPEG (or PNG): see `AsyncPush.send_image`."""
        data = encode_image(frame, quality=quality, order=order, form=form)
        name = self._inner.name_of(stream)
        self._settle(name, form)
        self._add(Item(name, data, entry_id_of(id, time)))

    def store(
        self,
        value: Any,
        *,
        stream: str | None = None,
        content_type: str | None = None,
        id: str | None = None,  # noqa: A002 - its name
        time: Time = None,
    ) -> Receipt:
        """Push a value and wait until it is stored."""
        return call(self._inner.stored_item, self._item(value, stream, content_type, id, time))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all is acknowledged (with ``ack=False``: has left)."""
        call(self._inner.flush, timeout)

    def close(self) -> None:
        """End without waiting; what was not acknowledged may be stored, or not."""
        call(self._inner.close)

    def _item(
        self, value: Any, stream: str | None, kind: str | None, id_: str | None, time: Time
    ) -> Item:
        name = self._inner.name_of(stream)
        data, told = encode(value)
        self._settle(name, kind or told)
        return Item(name, data, entry_id_of(id_, time))

    def _settle(self, stream: str, kind: str | None) -> None:
        if stream not in self._inner.settled:
            call(self._inner.settle, stream, kind)

    def _add(self, item: Item) -> None:
        inner, publishing = self._inner, self._inner.publishing
        publishing.check()
        drops = inner.manner.when_full == "drop"
        with self._changed:
            while self._is_full() and publishing.failed is None and not drops:
                self._changed.wait(LOOK_S)
            self._handed += item.size
        publishing.check()

        def add() -> None:
            self._handed -= item.size
            if drops and publishing.out.is_full and not inner.drop_one():
                inner.dropped += 1
                return
            publishing.add(item)

        self._turns.put(add)

    def _is_full(self) -> bool:
        return self._inner.publishing.out.bytes + self._handed >= self._inner.manner.sizes.in_flight

    def _freed(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Consumer:
    """A place in streams that is kept at the server: ``for taken in consumer``."""

    def __init__(self, inner: AsyncConsumer) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """Of the consumer."""
        return self._inner.name

    def info(self) -> ConsumerInfo:
        """Where it stands, and how far behind."""
        return call(self._inner.info)

    def fetch(self, count: int = 1, *, wait_s: float = 0.0) -> list[Taken]:
        """Entries that nobody was given yet, or that are due again."""
        return call(self._inner.fetch, count, wait_s=wait_s)

    def ack(self, *taken: Taken) -> int:
        """Acknowledge entries; says how many of them were pending."""
        return call(self._inner.ack, *taken)

    def ack_through(self, taken: Taken) -> int:
        """Acknowledge an entry and all before it in its stream."""
        return call(self._inner.ack_through, taken)

    def __iter__(self) -> Iterator[Taken]:
        return iterate(self._inner.__aiter__)


class Recordings:
    """What `Client.recordings` offers; see `AsyncRecordings` for each."""

    def __init__(self, inner: AsyncRecordings) -> None:
        self._inner = inner

    def list(self, pattern: str = "*", *, hidden: bool = False) -> list[RecordingInfo]:
        """Recordings, the oldest first."""
        return call(self._inner.list, pattern, hidden=hidden)

    def start(self, *streams: str, name: str | None = None) -> RecordingInfo:
        """Record streams at the server until it is stopped."""
        return call(self._inner.start, *streams, name=name)

    def info(self, name: str) -> RecordingInfo:
        """One recording as it stands."""
        return call(self._inner.info, name)

    def stop(self, name: str) -> RecordingInfo:
        """End a recording; its file is closed then."""
        return call(self._inner.stop, name)

    def change(
        self, name: str, *, new_name: str | None = None, hidden: bool | None = None
    ) -> RecordingInfo:
        """Rename a recording, hide it, show it again."""
        return call(self._inner.change, name, new_name=new_name, hidden=hidden)

    def delete(self, name: str) -> None:
        """Remove a recording for good."""
        call(self._inner.delete, name)

    def replay(self, name: str, **options: Any) -> ReplayInfo:
        """Push what was recorded again; the options are those of `AsyncRecordings.replay`."""
        return call(self._inner.replay, name, **options)

    def replays(self, name: str) -> builtins.list[ReplayInfo]:
        """Replays of a recording, the oldest first."""
        return call(self._inner.replays, name)

    def follow(self, replay: ReplayInfo, interval_s: float = 0.5) -> Iterator[ReplayInfo]:
        """How far a replay is, again and again, until it is over."""
        return iterate(lambda: self._inner.follow(replay, interval_s))

    def steer(self, replay: ReplayInfo, **changes: Any) -> ReplayInfo:
        """Change speed, pause, go on, move to a place."""
        return call(self._inner.steer, replay, **changes)

    def stop_replay(self, replay: ReplayInfo) -> None:
        """End a replay."""
        call(self._inner.stop_replay, replay)

    def export(
        self,
        name: str,
        target: Path | str,
        *,
        streams: Sequence[str] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Write a recording into a ``.mcap`` or a ``.zip``; says how many bytes."""
        return call(self._inner.export, name, target, streams=streams, progress=progress)

    def import_(
        self, source: Path | str, *, name: str | None = None, progress: Progress | None = None
    ) -> RecordingInfo:
        """Take a ``.mcap`` or a ``.zip`` as a recording of the server."""
        return call(self._inner.import_, source, name=name, progress=progress)

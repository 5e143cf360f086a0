"""What a process appends to one shard, in order: one train for each turn of the event loop.

A train that somebody waits for is a transaction that also sets a marker to the train's number. So
after a broken connection the marker says exactly which trains were done: those are answered for,
the others are sent again, and nothing is stored twice. Trains that nobody waits for carry no
marker; where their connection breaks what was not answered is counted as unknown.

While the engine is away trains are held, up to a deadline; then they are refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from downstage.kernel.errors import PlatformError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.streams.engine.replies import Lost, NotReady
from downstage.streams.engine.resp import Buffer, Replies, encode
from downstage.streams.outlet import Outlet

__all__ = ["HOLD_S", "Answer", "Outbox", "Train", "Unit", "Way"]

HOLD_S = 10.0
"""Seconds for which what was pushed waits for an engine that is away."""
MARKER_S = 24 * 3600
PER_ENTRY = 64
log = get_logger(__name__)
MULTI = encode("MULTI")
EXEC = encode("EXEC")

Answer = bytes | PlatformError
"""The id of an entry, or why it was not stored."""


class Way(Protocol):
    """How trains leave; a lane, whichever is the present one."""

    @property
    def is_open(self) -> bool:
        """Whether what is sent now may be answered."""
        ...

    def send(
        self, buffers: Sequence[Buffer], replies: int, on_replies: Replies, *, size: int = 0
    ) -> None:
        """Send whole commands; see `Lane.send`."""
        ...


class Unit:
    """Entries that are answered for together."""

    __slots__ = ("count", "outlets", "owner", "size", "tell")

    def __init__(
        self, owner: object, tell: Callable[[Unit, list[Answer]], None], outlets: list[Outlet]
    ) -> None:
        self.owner = owner
        self.tell = tell
        self.outlets = outlets
        """Of each entry; of all where there is one only."""
        self.count = 0
        self.size = 0


class Train:
    """What leaves at once."""

    __slots__ = ("buffers", "count", "held_at", "number", "size", "units")

    def __init__(self, units: list[Unit], buffers: list[Buffer], size: int, number: int) -> None:
        self.units = units
        self.buffers = buffers
        """Three for each entry: head, payload, end."""
        self.count = len(buffers) // 3
        self.size = size
        self.number = number
        """Of the marker; 0 where nobody waits."""
        self.held_at = 0.0


class Outbox:
    """Appends to one shard.

    Args:
        marker: key of the marker, in this shard.
        high: bytes not yet answered at which producers are told to pause.
        waits: for a replica: each train ends with a WAIT of this many milliseconds; 0: no.
    """

    def __init__(self, way: Way, marker: bytes, high: int, *, waits: int = 0) -> None:
        self.pressure: set[Callable[[bool], None]] = set()
        self.in_flight = 0
        self.is_pressed = False
        self.unknown: deque[Train] = deque()
        """Trains somebody waits for of which it is not known whether they were done."""
        self.on_trouble: Callable[[], None] = _nothing
        """Told when trains are held: somebody must call `resume` when the engine is there."""
        self.lost = 0
        """Entries that nobody waits for, and whose fate is unknown."""
        self.unit: Unit | None = None
        """The last one of the train that is being made."""
        self.out: list[Buffer] = []
        self._way = way
        self.marker = marker
        """Key that holds the number of the last train that was done, of those waited for."""
        self._waits = encode("WAIT", 1, waits) if waits else b""
        self._high, self._low = high, high // 2
        self._loop = asyncio.get_running_loop()
        self._units: list[Unit] = []
        self._exact = bool(waits)
        self._number = 0
        self._held: deque[Train] = deque()
        self._is_held = False

    # --- filling -------------------------------------------------------------------------------

    def begin(
        self, owner: object, tell: Callable[[Unit, list[Answer]], None], outlets: list[Outlet]
    ) -> Unit:
        """A unit at the end of this turn's train, to be filled at once: `out`, count and size."""
        if not self._units:
            self._loop.call_soon(self.flush)
        unit = self.unit = Unit(owner, tell, outlets)
        self._units.append(unit)
        return unit

    def want_answer(self) -> None:
        """Somebody waits for the train that is being made."""
        self._exact = True

    def flush(self) -> None:
        """Send what was gathered."""
        if not self._units:
            return
        units, self._units = self._units, []
        out, self.out = self.out, []
        self.unit = None
        size = 0
        for unit in units:
            size += unit.size + PER_ENTRY * unit.count
            if len(unit.outlets) == 1:
                unit.outlets[0].took(unit.count, unit.size)
        number = 0
        if self._exact:
            self._number = number = self._number + 1
            self._exact = bool(self._waits)
        train = Train(units, out, size, number)
        self.in_flight += size
        if self.in_flight > self._high and not self.is_pressed:
            self._press(True)
        if self._is_held:
            self._hold(train)
        else:
            self._send(train)

    # --- sending -------------------------------------------------------------------------------

    def _send(self, train: Train) -> None:
        count, number = train.count, train.number
        if not number:
            self._way.send(
                train.buffers, count, lambda replies: self._plain(train, replies), size=train.size
            )
            return
        mark = encode("SET", self.marker, number, "EX", MARKER_S)
        buffers = [MULTI, *train.buffers, mark, EXEC]
        replies = count + 3
        if self._waits:
            buffers.append(self._waits)
            replies += 1
        self._way.send(
            buffers, replies, lambda replies: self._exactly(train, replies), size=train.size
        )

    def _plain(self, train: Train, replies: list[Any]) -> None:
        """Answers to a train that nobody waits for."""
        again: list[int] = []
        for at, reply in enumerate(replies):
            if isinstance(reply, NotReady):
                if isinstance(reply, Lost) and reply.sent:
                    self.lost += 1
                else:
                    again.append(at)
        if not again:
            self._tell(train, replies)
            return
        # The engine was not there, or refused to be asked just now: nothing of these was stored.
        left, back = _divide(train, replies, again)
        if left is not None:
            self._tell(left, [replies[at] for at in range(len(replies)) if at not in set(again)])
        self._put_back(back)

    def _exactly(self, train: Train, replies: list[Any]) -> None:
        """Answers to a train that somebody waits for."""
        copied = replies.pop() if self._waits else 1
        result = replies[-1]
        if isinstance(result, list):
            answers = cast("list[Answer]", result[: train.count])
            if not isinstance(copied, int) or copied < 1:
                answers = [_not_copied(answer) for answer in answers]
            self._tell(train, answers)
            return
        first = next((reply for reply in replies if isinstance(reply, PlatformError)), result)
        if any(isinstance(reply, Lost) and reply.sent for reply in replies):
            train.held_at = self._loop.time()
            self.unknown.append(train)
            self._hold_on()
        elif isinstance(first, NotReady):
            self._put_back(train)
        else:
            error = first if isinstance(first, PlatformError) else _odd()
            self._tell(train, [error] * train.count)

    def _tell(self, train: Train, answers: list[Answer]) -> None:
        at = 0
        for unit in train.units:
            mine = answers[at : at + unit.count] if len(train.units) > 1 else answers
            try:
                unit.tell(unit, mine)
            except Exception:  # whose answer it is; the others' must not suffer
                log.exception("streams.answer_failed")
            at += unit.count
        self.in_flight -= train.size
        if self.is_pressed and self.in_flight < self._low:
            self._press(False)

    def _press(self, is_pressed: bool) -> None:
        self.is_pressed = is_pressed
        for tell in tuple(self.pressure):
            tell(is_pressed)

    # --- while the engine is away ----------------------------------------------------------------

    def _put_back(self, train: Train) -> None:
        if not train.held_at:
            train.held_at = self._loop.time()
        # Answers come in order, so those that come back do, too: behind one another, and before
        # whatever was held without having been sent.
        at = 0
        while at < len(self._held) and self._held[at].held_at < 0:
            at += 1
        self._held.insert(at, train)
        train.held_at = -abs(train.held_at)
        self._hold_on()

    def _hold(self, train: Train) -> None:
        train.held_at = self._loop.time()
        self._held.append(train)
        self.on_trouble()

    def _hold_on(self) -> None:
        if not self._is_held:
            self._is_held = True
            self.on_trouble()

    @property
    def is_held(self) -> bool:
        """Whether nothing is sent just now."""
        return self._is_held

    def hold(self) -> None:
        """The engine is away: send nothing until `resume`."""
        self._hold_on()

    def resume(self, done: int, ids: Callable[[Train], list[Answer]]) -> None:
        """The engine is there again, and its marker says *done*.

        *ids* gives the answers to a train that was done.
        """
        unknown, self.unknown = self.unknown, deque()
        held, self._held = self._held, deque()
        self._is_held = False
        again = [train for train in unknown if train.number > done]
        for train in unknown:
            if train.number <= done:
                self._tell(train, ids(train))
        for train in (*again, *held):
            train.held_at = 0.0
            if self._is_held:
                self._hold(train)
            else:
                self._send(train)

    def expire(self, now: float) -> None:
        """Refuse what has waited too long for an engine that is away."""
        while self.unknown and now - self.unknown[0].held_at > HOLD_S:
            train = self.unknown.popleft()
            self._tell(train, [_unsure()] * train.count)
        while self._held and now - abs(self._held[0].held_at) > HOLD_S:
            train = self._held.popleft()
            self._tell(train, [_away()] * train.count)

    def give_up(self) -> None:
        """Answer everything that is held or unknown: nothing will be sent any more."""
        while self.unknown:
            train = self.unknown.popleft()
            self._tell(train, [_unsure()] * train.count)
        while self._held:
            train = self._held.popleft()
            self._tell(train, [_away()] * train.count)


def _divide(train: Train, replies: list[Any], again: list[int]) -> tuple[Train | None, Train]:
    """*train* as what was answered, and as the entries at *again*, which go once more."""
    if len(again) == len(replies):
        return None, train
    back_at = set(again)
    parts: list[tuple[list[Unit], list[Buffer]]] = [([], []), ([], [])]
    at = 0
    for unit in train.units:
        halves = (
            Unit(unit.owner, unit.tell, unit.outlets),
            Unit(unit.owner, unit.tell, unit.outlets),
        )
        for place in range(at, at + unit.count):
            side = place in back_at
            entry = train.buffers[3 * place : 3 * place + 3]
            halves[side].count += 1
            halves[side].size += len(entry[1])
            parts[side][1].extend(entry)
        for side, half in enumerate(halves):
            if half.count:
                parts[side][0].append(half)
        at += unit.count
    sizes = [sum(unit.size + PER_ENTRY * unit.count for unit in part[0]) for part in parts]
    left, back = (
        Train(units, buffers, size, 0) for (units, buffers), size in zip(parts, sizes, strict=True)
    )
    return left, back


def _nothing() -> None: ...


def _away() -> PlatformError:
    return Unavailable("The engine of streams does not answer; nothing was stored.")


def _unsure() -> PlatformError:
    return Unavailable("The engine of streams does not answer; it may have been stored.")


def _odd() -> PlatformError:
    return Unavailable("The engine of streams did not do it; nothing was stored.")


def _not_copied(answer: Answer) -> Answer:
    if isinstance(answer, PlatformError):
        return answer
    return Unavailable("It was stored, but no replica had it in time.")

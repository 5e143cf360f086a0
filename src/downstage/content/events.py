"""What happened, in one order: to who watches now, and to who asks since when.

A subscription is entered first and reads its past afterwards, so that nothing falls between. It is
bounded: who does not read loses the events and is told to list again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, cast

from downstage.content.change import Recorded
from downstage.content.model import Caller, Entry, Event, EventKind, Scope
from downstage.kernel.errors import Gone

__all__ = ["MAX_BUFFER", "Calling", "Hub", "Subscription", "forget_old", "newest", "read_since"]

MAX_BUFFER = 4096
"""Events that wait for one subscriber."""
MAX_SCAN = 100_000
"""Events of everybody that are looked through for one subscriber who resumes; about 50 ms."""
FORGET_AT_ONCE = 10_000

GONE = frozenset({"deleted", "obliterated"})


class Views(Protocol):
    """What callers see of an event's node."""

    def sees(self, caller: Caller, recorded: Recorded, *, before: bool) -> bool:
        """Whether a caller may read it where it is after the event, or where it was *before*."""
        ...

    def of_event(self, caller: Caller, recorded: Recorded) -> Entry | None:
        """The node as a caller who may read it sees it; None: it is gone for good."""
        ...


@dataclass(slots=True)
class Watch:
    """What a subscription watches."""

    caller: Caller
    target: int
    path: str
    chain: tuple[int, ...]
    scope: Scope
    is_lost: bool = False
    """The caller may not read the target any more, and was told that it is gone."""


class Subscription:
    """Events as they come; iterate over it. Bounded: see `MAX_BUFFER`."""

    def __init__(self, watch: Watch, seq: int) -> None:
        self.watch = watch
        self.seq = seq
        """Everything up to this one is told, or happened before."""
        self._buffer: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def push(self, event: Event) -> None:
        """Let *event* wait; too many make place for one that says to list again."""
        if len(self._buffer) >= MAX_BUFFER:
            self._buffer.clear()
            event = Event(event.seq, "relist", self.watch.path, at=event.at)
        self._buffer.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the iteration once what waits was read."""
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._buffer:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._buffer.popleft()
        self.seq = event.seq
        return event


class Calling(Subscription):
    """Hands its events to *take* as they happen, on the loop, instead of letting them wait."""

    def __init__(self, watch: Watch, seq: int, take: Callable[[Event], None]) -> None:
        super().__init__(watch, seq)
        self._take = take

    def push(self, event: Event) -> None:
        """See `Subscription`."""
        self.seq = event.seq
        self._take(event)


class Hub:
    """Hands each event to the subscriptions that may see it; lives on the loop.

    Args:
        views: what callers see of an event's node.
    """

    def __init__(self, views: Views) -> None:
        self._views = views
        self._judging: Recorded | None = None
        self._judged: dict[tuple[int, bool], bool] = {}
        self._shown: dict[int, Entry | None] = {}
        self._by_target: dict[int, set[Subscription]] = {}
        self._by_way: dict[int, set[Subscription]] = {}
        """By each node on the way to the target: what happens to it happens to the target."""
        self._taps = list[Callable[[Recorded], None]]()
        self.published = 0
        """Of the newest event that was handed out."""

    def add(self, subscription: Subscription) -> None:
        """From now on it gets what happens."""
        watch = subscription.watch
        self._by_target.setdefault(watch.target, set()).add(subscription)
        for node in watch.chain[:-1]:
            self._by_way.setdefault(node, set()).add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """It gets nothing any more."""
        self._forget(subscription)
        subscription.close()

    def close(self) -> None:
        """End every subscription."""
        for found in list(self._by_target.values()):
            for subscription in list(found):
                self.remove(subscription)

    def tap(self, take: Callable[[Recorded], None]) -> None:
        """Hand *take* everything that happens, whoever may see it, until `untap`."""
        self._taps.append(take)

    def untap(self, take: Callable[[Recorded], None]) -> None:
        """No more of it."""
        self._taps.remove(take)

    def publish(self, events: Sequence[Recorded]) -> None:
        """Hand out the events of a commit, in their order."""
        if not (self._by_target or self._taps) and events:
            self.published = events[-1].seq
            return
        for recorded in events:
            for tap in self._taps:
                tap(recorded)
            for subscription in self._concerned(recorded):
                self._forget(subscription)  # what it watches may be elsewhere afterwards
                self.offer(subscription, recorded)
                self.add(subscription)
            self.published = recorded.seq

    def offer(self, subscription: Subscription, recorded: Recorded) -> None:
        """Hand *recorded* to a subscription, if it is of interest there and may be seen."""
        watch = subscription.watch
        if recorded.seq <= subscription.seq:
            return  # a reading saw it before it was handed out
        if recorded is not self._judging:
            self._judging, self._judged, self._shown = recorded, {}, {}
        if recorded.node in watch.chain[:-1]:
            event = self._from_above(watch, recorded)
        else:
            event = self._within(watch, recorded)
        if event is not None:
            subscription.push(event)

    def _concerned(self, recorded: Recorded) -> set[Subscription]:
        found = set(self._by_way.get(recorded.node, ()))
        for node in {*recorded.chain, *recorded.old_chain}:
            found |= self._by_target.get(node, set())
        return found

    def _forget(self, subscription: Subscription) -> None:
        watch = subscription.watch
        places = [(self._by_target, watch.target)]
        places += [(self._by_way, node) for node in watch.chain[:-1]]
        for index, node in places:
            found = index.get(node, set())
            found.discard(subscription)
            if not found:
                index.pop(node, None)

    def _within(self, watch: Watch, recorded: Recorded) -> Event | None:
        """What happened to the target, or to something in it."""
        now = _covers(watch, recorded.chain)
        before = _covers(watch, recorded.old_chain) if recorded.old_chain else now
        old = before and self._sees(watch, recorded, before=True)
        if recorded.kind in GONE:
            return _event(recorded, None) if old else None
        new = now and self._sees(watch, recorded, before=False)
        if recorded.node == watch.target and recorded.kind == "renamed":
            watch.path, watch.chain = recorded.path, recorded.chain
        if recorded.kind == "acl" and now and not new:
            return _lost(watch, recorded)
        if new:
            return self._seen(watch, recorded, was_seen=old)
        if not old or recorded.kind != "renamed":
            return None
        watch.is_lost = watch.is_lost or recorded.node == watch.target
        return _gone(recorded, recorded.old_path)

    def _seen(self, watch: Watch, recorded: Recorded, *, was_seen: bool) -> Event | None:
        """What is told of something that may be seen after it; *was_seen*: before it, too."""
        watch.is_lost = watch.is_lost and recorded.node != watch.target
        entry = self._shown_to(watch, recorded)
        if entry is None and recorded.kind != "renamed":
            return None  # that it is gone for good comes yet
        if was_seen or recorded.kind != "renamed":
            return _event(recorded, entry)
        return _event(recorded._replace(kind="created", old_path=""), entry)

    def _from_above(self, watch: Watch, recorded: Recorded) -> Event | None:
        """What happened to a folder above the target happened to the target too."""
        if recorded.kind not in {*GONE, "renamed", "undeleted", "acl"}:
            return None
        old_path, depth = "", watch.chain.index(recorded.node)
        if recorded.kind == "renamed":
            rest = watch.path.split("/")[depth + 1 :]
            old_path = "/".join([recorded.old_path, *rest])
            watch.path = "/".join([recorded.path, *rest])
            watch.chain = recorded.chain + watch.chain[depth + 1 :]
        mine = recorded._replace(
            node=watch.target, chain=watch.chain, path=watch.path, old_path=old_path,
            old_chain=(), row=None,
        )  # fmt: skip
        if recorded.kind in GONE:
            return None if watch.is_lost else _event(mine, None)
        was_lost, watch.is_lost = (
            watch.is_lost,
            not self._views.sees(watch.caller, mine, before=False),
        )
        if not watch.is_lost:
            return _event(mine, self._views.of_event(watch.caller, mine))
        # Where it goes from then on is no business of the caller's.
        return None if was_lost else _gone(mine, old_path or watch.path)

    # Many watch for one caller: each is judged once for each event.

    def _sees(self, watch: Watch, recorded: Recorded, *, before: bool) -> bool:
        key = (id(watch.caller), before)
        sees = self._judged.get(key)
        if sees is None:
            sees = self._views.sees(watch.caller, recorded, before=before)
            self._judged[key] = sees
        return sees

    def _shown_to(self, watch: Watch, recorded: Recorded) -> Entry | None:
        key = id(watch.caller)
        if key not in self._shown:
            self._shown[key] = self._views.of_event(watch.caller, recorded)
        return self._shown[key]


def read_since(db: sqlite3.Connection, watch: Watch, since: int, upto: int) -> list[Recorded]:
    """The events after *since*, up to *upto*, that may concern a subscription.

    Raises:
        Gone: they are not all kept any more, never happened here, or are too many.
    """
    (oldest, last) = db.execute(
        "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM event"
    ).fetchone()
    if since > last or since + 1 < oldest or upto - since > MAX_SCAN:
        raise Gone("These events are not kept any more; list again.", since=since)
    above = ",".join("?" * len(watch.chain))
    rows = db.execute(
        "SELECT seq, kind, node, chain, path, old_chain, old_path, by, at FROM event"  # noqa: S608 - question marks
        " WHERE seq > ? AND seq <= ? AND (instr(' ' || chain || ' ', ?) > 0"
        f" OR instr(' ' || old_chain || ' ', ?) > 0 OR node IN ({above}))"
        " ORDER BY seq LIMIT ?",
        (since, upto, f" {watch.target} ", f" {watch.target} ", *watch.chain, MAX_BUFFER + 1),
    ).fetchall()
    if len(rows) > MAX_BUFFER:
        raise Gone("Too much happened meanwhile; list again.", since=since)
    return [_recorded(row) for row in rows]


def newest(db: sqlite3.Connection) -> int:
    """The seq of the last event that a connection sees."""
    return db.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]


def forget_old(db: sqlite3.Connection, kept: int) -> None:
    """Drop the oldest events beyond *kept*, some at a time; the newest always stays."""
    (newest, oldest) = db.execute("SELECT max(seq), min(seq) FROM event").fetchone()
    if newest is not None and newest - oldest >= kept + FORGET_AT_ONCE // 10:
        bound = min(newest - kept, oldest + FORGET_AT_ONCE)
        db.execute("DELETE FROM event WHERE seq <= ?", (bound,))


def _covers(watch: Watch, chain: tuple[int, ...]) -> bool:
    if watch.scope == "tree":
        return watch.target in chain
    if watch.scope == "list":
        return watch.target in chain[-2:]
    return chain[-1:] == (watch.target,)


def _lost(watch: Watch, recorded: Recorded) -> Event | None:
    """Rights were taken: the thing itself is gone for who watches it, else list again."""
    if watch.is_lost:
        return None
    if recorded.node == watch.target:
        watch.is_lost = True
        return _gone(recorded, recorded.path)
    return Event(recorded.seq, "relist", watch.path, at=recorded.at)


def _gone(recorded: Recorded, path: str) -> Event:
    """It went where it may not be seen."""
    return _event(recorded._replace(kind="deleted", path=path, old_path=""), None)


def _event(recorded: Recorded, entry: Entry | None) -> Event:
    return Event(
        recorded.seq, recorded.kind, recorded.path, recorded.old_path, entry, recorded.by,
        recorded.at, recorded.node,
    )  # fmt: skip


def _recorded(row: tuple[Any, ...]) -> Recorded:
    seq, kind, node, chain, path, old_chain, old_path, by, at = row
    return Recorded(
        seq, cast("EventKind", kind), node, _ids(chain), path, _ids(old_chain), old_path, by, at,
        None,
    )  # fmt: skip


def _ids(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))

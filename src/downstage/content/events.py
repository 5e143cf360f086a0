"""What happened, in one order: to who watches now, and to who asks since when.

A subscription is entered first and reads its past afterwards, so that nothing falls between. It is
bounded: who does not read loses the events and is told to list again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self, cast

from downstage.content.model import Caller, Entry, Event, EventKind, Scope
from downstage.content.writer import Recorded
from downstage.kernel.errors import Gone

__all__ = ["MAX_BUFFER", "Hub", "Subscription", "forget_old", "read_since"]

MAX_BUFFER = 4096
"""Events that wait for one subscriber."""
KEPT = 100_000
"""Events that are kept for who resumes."""
FORGET_AT_ONCE = 10_000

View = Callable[[Caller, Recorded], Entry | None]
"""What a caller sees of an event's node as it is after it; None: nothing."""


@dataclass(slots=True)
class Watch:
    """What a subscription watches."""

    caller: Caller
    target: int
    path: str
    chain: tuple[int, ...]
    scope: Scope


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


class Hub:
    """Hands each event to the subscriptions that may see it; lives on the loop.

    Args:
        view: what a caller sees of an event's node.
        seq: the newest event that is committed already.
    """

    def __init__(self, view: View, seq: int) -> None:
        self._view = view
        self._all = set[Subscription]()
        self._taps = list[Callable[[Recorded], None]]()
        self.published = seq
        """Of the newest event that was handed out."""

    def add(self, subscription: Subscription) -> None:
        """From now on it gets what happens."""
        self._all.add(subscription)

    def remove(self, subscription: Subscription) -> None:
        """It gets nothing any more."""
        self._all.discard(subscription)
        subscription.close()

    def tap(self, take: Callable[[Recorded], None]) -> None:
        """Hand *take* everything that happens, whoever may see it, until `untap`."""
        self._taps.append(take)

    def untap(self, take: Callable[[Recorded], None]) -> None:
        """No more of it."""
        self._taps.remove(take)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._all):
            self.remove(subscription)

    def publish(self, events: Iterable[Recorded]) -> None:
        """Hand out the events of a commit, in their order."""
        for recorded in events:
            for tap in self._taps:
                tap(recorded)
            for subscription in self._all:
                self.offer(subscription, recorded)
            self.published = recorded.seq

    def offer(self, subscription: Subscription, recorded: Recorded) -> None:
        """Hand *recorded* to a subscription, if it is of interest there and may be seen."""
        event = self._seen(subscription.watch, recorded)
        if event is not None:
            subscription.push(event)

    def _seen(self, watch: Watch, recorded: Recorded) -> Event | None:
        above = recorded.node != watch.target and recorded.node in watch.chain
        if above:
            return self._seen_from_below(watch, recorded)
        now = _covers(watch, recorded.chain) and recorded.kind != "obliterated"
        before = _covers(watch, recorded.old_chain or recorded.chain)
        if not now and not before:
            return None
        entry = self._view(watch.caller, recorded) if now else None
        gone = recorded.kind in {"deleted", "obliterated"}
        if recorded.kind == "renamed":
            return _renamed(watch, recorded, entry, before=before)
        if entry is None and not (gone and _was_visible(self._view, watch.caller, recorded)):
            return None
        return _event(recorded, None if gone else entry)

    def _seen_from_below(self, watch: Watch, recorded: Recorded) -> Event | None:
        """What happened to a folder above the target happened to the target too."""
        depth = watch.chain.index(recorded.node)
        if recorded.kind == "renamed":
            rest = watch.path.split("/")[depth + 1 :]
            old, new = watch.path, "/".join([recorded.path.rstrip("/"), *rest])
            watch.path, watch.chain = new, recorded.chain + watch.chain[depth + 1 :]
            return Event(recorded.seq, "renamed", new, old, by=recorded.by, at=recorded.at,
                         node_id=watch.target)  # fmt: skip
        if recorded.kind in {"deleted", "obliterated", "undeleted", "acl"}:
            return Event(recorded.seq, recorded.kind, watch.path, by=recorded.by, at=recorded.at,
                         node_id=watch.target)  # fmt: skip
        return None


def read_since(db: sqlite3.Connection, since: int, upto: int) -> list[Recorded]:
    """The events after *since*, up to *upto*.

    Raises:
        Gone: they are not all kept any more, or never happened here.
    """
    (oldest, newest) = db.execute(
        "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM event"
    ).fetchone()
    if since > newest or since + 1 < oldest or upto - since > MAX_BUFFER:
        raise Gone("These events are not kept any more; list again.", since=since)
    rows = db.execute(
        "SELECT seq, kind, node, chain, path, old_chain, old_path, by, at FROM event"
        " WHERE seq > ? AND seq <= ? ORDER BY seq",
        (since, upto),
    )
    return [_recorded(row) for row in rows]


def forget_old(db: sqlite3.Connection, kept: int = KEPT) -> None:
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


def _renamed(
    watch: Watch, recorded: Recorded, entry: Entry | None, *, before: bool
) -> Event | None:
    """A move within what is watched and seen, out of it, or into it."""
    if recorded.node == watch.target:
        watch.path, watch.chain = recorded.path, recorded.chain
    if entry is not None and before:
        return _event(recorded, entry)
    if entry is not None:
        return Event(recorded.seq, "created", recorded.path, "", entry, recorded.by, recorded.at,
                     recorded.node)  # fmt: skip
    if before:
        return Event(recorded.seq, "deleted", recorded.old_path, by=recorded.by, at=recorded.at,
                     node_id=recorded.node)  # fmt: skip
    return None


def _was_visible(view: View, caller: Caller, recorded: Recorded) -> bool:
    return view(caller, recorded) is not None


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

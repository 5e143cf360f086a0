"""The one writer: a thread, a connection, and as many operations a transaction as are waiting.

An answer comes after the commit. Each operation has a savepoint of its own, so that one that is
refused takes nothing else with it. When the disk is full the transaction is gone: its operations
are then tried one by one, and what does not fit is refused while the rest goes on.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from downstage.content.model import EventKind
from downstage.kernel.chaos import point
from downstage.kernel.errors import (
    DeadlineExceeded,
    InvalidField,
    OutOfSpace,
    PlatformError,
    Unavailable,
)
from downstage.kernel.logging import get_logger

__all__ = ["Change", "Recorded", "Writer"]

T = TypeVar("T")

MAX_WAITING = 4096
"""Operations that may wait; more are refused with `Unavailable`."""
MAX_GROUP = 256
"""Operations of one transaction; bounds how long the first one waits for the last."""
GROUP_S = 0.05
"""Seconds after which a transaction takes in no more."""
ANSWER_S = 300.0
"""Seconds that an answer may take; a copy of a million files takes a tenth of that."""
IDLE_S = 1.0
"""Seconds between two rounds of housekeeping."""
CLOSE_S = 30.0
FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
log = get_logger(__name__)


class Committing(Protocol):
    """Told of every commit, in the writer's thread, before and after it."""

    def __call__(self, *, begins: bool, moves: bool) -> None: ...


class Recorded(NamedTuple):
    """An event as it is stored; chains are ids from the root down to the node itself."""

    seq: int
    kind: EventKind
    node: int
    chain: tuple[int, ...]
    path: str
    old_chain: tuple[int, ...]
    old_path: str
    by: str
    at: int
    row: tuple[Any, ...] | None
    """The node after the operation; None: read it when it is needed."""


class Change:
    """One operation inside the transaction: its connection, its time, what it did."""

    __slots__ = ("at", "db", "events", "moves", "seq", "stale")

    def __init__(self, db: sqlite3.Connection, at: int, seq: int, stale: set[str]) -> None:
        self.db = db
        self.at = at
        """Nanoseconds since the epoch; the time of everything that this operation does."""
        self.seq = seq
        self.events: list[Recorded] = []
        self.stale = stale
        """Tables held in memory that this transaction changed, so far: ``lock``, ``acl``."""
        self.moves = False
        """Set when a folder that was there is somewhere else, or gone."""

    def next_seq(self) -> int:
        """The number of the next event; give it to `record`."""
        self.seq += 1
        return self.seq


@dataclass(slots=True)
class _Job(Generic[T]):
    run: Callable[[Change], T]
    future: asyncio.Future[T] | None
    outcome: T | None = None
    error: BaseException | None = None
    change: Change | None = field(default=None)


class Writer:
    """Runs operations in the order in which they came.

    Args:
        connection: the only one that writes; closed by `close`.
        now_ns: the time, nanoseconds since the epoch.
        committing: called before and after every commit; says whether it begins, and whether it
            moves folders or changes rights.
        mirror: called after a commit, before its answers, with the mirrored tables that changed.
        publish: called on the loop with the events of a commit, before its answers are given.
        housekeeping: run as an operation every `IDLE_S`, while nothing fails.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        now_ns: Callable[[], int],
        committing: Committing,
        mirror: Callable[[sqlite3.Connection, set[str]], None],
        publish: Callable[[list[Recorded]], None],
        housekeeping: Callable[[Change], None],
    ) -> None:
        self._db = connection
        self._now_ns = now_ns
        self._committing = committing
        self._mirror = mirror
        self._publish = publish
        self._housekeeping = housekeeping
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._late = list[_Job[Any]]()
        self._stale = set[str]()
        self._closed = False
        self._cleaned = time.monotonic()
        (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        self._seq = cast("int", seq)
        self._thread = threading.Thread(target=self._run, name="content-writer", daemon=True)
        self._thread.start()

    @property
    def seq(self) -> int:
        """Of the newest event that is committed."""
        return self._seq

    async def change(self, run: Callable[[Change], T]) -> T:
        """Do *run* in a transaction; back after it is durable. Once queued it is not undone.

        Raises:
            Unavailable: too much is waiting, or the service is closing.
            OutOfSpace: the disk is full; nothing of it was done.
            DeadlineExceeded: no answer for `ANSWER_S`; whether it is done is not known.
        """
        if self._closed or self._waiting >= MAX_WAITING:
            raise Unavailable("Too many changes are waiting.", retry_after_s=1)
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting += 1
        self._jobs.put(_Job(run, future))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError:
            raise DeadlineExceeded("It takes too long, and may be done nevertheless.") from None

    async def close(self) -> None:
        """Finish what waits, then end; idempotent."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    # In the thread.

    def _run(self) -> None:
        ending = False
        while not ending or self._late:
            group, last = self._gather()
            ending = ending or last
            if group:
                self._commit_group(group)
            if time.monotonic() - self._cleaned >= IDLE_S:
                self._clean()
        self._db.close()

    def _gather(self) -> tuple[list[_Job[Any]], bool]:
        """What waits, up to a group; and whether this was the last."""
        group, self._late = self._late, []
        block = not group
        while len(group) < MAX_GROUP:
            try:
                job = self._jobs.get(block=block, timeout=IDLE_S)
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
            block = False
        return group, False

    def _commit_group(self, group: list[_Job[Any]]) -> None:
        try:
            self._transact(group)
        except sqlite3.Error as error:
            self._roll_back()
            if len(group) == 1 or not _is_full(error):
                self._fail(group, error)
            else:
                for job in group:
                    self._commit_group([job])
                return
        except Exception as error:
            # The supervisor of all writing: without this thread nobody would ever be answered.
            self._roll_back()
            log.exception("content.writer_failed", operations=len(group))
            self._fail(group, error)
        self._answer(group)

    def _transact(self, group: list[_Job[Any]]) -> None:
        """Do all of *group* and commit.

        Raises:
            sqlite3.Error: nothing of it was done.
        """
        started = time.monotonic()
        seq, stale = self._seq, set[str]()
        self._db.execute("BEGIN IMMEDIATE")
        for number, job in enumerate(group):
            job.change = Change(self._db, self._now_ns(), seq, stale)
            seq = self._attempt(job, job.change)
            if time.monotonic() - started > GROUP_S:
                self._put_back(group, number + 1)
                break
        moves = "acl" in stale or any(job.change.moves for job in group if job.change)
        self._committing(begins=True, moves=moves)
        try:
            point("content.commit.before")
            self._db.execute("COMMIT")
            point("content.commit.after")
            self._seq = seq
            self._renew(stale)
        finally:
            self._committing(begins=False, moves=moves)

    def _renew(self, stale: set[str]) -> None:
        """Mirror what changed. What is committed stands: a mirror that fails is tried again."""
        self._stale |= stale
        if not self._stale:
            return
        try:
            self._mirror(self._db, self._stale)
        except sqlite3.Error:
            log.exception("content.mirror_failed", tables=sorted(self._stale))
        else:
            self._stale.clear()

    def _attempt(self, job: _Job[Any], change: Change) -> int:
        """Run one operation in its savepoint; the newest seq after it."""
        before = change.seq
        self._db.execute("SAVEPOINT operation")
        try:
            job.outcome = job.run(change)
            job.error = None
            if change.events:
                _store(self._db, change.events)
        except sqlite3.Error as error:
            if _is_full(error) or not self._db.in_transaction:
                raise
            job.error = error
        except UnicodeEncodeError:
            job.error = InvalidField("text", "it holds half a character, which is no UTF-8")
        except Exception as error:  # noqa: BLE001 - each operation's error is its asker's
            job.error = error
        if job.error is not None:
            self._db.execute("ROLLBACK TO operation")
            change.events.clear()
            change.moves = False
            change.seq = before
        self._db.execute("RELEASE operation")
        return change.seq

    def _put_back(self, group: list[_Job[Any]], start: int) -> None:
        """Leave the rest of *group* for the next transaction, before all that waits."""
        self._late[:0] = group[start:]
        del group[start:]

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _fail(self, group: list[_Job[Any]], error: Exception) -> None:
        refused: PlatformError
        if _is_full(error):
            refused = OutOfSpace("The disk is full; nothing was written.")
        else:
            refused = Unavailable("The database could not be written.")
        log.error("content.write_failed", error=str(error), operations=len(group))
        for job in group:
            job.error = refused
            job.change = None

    def _answer(self, group: list[_Job[Any]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, group)
        except RuntimeError:  # the loop has ended: nobody waits any more
            log.warning("content.answer_dropped", operations=len(group))

    def _clean(self) -> None:
        self._cleaned = time.monotonic()
        job = _Job[None](self._housekeeping, None)
        self._commit_group([job])
        if job.error is not None:
            log.error("content.housekeeping_failed", error=str(job.error))

    # On the loop.

    def _deliver(self, group: list[_Job[Any]]) -> None:
        events = [event for job in group if job.change is not None for event in job.change.events]
        try:
            if events:
                self._publish(events)
        except Exception:  # at the edge of the loop: who waits is answered all the same
            log.exception("content.events_lost", first=events[0].seq)
        for job in group:
            if job.future is None:
                continue
            self._waiting -= 1
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.outcome)


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) in FULL


def _store(db: sqlite3.Connection, events: list[Recorded]) -> None:
    db.executemany(
        "INSERT INTO event (seq, kind, node, chain, path, old_chain, old_path, by, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(e.seq, e.kind, e.node, _text(e.chain), e.path, _text(e.old_chain)),
                *(e.old_path, e.by, e.at),
            )
            for e in events
        ],
    )


def _text(chain: tuple[int, ...]) -> str:
    return " ".join(map(str, chain))

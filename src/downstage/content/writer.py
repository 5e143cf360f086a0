"""The one writer: a thread, a connection, and as many operations a transaction as are waiting.

An answer comes after the commit. One operation that is refused takes nothing else with it: nearly
all are refused before they wrote anything; where one was not, the transaction is done anew with a
savepoint around each. When the disk is full the transaction is gone: its operations are then tried
one by one, and what does not fit is refused while the rest goes on. So an operation may run more
than once: it changes nothing but the database.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from downstage.content.change import Change, Recorded, store
from downstage.content.folders import Folders
from downstage.content.locks import Moment
from downstage.content.patience import Patience
from downstage.kernel.chaos import point
from downstage.kernel.errors import InvalidField, OutOfSpace, PlatformError, Unavailable
from downstage.kernel.logging import get_logger

__all__ = ["Writer"]

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
        now: the time.
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
        now: Callable[[], Moment],
        committing: Committing,
        mirror: Callable[[sqlite3.Connection, set[str]], None],
        publish: Callable[[list[Recorded]], None],
        housekeeping: Callable[[Change], None],
    ) -> None:
        self._db = connection
        self._folders = Folders(connection)
        self._now = now
        self._committing = committing
        self._mirror = mirror
        self._publish = publish
        self._housekeeping = housekeeping
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._patience = Patience()
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
        self._patience.watch(future, ANSWER_S)
        self._jobs.put(_Job(run, future))
        return await future

    async def close(self) -> None:
        """Finish what waits, then end; idempotent."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join, CLOSE_S)
        self._patience.close()

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
        stale = set(self._stale)
        self._db.execute("BEGIN IMMEDIATE")
        if not self._attempt_all(group, stale):
            self._roll_back()
            if len(group) == 1:
                return
            stale = set(self._stale)
            self._db.execute("BEGIN IMMEDIATE")
            self._attempt_all(group, stale, apart=True)
        changes = [job.change for job in group if job.change is not None]
        seq = changes[-1].seq
        store(self._db, [event for change in changes for event in change.events])
        self._folders.write()
        moves = "acl" in stale or any(change.moves for change in changes)
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

    def _attempt_all(self, group: list[_Job[Any]], stale: set[str], *, apart: bool = False) -> bool:
        """Run operations, as many as there is time for; False: one that failed left something.

        Args:
            group: the operations; those for which there was no time are put back.
            stale: takes what is held in memory and was changed.
            apart: each in a savepoint, so that none leaves anything when it fails.
        """
        started, seq = time.monotonic(), self._seq
        for number, job in enumerate(group):
            job.change = change = Change(self._db, self._now(), seq, stale, self._folders)
            written = self._written()
            if apart:
                self._attempt_apart(job, change)
            else:
                self._attempt(job, change)
            if job.error is not None:
                change.drop(seq)
                if not apart and self._written() != written:
                    return False
            seq = change.seq
            if time.monotonic() - started > GROUP_S:
                self._put_back(group, number + 1)
                break
        return True

    def _written(self) -> int:
        """Grows with everything that an operation writes, or has put off."""
        return self._db.total_changes - self._folders.written + self._folders.changes

    def _attempt_apart(self, job: _Job[Any], change: Change) -> None:
        """Run one operation in a savepoint, which is undone when it fails."""
        self._folders.write()
        self._db.execute("SAVEPOINT operation")
        self._attempt(job, change)
        if job.error is not None:
            self._db.execute("ROLLBACK TO operation")
            self._folders.forget()
        self._db.execute("RELEASE operation")

    def _attempt(self, job: _Job[Any], change: Change) -> None:
        """Run one operation."""
        try:
            job.outcome = job.run(change)
            job.error = None
        except sqlite3.Error as error:
            if _is_full(error) or not self._db.in_transaction:
                raise
            job.error = error
        except UnicodeEncodeError:
            job.error = InvalidField("text", "it holds half a character, which is no UTF-8")
        except Exception as error:  # noqa: BLE001 - each operation's error is its asker's
            job.error = error

    def _put_back(self, group: list[_Job[Any]], start: int) -> None:
        """Leave the rest of *group* for the next transaction, before all that waits."""
        self._late[:0] = group[start:]
        del group[start:]

    def _roll_back(self) -> None:
        self._folders.forget()
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
        self._patience.drop_done()


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) in FULL

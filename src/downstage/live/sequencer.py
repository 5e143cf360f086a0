"""The server's half of a live layer, without any wire or disk: it gives each batch its place.

It keeps no document: a snapshot, and the batches since. Who joins gets both; who comes back gets
the batches it missed, as long as they are kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from downstage.live.messages import Join, Merged, Ordered, Person, Welcome
from downstage.live.wire import encode

__all__ = ["EMPTY", "MAX_CLIENTS", "Sequencer", "State", "shown"]

EMPTY = encode([])
"""The snapshot of a layer in which nothing was done."""
MAX_CLIENTS = 4096
"""Clients whose last batch is remembered; the longest absent are forgotten first."""
KEPT_BYTES = 4 * 1024 * 1024
"""Bytes of batches before the snapshot that are kept for who comes back."""


@dataclass(slots=True)
class State:
    """What a layer is on disk."""

    epoch: int = 1
    base: str = ""
    seq: int = 0
    """Of the snapshot."""
    time: int = 0
    snapshot: bytes = EMPTY
    batches: list[Ordered] = field(default_factory=list[Ordered])
    """Since the snapshot."""
    known: dict[str, int] = field(default_factory=dict[str, int])
    """The last batch of each client that is in the snapshot or before."""


class Sequencer:
    """Order of one layer.

    Args:
        state: as it was found on disk.
        incarnation: unlike that of every Sequencer before on the same layer.
    """

    def __init__(self, state: State, incarnation: str) -> None:
        self.epoch, self.base = state.epoch, state.base
        self.incarnation = incarnation
        self.snapshot, self.snapshot_seq = state.snapshot, state.seq
        self.seq, self.time = state.seq, state.time
        self.tail = deque[Ordered]()
        self.tail_bytes = self._kept_bytes = 0
        self.known = dict(state.known)
        self.held_by = ""
        for batch in state.batches:
            self._append(batch)
        self._stored_seq = self.seq
        self._safe = dict(self.known)

    def submit(self, client: str, epoch: int, n: int, data: bytes, now: int) -> Ordered | None:
        """Give a batch, whose form was looked at, its place.

        Args:
            client: who sends it.
            epoch: that it was made in; of an earlier one it is dropped, for it will come again.
            n: its number.
            data: its ops.
            now: nanoseconds since the epoch of clocks.

        Returns:
            The batch; None where it is in already, or must be sent again later.
        """
        if self.held_by or epoch != self.epoch or n != self.known.get(client, 0) + 1:
            return None
        self.time = max(self.time + 1, now)
        batch = Ordered(self.seq + 1, self.time, client, n, data)
        self._append(batch)
        return batch

    def welcome(self, join: Join, people: list[Person], *, may_write: bool = True) -> Welcome:
        """What a client that joins has to know."""
        goes_on = (
            join.epoch == self.epoch
            and join.incarnation == self.incarnation
            and self._first() <= join.seq + 1 <= self.seq + 1
        )
        since = join.seq if goes_on else self.snapshot_seq
        batches = [shown(b, join.client) if goes_on else b for b in self.tail if b.seq > since]
        return Welcome(
            epoch=self.epoch,
            incarnation=self.incarnation,
            base=self.base,
            seq=self.seq,
            time=self.time,
            known=self.known.get(join.client, 0),
            durable=self._safe.get(join.client, 0),
            snapshot=None if goes_on else self.snapshot,
            batches=batches,
            people=people,
            may_write=may_write,
        )

    def stored(self, seq: int) -> dict[str, int]:
        """The batches up to *seq* are on disk; the last of each client among those new there."""
        fresh = dict[str, int]()
        for batch in reversed(self.tail):
            if batch.seq <= self._stored_seq:
                break
            if batch.seq <= seq:
                fresh.setdefault(batch.client, batch.n)
        self._stored_seq = max(self._stored_seq, seq)
        self._safe.update(fresh)
        for client in [client for client in self._safe if client not in self.known]:
            del self._safe[client]
        return fresh

    def compacted(self, seq: int, snapshot: bytes) -> None:
        """The batches up to *seq* are in *snapshot*."""
        self.snapshot, self.snapshot_seq = snapshot, seq
        self.tail_bytes = sum(len(batch.ops) for batch in self.tail if batch.seq > seq)
        self._kept_bytes = sum(len(batch.ops) for batch in self.tail if batch.seq <= seq)
        while self.tail and self._kept_bytes > KEPT_BYTES and self.tail[0].seq <= seq:
            self._kept_bytes -= len(self.tail.popleft().ops)

    def hold(self, client: str) -> None:
        """Drop every batch until `resume` or `merged`."""
        self.held_by = client

    def resume(self) -> None:
        """Take batches again."""
        self.held_by = ""

    def merged(self, base: str, checkpoint: int, by: str, now: int) -> Merged:
        """The layer is in its file, whose etag is *base* now: begin again, empty."""
        self.epoch += 1
        self.base = base
        self.time = max(self.time + 1, now)
        self.snapshot, self.snapshot_seq = EMPTY, self.seq
        self.tail.clear()
        self._stored_seq, self._safe = self.seq, dict(self.known)
        self.tail_bytes = self._kept_bytes = 0
        self.held_by = ""
        return Merged(self.epoch, base, checkpoint, by, self.time)

    def _first(self) -> int:
        """The seq of the earliest batch that is kept."""
        return self.tail[0].seq if self.tail else self.seq + 1

    def _append(self, batch: Ordered) -> None:
        self.seq, self.time = batch.seq, batch.time
        self.tail.append(batch)
        self.tail_bytes += len(batch.ops)
        self.known.pop(batch.client, None)
        self.known[batch.client] = batch.n
        if len(self.known) > MAX_CLIENTS:
            del self.known[next(iter(self.known))]


def shown(batch: Ordered, client: str) -> Ordered:
    """*batch* as *client* is told of it: its own without the ops."""
    if batch.client != client:
        return batch
    return Ordered(batch.seq, batch.time, batch.client, batch.n, b"")

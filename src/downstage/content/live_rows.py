"""Live layers on disk: a snapshot, the batches since, the last batch of each client."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import msgspec

from downstage.live.document import Document
from downstage.live.messages import Ordered
from downstage.live.sequencer import State
from downstage.live.wire import decode_trusted, encode

__all__ = ["SCHEMA", "append", "begin", "compacted", "load", "shorten"]

SCHEMA = """
CREATE TABLE live_layer (
  node INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  base TEXT NOT NULL,
  seq INTEGER NOT NULL,
  time INTEGER NOT NULL,
  snapshot BLOB NOT NULL,
  known BLOB NOT NULL
);
CREATE TABLE live_batch (
  node INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  time INTEGER NOT NULL,
  client TEXT NOT NULL,
  n INTEGER NOT NULL,
  ops BLOB NOT NULL,
  PRIMARY KEY (node, seq)
) WITHOUT ROWID;
CREATE TRIGGER live_gone AFTER DELETE ON node BEGIN
  DELETE FROM live_layer WHERE node = old.id;
  DELETE FROM live_batch WHERE node = old.id;
END;
"""
"""``seq`` and ``time`` of a layer are its snapshot's."""


def load(db: sqlite3.Connection, node: int) -> State | None:
    """The live layer of *node* as it is on disk; None: it has none."""
    row = db.execute(
        "SELECT epoch, base, seq, time, snapshot, known FROM live_layer WHERE node = ?", (node,)
    ).fetchone()
    if row is None:
        return None
    epoch, base, seq, time, snapshot, known = row
    batches = [
        Ordered(*columns)
        for columns in db.execute(
            "SELECT seq, time, client, n, ops FROM live_batch WHERE node = ? AND seq > ?"
            " ORDER BY seq",
            (node, seq),
        )
    ]
    clients = msgspec.msgpack.decode(cast("bytes", known), type=dict[str, int])
    return State(epoch, base, seq, time, snapshot, batches, clients)


def append(db: sqlite3.Connection, node: int, batches: Iterable[Ordered]) -> None:
    """Add *batches*, which follow those before without a hole."""
    db.executemany(
        "INSERT INTO live_batch (node, seq, time, client, n, ops) VALUES (?, ?, ?, ?, ?, ?)",
        [(node, b.seq, b.time, b.client, b.n, b.ops) for b in batches],
    )


def begin(
    db: sqlite3.Connection, node: int, state: State, known: Mapping[str, int] | None = None
) -> None:
    """Put *state* in the place of all that was; its batches are not looked at."""
    clients = msgspec.msgpack.encode(dict(known if known is not None else state.known))
    db.execute("DELETE FROM live_batch WHERE node = ?", (node,))
    db.execute(
        "INSERT OR REPLACE INTO live_layer (node, epoch, base, seq, time, snapshot, known)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (node, state.epoch, state.base, state.seq, state.time, state.snapshot, clients),
    )


def compacted(state: State) -> State:
    """*state* with its batches in its snapshot; takes a while, belongs into a thread."""
    if not state.batches:
        return state
    document = Document.of(decode_trusted(state.snapshot))
    known = dict(state.known)
    for batch in state.batches:
        for op in decode_trusted(batch.ops):
            document.apply(op)
        known.pop(batch.client, None)
        known[batch.client] = batch.n
    last = state.batches[-1]
    snapshot = encode(document.snapshot())
    return replace(state, seq=last.seq, time=last.time, snapshot=snapshot, batches=[], known=known)


def shorten(db: sqlite3.Connection, node: int, state: State) -> bool:
    """Store what `compacted` gave; False: the layer began anew meanwhile, nothing was done."""
    clients = msgspec.msgpack.encode(state.known)
    changed = db.execute(
        "UPDATE live_layer SET seq = ?, time = ?, snapshot = ?, known = ?"
        " WHERE node = ? AND epoch = ? AND seq <= ?",
        (state.seq, state.time, state.snapshot, clients, node, state.epoch, state.seq),
    ).rowcount
    if changed:
        db.execute("DELETE FROM live_batch WHERE node = ? AND seq <= ?", (node, state.seq))
    return bool(changed)

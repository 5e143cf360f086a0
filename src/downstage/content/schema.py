"""The tables of the content service, one SQLite file; ``user_version`` counts migrations.

Ids of nodes survive rename and move: locks, rights, properties, subscriptions and live layers
name nodes by id. A deleted subtree keeps its rows: only its top has ``deleted_at`` set, what lies
below is hidden because nothing leads there any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from downstage.kernel.errors import SetupError

__all__ = ["open_reader", "open_writer"]

WAL_KEPT = 64 * 1024 * 1024
"""Bytes of the log that stay on disk after a burst."""

CORE = """
CREATE TABLE node (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  parent INTEGER,
  name TEXT NOT NULL,
  fold TEXT NOT NULL,
  kind TEXT NOT NULL,
  hash TEXT NOT NULL DEFAULT '',
  size INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 0,
  checkpoint INTEGER NOT NULL DEFAULT 0,
  comment TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  modified_at INTEGER NOT NULL,
  modified_by TEXT NOT NULL,
  seq INTEGER NOT NULL,
  deleted_at INTEGER NOT NULL DEFAULT 0,
  deleted_by TEXT NOT NULL DEFAULT '',
  link TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX node_present ON node (parent, name) WHERE deleted_at = 0;
CREATE UNIQUE INDEX node_fold ON node (parent, fold) WHERE deleted_at = 0;
CREATE INDEX node_gone ON node (parent, name, deleted_at) WHERE deleted_at > 0;
CREATE INDEX node_swept ON node (deleted_at) WHERE deleted_at > 0;
CREATE INDEX node_mount ON node (id) WHERE kind = 'mount';
CREATE TABLE root (tenant TEXT PRIMARY KEY, node INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE folder (
  node INTEGER PRIMARY KEY,
  bytes INTEGER NOT NULL DEFAULT 0,
  nodes INTEGER NOT NULL DEFAULT 0,
  max_bytes INTEGER,
  max_nodes INTEGER
);
CREATE TABLE version (
  node INTEGER NOT NULL,
  n INTEGER NOT NULL,
  hash TEXT NOT NULL,
  size INTEGER NOT NULL,
  checkpoint INTEGER NOT NULL DEFAULT 0,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  comment TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (node, n)
) WITHOUT ROWID;
CREATE TABLE property (
  node INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (node, name)
) WITHOUT ROWID;
CREATE TABLE lock (
  node INTEGER PRIMARY KEY,
  token TEXT NOT NULL,
  owner TEXT NOT NULL,
  subject TEXT NOT NULL,
  client TEXT NOT NULL,
  etag TEXT NOT NULL,
  note TEXT NOT NULL,
  acquired_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  expires_mono REAL NOT NULL,
  boot TEXT NOT NULL
);
CREATE INDEX lock_client ON lock (client);
CREATE TABLE acl (
  node INTEGER NOT NULL,
  principal TEXT NOT NULL,
  allow INTEGER NOT NULL,
  deny INTEGER NOT NULL,
  PRIMARY KEY (node, principal)
) WITHOUT ROWID;
CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  node INTEGER NOT NULL,
  chain TEXT NOT NULL,
  path TEXT NOT NULL,
  old_chain TEXT NOT NULL DEFAULT '',
  old_path TEXT NOT NULL DEFAULT '',
  by TEXT NOT NULL,
  at INTEGER NOT NULL
);
"""


def _migrations() -> list[Sequence[str]]:
    """Each is applied once, in order; what was released is never changed."""
    from downstage.content import live_rows
    from downstage.content.blobs import schema as blobs

    return [(CORE, blobs.SCHEMA, blobs.VERSION_TRIGGERS, live_rows.SCHEMA)]


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes; creates and migrates.

    Raises:
        SetupError: the file was written by a later version.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=10
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
    connection.execute("PRAGMA temp_store = MEMORY")
    _migrate(connection)
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can only read."""
    connection = sqlite3.connect(
        f"file:{path}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        timeout=10,
    )
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    migrations = _migrations()
    (done,) = connection.execute("PRAGMA user_version").fetchone()
    if done > len(migrations):
        raise SetupError("The content database was written by a later version.", found=done)
    for number, scripts in enumerate(migrations[done:], done + 1):
        body = "".join(scripts)
        # One transaction: a crash leaves the version before, whole.
        connection.executescript(f"BEGIN IMMEDIATE;{body};PRAGMA user_version = {number};COMMIT;")

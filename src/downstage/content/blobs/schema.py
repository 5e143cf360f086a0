"""Tables of the bytes: which there are, where they lie, and how many versions hold them."""

from __future__ import annotations

__all__ = ["SCHEMA", "VERSION_TRIGGERS"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS blob (
    id           INTEGER PRIMARY KEY,
    hash         TEXT    NOT NULL UNIQUE,      -- BLAKE3, hexadecimal
    size         INTEGER NOT NULL,
    refs         INTEGER NOT NULL DEFAULT 0,   -- versions that hold it
    unused_since INTEGER,                      -- seconds since the epoch; while refs is 0
    bad          INTEGER NOT NULL DEFAULT 0,   -- 1: found damaged, not served
    data         BLOB    -- small bodies, else see extent; last, so that counting rewrites no pages
);
CREATE INDEX IF NOT EXISTS blob_unused ON blob (unused_since) WHERE refs = 0;

CREATE TABLE IF NOT EXISTS source (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,           -- file below the folder of content
    size    INTEGER NOT NULL                   -- bytes of it that extents may name
);

CREATE TABLE IF NOT EXISTS extent (
    blob   INTEGER NOT NULL REFERENCES blob (id),
    n      INTEGER NOT NULL,                   -- order within the blob
    source INTEGER NOT NULL REFERENCES source (id),
    at     INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (blob, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS extent_source ON extent (source, at, length);

CREATE TABLE IF NOT EXISTS scrub (
    id   INTEGER PRIMARY KEY CHECK (id = 0),
    last INTEGER NOT NULL                      -- blob that was verified last; 0: begin anew
);

CREATE TABLE IF NOT EXISTS upload (
    id         TEXT    PRIMARY KEY,            -- unguessable
    tenant     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    path       TEXT    NOT NULL,
    shape      TEXT    NOT NULL,               -- range | parts
    size       INTEGER,                        -- announced; NULL: not yet known
    message    TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,               -- seconds since the epoch
    touched_at INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS upload_owner ON upload (tenant, subject);

CREATE TABLE IF NOT EXISTS upload_part (
    upload TEXT    NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    n      INTEGER NOT NULL,                   -- part number; of a range: where it begins
    size   INTEGER NOT NULL,
    etag   TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (upload, n)
) WITHOUT ROWID;
"""
"""Every statement may run again on an existing database."""

VERSION_TRIGGERS = """
CREATE TRIGGER IF NOT EXISTS version_holds AFTER INSERT ON version WHEN new.hash <> '' BEGIN
    UPDATE blob SET refs = refs + 1, unused_since = NULL WHERE hash = new.hash;
END;
CREATE TRIGGER IF NOT EXISTS version_lets_go AFTER DELETE ON version WHEN old.hash <> '' BEGIN
    UPDATE blob SET refs = refs - 1, unused_since = unixepoch() WHERE hash = old.hash;
END;
CREATE TRIGGER IF NOT EXISTS version_changes AFTER UPDATE OF hash ON version
WHEN new.hash IS NOT old.hash BEGIN
    UPDATE blob SET refs = refs + 1, unused_since = NULL WHERE hash = new.hash;
    UPDATE blob SET refs = refs - 1, unused_since = unixepoch() WHERE hash = old.hash;
END;
"""
"""Keep `blob.refs` right, whoever writes rows of the table ``version`` (it has a ``hash``)."""

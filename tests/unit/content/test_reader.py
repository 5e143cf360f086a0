"""What point reads remember, and the connections they use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from downstage.content import reader
from downstage.content.reader import Readers, Remembered
from downstage.content.schema import open_writer
from downstage.kernel.errors import DeadlineExceeded, Unavailable

pytestmark = pytest.mark.unit

KEY = (1, "f")
ROW = (7, 1, "f")


@pytest.fixture
def db(data) -> Iterator[sqlite3.Connection]:
    connection = open_writer(data / "content.db")
    yield connection
    connection.close()


def test_a_row_is_remembered_until_it_changes(db: sqlite3.Connection) -> None:
    remembered = Remembered()
    remembered.watch(db)
    remembered.put_row(KEY, ROW, remembered.commits)
    remembered.put_row((1, "g"), ROW, remembered.commits)
    db.execute(
        "INSERT INTO node (parent, name, fold, kind, created_at, created_by, modified_at,"
        " modified_by, seq) VALUES (1, 'f', 'f', 'file', 1, 'u', 1, 'u', 1)"
    )
    remembered.committing(begins=True, moves=False)
    remembered.committing(begins=False, moves=False)
    assert set(remembered.rows) == {KEY, (1, "g")}
    db.execute("UPDATE node SET size = 1 WHERE name = 'f'")
    remembered.committing(begins=True, moves=False)
    assert set(remembered.rows) == {(1, "g")}
    remembered.committing(begins=False, moves=False)
    remembered.put_row(KEY, ROW, remembered.commits)
    db.execute("DELETE FROM node WHERE name = 'f'")
    remembered.committing(begins=True, moves=False)
    remembered.committing(begins=False, moves=False)
    assert set(remembered.rows) == {(1, "g")}


def test_what_was_read_before_a_commit_is_not_remembered_after_it() -> None:
    remembered = Remembered()
    before = remembered.commits
    remembered.committing(begins=True, moves=True)
    amid, age = remembered.commits, remembered.age
    remembered.put_row(KEY, ROW, amid)
    remembered.put_way("main", "/a", (1, 2), age)
    remembered.committing(begins=False, moves=True)
    remembered.put_row(KEY, ROW, before)
    remembered.put_row(KEY, ROW, amid)
    remembered.put_way("main", "/a", (1, 2), age)
    assert remembered.rows == {}
    assert remembered.way("main", "/a") is None
    remembered.put_row(KEY, ROW, remembered.commits)
    remembered.put_way("main", "/a", (1, 2), remembered.age)
    assert remembered.rows == {KEY: ROW}
    assert remembered.way("main", "/a") == (1, 2)
    assert remembered.way("other", "/a") is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_ROWS", 3)
    monkeypatch.setattr(reader, "MAX_WAYS", 3)
    remembered = Remembered()
    for n in range(10):
        remembered.put_row((n, "f"), ROW, remembered.commits)
        remembered.put_way("main", f"/{n}", (n,), remembered.age)
    assert len(remembered.rows) <= 3
    assert remembered.way("main", "/9") == (9,)
    assert remembered.way("main", "/0") is None


def test_a_reader_cannot_write_and_sees_one_moment(data, db: sqlite3.Connection) -> None:
    readers = Readers(data / "content.db")
    with readers.lend() as one:
        assert one.execute("SELECT count(*) FROM root").fetchone() == (0,)
        db.execute("INSERT INTO root VALUES ('main', 1)")
        assert one.execute("SELECT count(*) FROM root").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError):
            one.execute("DELETE FROM root")
    with readers.lend() as one:
        assert one.execute("SELECT count(*) FROM root").fetchone() == (1,)
    readers.close()
    with pytest.raises(Unavailable), readers.lend():
        pass


def test_too_many_readers_wait_and_are_refused(data, db, monkeypatch) -> None:
    monkeypatch.setattr(reader, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(reader, "WAIT_S", 0.01)
    readers = Readers(data / "content.db")
    with readers.lend(), pytest.raises(DeadlineExceeded), readers.lend():
        pass
    with readers.lend():
        pass
    readers.close()

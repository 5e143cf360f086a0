"""Documents: kept, in order, of one tenant each, whole under two processes and a crash."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.kernel.errors import (
    AlreadyExists,
    InvalidField,
    QuotaReached,
    SetupError,
    TooLarge,
    Unavailable,
)
from downstage.streams import documents as module
from downstage.streams.documents import Document, Documents

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@pytest.fixture
async def documents(data: Path) -> AsyncIterator[Documents]:
    found = Documents(data / "documents.db")
    yield found
    await found.close()


async def test_what_was_put_in_comes_out_in_order(documents: Documents) -> None:
    for name in ("tea", "coffee", "cake"):
        await documents.add("main", "recipes", name, {"name": name, "tools": ["é", 1, None]})
    found = await documents.all("main", "recipes")
    assert [item.id for item in found] == ["tea", "coffee", "cake"]
    tea = Document("tea", {"name": "tea", "tools": ["é", 1, None]})
    assert await documents.get("main", "recipes", "tea") == tea
    assert await documents.find("main", "recipes", {"name": "tea"}) == tea
    assert await documents.find("main", "recipes", {"name": "soup"}) is None
    assert await documents.remove("main", "recipes", "tea") == tea
    assert await documents.remove("main", "recipes", "tea") is None
    assert [item.id for item in await documents.all("main", "recipes")] == ["coffee", "cake"]


async def test_an_id_is_given_once_and_fields_are_merged(documents: Documents) -> None:
    await documents.add("main", "sess", "a", {"step": 0, "recipe": "tea"})
    with pytest.raises(AlreadyExists):
        await documents.add("main", "sess", "a", {})
    merged = await documents.merge("main", "sess", "a", {"step": 3})
    assert merged is not None
    assert merged.body == {"step": 3, "recipe": "tea"}
    assert await documents.merge("main", "sess", "b", {"step": 3}) is None
    await documents.put("main", "sess", "a", {"step": 4})
    found = await documents.get("main", "sess", "a")
    assert found is not None
    assert found.body == {"step": 4}


async def test_tenants_and_kinds_do_not_meet(documents: Documents) -> None:
    await documents.add("main", "recipes", "a", {"n": 1})
    await documents.add("other", "recipes", "a", {"n": 2})
    await documents.add("main", "sess", "a", {"n": 3})
    await documents.remove("other", "recipes", "a")
    assert await documents.all("other", "recipes") == []
    assert [item.body["n"] for item in await documents.all("main", "recipes")] == [1]
    assert [item.body["n"] for item in await documents.all("main", "sess")] == [3]


async def test_bounds(documents: Documents, monkeypatch: Any) -> None:
    for wrong in ("", "x" * 129, "two\nlines"):
        with pytest.raises(InvalidField):
            await documents.add("main", "recipes", wrong, {})
    with pytest.raises(TooLarge):
        await documents.add("main", "recipes", "big", {"name": "x" * module.MAX_DOCUMENT})
    with pytest.raises(InvalidField):
        await documents.add("main", "recipes", "nan", {"step": float("nan")})
    await documents.add("main", "recipes", "a", {})
    with pytest.raises(TooLarge):
        await documents.merge("main", "recipes", "a", {"name": "x" * module.MAX_DOCUMENT})
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    for change in (documents.add, documents.merge):
        with pytest.raises(QuotaReached):
            await change(
                "main", "recipes", "a" if change == documents.merge else "c", {"n": "x" * 20}
            )
    monkeypatch.undo()
    monkeypatch.setattr(module, "MOST", 1)
    with pytest.raises(QuotaReached):
        await documents.add("main", "recipes", "b", {})
    assert [item.id for item in await documents.all("main", "recipes")] == ["a"]


async def test_two_processes_lose_no_change(documents: Documents, data: Path) -> None:
    """Two connections stand for two workers: each reads and writes within one transaction."""
    other = Documents(data / "documents.db")
    await documents.add("main", "sess", "a", {})

    async def work(store: Documents, prefix: str) -> None:
        for n in range(20):
            await store.merge("main", "sess", "a", {f"{prefix}{n}": n})
            await store.add("main", "recipes", f"{prefix}{n}", {})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, documents, "x")
        tasks.start_soon(work, other, "y")
    found = await other.get("main", "sess", "a")
    assert found is not None
    assert len(found.body) == 40
    assert len(await documents.all("main", "recipes")) == 40
    await other.close()


async def test_a_refused_change_leaves_the_store_usable(
    documents: Documents, data: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "BUSY_S", 0.01)
    await documents.add("main", "recipes", "a", {})
    with closing(sqlite3.connect(data / "documents.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await documents.get("main", "recipes", "a")  # readers are in nobody's way
        with pytest.raises(Unavailable):
            await documents.add("main", "recipes", "b", {})
        other.execute("ROLLBACK")
    await documents.add("main", "recipes", "b", {})


async def test_the_file_is_private_and_of_a_version(data: Path) -> None:
    path = data / "documents.db"
    first = Documents(path)
    await first.add("main", "recipes", "a", {"n": 1})
    await first.close()
    with pytest.raises(Unavailable):
        await first.all("main", "recipes")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Documents(path)
    assert [item.body for item in await again.all("main", "recipes")] == [{"n": 1}]
    await again.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA user_version=99")
    newer = Documents(path)
    with pytest.raises(SetupError):
        await newer.all("main", "recipes")
    await newer.close()

"""Properties that change with a content, in one step."""

from __future__ import annotations

import pytest

from downstage.content.model import Caller, Condition, Family
from downstage.content.service import Content
from downstage.kernel.errors import InvalidField, VersionMismatch

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def told(**values: str) -> Family:
    return Family(("s3:",), {f"s3:{name}": text for name, text in values.items()})


async def test_a_family_replaces_its_own_and_leaves_others(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1", properties=told(a="1", b="2"))
    await content.patch_properties(uta, "/f", {"dav:x": "kept"}, ())
    await content.write(uta, "/f", b"2", properties=told(b="3"))
    assert await content.properties(uta, "/f") == {"dav:x": "kept", "s3:b": "3"}
    await content.write(uta, "/f", b"3")
    assert await content.properties(uta, "/f") == {"dav:x": "kept", "s3:b": "3"}
    await content.write(uta, "/f", b"4", properties=told())
    assert await content.properties(uta, "/f") == {"dav:x": "kept"}


async def test_content_and_properties_change_both_or_not(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1", properties=told(a="1"))
    with pytest.raises(InvalidField):
        await content.write(uta, "/f", b"2", properties=told(a="x" * 70_000))
    stale = Condition(if_match=("x",))
    with pytest.raises(VersionMismatch):
        await content.write(uta, "/f", b"2", properties=told(a="2"), condition=stale)
    with pytest.raises(InvalidField):
        await content.write(uta, "/new", b"2", properties=told(a="x" * 70_000))
    assert await content.properties(uta, "/f") == {"s3:a": "1"}
    async with await content.read(uta, "/f") as reading:
        assert reading.data == b"1"
    assert [entry.name for entry in (await content.list(uta, "/")).entries] == ["f"]


async def test_both_are_one_change_for_who_watches(content: Content, uta: Caller) -> None:
    before = await content.seq()
    entry = await content.write(uta, "/f", b"1", properties=told(a="1"))
    assert entry.seq == await content.seq()
    async with content.subscribe(uta, "/", "tree", since=before) as events:
        kinds = [(await anext(events)).kind for _ in range(2)]
    assert kinds == ["created", "metadata"]

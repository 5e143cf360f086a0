"""Hidden names stay hidden from who tries to put something in their place."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from downstage.content.model import Access, AclEntry, Caller
from downstage.content.service import Content
from downstage.kernel.errors import Forbidden, NotFound, PlatformError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
EVERYTHING = Access.READ | Access.WRITE | Access.ADMIN

WAYS: dict[str, Callable[[Content, Caller, str], Coroutine[Any, Any, Any]]] = {
    "write": lambda c, who, path: c.write(who, path, b"1"),
    "create_folder": lambda c, who, path: c.create_folder(who, path),
    "copy": lambda c, who, path: c.copy(who, "/pub/source", path, overwrite=True),
    "move": lambda c, who, path: c.move(who, "/own/source", path, overwrite=True),
    "upload": lambda c, who, path: c.uploads.create(who, path, size=5),
    "undelete": lambda c, who, path: c.undelete(who, path),
    "obliterate": lambda c, who, path: c.obliterate(who, path),
    "delete": lambda c, who, path: c.delete(who, path),
    "lock": lambda c, who, path: c.lock(who, path),
    "stat": lambda c, who, path: c.stat(who, path),
    "deleted": lambda c, who, path: c.stat(who, path, deleted=True),
}


@pytest.fixture
async def hidden(content: Content, admin: Caller, ben: Caller) -> None:
    """Ben reads /pub, and not what is hidden there."""
    await content.write(admin, "/pub/source", b"1")
    await content.write(ben, "/own/source", b"1")
    for path in ("/pub/file", "/pub/folder/x", "/pub/gone"):
        await content.write(admin, path, b"1")
    await content.set_acl(admin, "/pub", [AclEntry("everyone", Access.READ)])
    for path in ("/pub/file", "/pub/folder", "/pub/gone"):
        hide = AclEntry(f"user:{ben.subject}", Access.NONE, EVERYTHING)
        await content.set_acl(admin, path, [hide])
    await content.delete(admin, "/pub/gone")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("hidden")
async def test_A07_hidden_is_as_absent(content: Content, ben: Caller, way: str) -> None:
    async def told(path: str) -> tuple[type[PlatformError], str, list[str]]:
        with pytest.raises(PlatformError) as caught:
            await WAYS[way](content, ben, path)
        return type(caught.value), caught.value.detail, sorted(caught.value.context)

    absent = await told("/pub/absent")
    assert absent[0] in (Forbidden, NotFound)
    assert await told("/pub/file") == absent
    assert await told("/pub/gone") == absent
    assert await told("/pub/folder/x") == await told("/pub/nothing/x")


@pytest.mark.usefixtures("hidden")
async def test_a_hidden_name_is_not_taken_over(
    content: Content, admin: Caller, ben: Caller
) -> None:
    await content.set_acl(admin, "/pub", [])
    with pytest.raises(NotFound):
        await content.write(ben, "/pub/file", b"2")
    assert await (await content.read(admin, "/pub/file")).read() == b"1"

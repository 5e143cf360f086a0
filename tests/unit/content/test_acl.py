"""Rights: the nearest entry for each principal, deny wins, bounds of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.content import acl
from downstage.content.model import Access, AclEntry, Caller, Grant, Reach
from downstage.content.service import Content
from downstage.kernel.errors import Forbidden, InvalidField, NotFound

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

R, W, A, NONE = Access.READ, Access.WRITE, Access.ADMIN, Access.NONE

RIGHTS = st.sampled_from([NONE, R, W, A, R | W, R | W | A])
PRINCIPALS = ("user:u", "group:g", "everyone")


@given(
    st.dictionaries(
        st.integers(1, 4),
        st.dictionaries(st.sampled_from(PRINCIPALS), st.tuples(RIGHTS, RIGHTS), min_size=1),
    )
)
def test_rights_are_what_the_rules_say(entries: dict) -> None:
    """Against a second way to say it: for each principal the last entry on the way down."""
    allow, deny = NONE, NONE
    for principal in PRINCIPALS:
        found = (R | W, NONE) if principal == "everyone" else (NONE, NONE)
        for node in (1, 2, 3):
            found = entries.get(node, {}).get(principal, found)
        allow, deny = allow | found[0], deny | found[1]
    caller = Caller("u", "U", groups=frozenset({"g"}))
    assert acl.allowed(entries, (1, 2, 3), caller, "/a/b") == allow & ~deny
    reader = Caller("u", "U", groups=frozenset({"g"}), may=R)
    assert acl.allowed(entries, (1, 2, 3), reader, "/a/b") == allow & ~deny & R


async def test_what_may_not_be_read_is_not_there(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/secret/f", b"1")
    await content.write(uta, "/d/open", b"1")
    await content.set_acl(admin, "/d/secret", [AclEntry("user:u-2", NONE, R | W)])
    absent = "/d/absent"
    for path in ("/d/secret", "/d/secret/f", absent, absent + "/f"):
        for refused in (
            content.stat(ben, path),
            content.read(ben, path),
            content.list(ben, path),
            content.delete(ben, path),
            content.move(ben, path, "/x"),
            content.copy(ben, path, "/x"),
            content.acl(ben, path),
            content.lock(ben, path),
            content.properties(ben, path),
            content.versions(ben, path),
        ):
            with pytest.raises(NotFound) as refusal:
                await refused
            assert refusal.value.detail == "There is nothing at this path."
    with pytest.raises(NotFound):
        await content.write(ben, "/d/secret/new", b"2")
    for recursive in (False, True):
        page = await content.list(ben, "/d", recursive=recursive)
        assert [entry.path for entry in page.entries] == ["/d/open"]
    assert (await content.stat(uta, "/d/secret/f")).size == 1


async def test_what_may_not_be_read_is_not_carried_along(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/secret/f", b"1")
    await content.write(uta, "/d/open", b"1")
    await content.set_acl(admin, "/d/secret", [AclEntry("user:u-2", NONE, R | W)])
    await content.copy(ben, "/d", "/mine")
    page = await content.list(admin, "/mine", recursive=True)
    assert [entry.path for entry in page.entries] == ["/mine/open"]
    assert (await content.usage(admin, "/mine")).nodes == 1
    await content.create_folder(ben, "/merged")
    await content.copy(ben, "/d", "/merged", overwrite=True)
    page = await content.list(admin, "/merged", recursive=True)
    assert [entry.path for entry in page.entries] == ["/merged/open"]
    for refused in (content.delete(ben, "/d"), content.move(ben, "/d", "/e")):
        with pytest.raises(Forbidden):
            await refused


async def test_readable_but_not_writeable_is_forbidden(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/f", b"1")
    await content.set_acl(admin, "/d", [AclEntry("everyone", R), AclEntry("group:artists", R | W)])
    assert (await content.stat(ben, "/d/f")).access == R
    assert (await content.stat(uta, "/d/f")).access == R | W
    for refused in (
        content.write(ben, "/d/f", b"2"),
        content.write(ben, "/d/new", b"2"),
        content.create_folder(ben, "/d/new"),
        content.delete(ben, "/d/f"),
        content.move(ben, "/d/f", "/x"),
        content.copy(ben, "/d/f", "/d/x"),
        content.lock(ben, "/d/f"),
        content.patch_properties(ben, "/d/f", {"a": "b"}, ()),
        content.set_acl(ben, "/d", []),
    ):
        with pytest.raises(Forbidden):
            await refused
    await content.copy(ben, "/d/f", "/x")
    await content.write(uta, "/d/new", b"2")


async def test_rights_change_at_once_and_follow_a_move(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/f", b"1")
    assert (await content.stat(ben, "/d/f")).access == R | W
    await content.set_acl(admin, "/d", [AclEntry("everyone", NONE, R | W)])
    with pytest.raises(NotFound):
        await content.stat(ben, "/d/f")
    await content.move(admin, "/d", "/e")
    with pytest.raises(NotFound):
        await content.stat(ben, "/e/f")
    await content.set_acl(admin, "/e", [])
    assert (await content.stat(ben, "/e/f")).access == R | W
    await content.set_acl(admin, "/e/f", [AclEntry("everyone", R)])
    await content.write(admin, "/e/g", b"1")
    await content.move(admin, "/e/f", "/e/h")
    assert (await content.stat(ben, "/e/h")).access == R
    assert await content.acl(ben, "/e/h") == [AclEntry("everyone", R)]


async def test_the_administrator_of_a_folder(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.create_folder(uta, "/d")
    with pytest.raises(Forbidden):
        await content.set_acl(uta, "/d", [])
    await content.set_acl(admin, "/d", [AclEntry("user:u-1", R | W | A)])
    await content.create_folder(uta, "/d/e")
    await content.set_acl(uta, "/d/e", [AclEntry("everyone", R)])
    assert (await content.stat(ben, "/d/e")).access == R
    readonly = Caller("u-1", "Uta", may=R)
    with pytest.raises(Forbidden):
        await content.set_acl(readonly, "/d/e", [])


async def test_a_token_reaches_no_further_than_its_bounds(
    content: Content, uta: Caller, admin: Caller
) -> None:
    for path in ("/p/in/f", "/p/out/f", "/p/inner"):
        await content.write(uta, path, b"1")
    bound = (Reach("/p/in", R), Reach("/p/in/deep", R | W))
    for owner in (uta, admin):
        held = Caller(owner.subject, owner.name, may=owner.may, reach=bound)
        assert (await content.stat(held, "/p/in/f")).access == R
        for path in ("/p", "/", "/p/out/f", "/p/inner", "/p/in/../out/f"):
            with pytest.raises(Exception, match=r"nothing at this path|holds no"):
                await content.stat(held, path)
        with pytest.raises(Forbidden):
            await content.write(held, "/p/in/f", b"2")
        await content.write(held, f"/p/in/deep/{owner.name}", b"2")
        with pytest.raises(NotFound):
            await content.copy(held, "/p/in/f", "/p/out/g")
        with pytest.raises(Forbidden):
            await content.move(held, "/p/in/f", "/p/in/deep/f")
        page = await content.list(held, "/p/in", recursive=True)
        assert "/p/in/f" in {entry.path for entry in page.entries}


async def test_where_rights_come_from(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/a/b/f", b"1")
    assert await content.explain(uta, "/a/b/f", "u-1", ()) == [Grant("/", "everyone", R | W, NONE)]
    await content.set_acl(admin, "/a", [AclEntry("group:artists", R, W), AclEntry("everyone", R)])
    await content.set_acl(admin, "/a/b", [AclEntry("user:u-1", R | W)])
    assert await content.explain(admin, "/a/b/f", "u-1", ["artists"]) == [
        Grant("/a/b", "user:u-1", R | W, NONE),
        Grant("/a", "group:artists", R, W),
        Grant("/a", "everyone", R, NONE),
    ]
    with pytest.raises(Forbidden):
        await content.explain(ben, "/a/b/f", "u-1", ())


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([AclEntry("u-1", R)], id="no kind"),
        pytest.param([AclEntry("user:", R)], id="no name"),
        pytest.param([AclEntry("role:x", R)], id="another kind"),
        pytest.param([AclEntry("everyone", R), AclEntry("everyone", W)], id="twice"),
        pytest.param([AclEntry(f"user:{n}", R) for n in range(300)], id="too many"),
        pytest.param([AclEntry("user:" + "x" * 300, R)], id="too long"),
    ],
)
async def test_entries_out_of_form(content: Content, admin: Caller, entries: list) -> None:
    with pytest.raises(InvalidField):
        await content.set_acl(admin, "/", entries)
    assert await content.acl(admin, "/") == []

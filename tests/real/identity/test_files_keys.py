"""Keys for WebDAV and S3: made once, opened by services alone, ended like tokens."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_a_key_opens_for_content_with_what_its_maker_was_shown(house: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    made = await ada.v1.files_keys.post(name="laptop")
    assert made["scopes"] == ["files:read", "files:write"]
    content = await house.service("content")
    opened = await content.v1.files_keys.open.post(access_key_id=made["access_key_id"])
    assert opened["secret_access_key"] == made["secret_access_key"]
    me = await house.client(opened["token"]).v1.auth.me.get()
    assert (me["subject"], me["kind"]) == ("ada", "token")
    assert me["scopes"] == ["files:read", "files:write"]
    [listed] = (await ada.v1.tokens.get())["items"]
    assert listed["id"] == made["access_key_id"]
    assert made["secret_access_key"] not in str(listed)


async def test_a_key_ends_with_its_token_and_its_person(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    content = await house.service("content")
    first = (await ada.v1.files_keys.post(name="a"))["access_key_id"]
    second = (await ada.v1.files_keys.post(name="b"))["access_key_id"]
    stands = (await content.v1.files_keys.open.post(access_key_id=first))["token"]
    await ada.v1.tokens[first].delete()
    await refused(house.client(stands).v1.auth.me.get(), 401)
    await refused(content.v1.files_keys.open.post(access_key_id=first), 404)
    operator = await house.operator()
    await operator.v1.users["ada"].patch(disabled=True)
    await refused(content.v1.files_keys.open.post(access_key_id=second), 404)


async def test_A06_a_key_is_for_files_and_opened_by_services_alone(
    house: Any, refused: Any
) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    await refused(ada.v1.files_keys.post(name="x", scopes=["sessions:read"]), 422)
    await refused(ada.v1.files_keys.post(name="x", scopes=["files:admin"]), 403)
    made = await ada.v1.files_keys.post(name="x", scopes=["files:read"])
    assert made["scopes"] == ["files:read"]
    await refused(ada.v1.files_keys.open.post(access_key_id=made["access_key_id"]), 403)
    other = await house.service("agent")
    await refused(other.v1.files_keys.open.post(access_key_id=made["access_key_id"]), 403)


async def test_secrets_stay_the_same_over_a_restart(start: Any) -> None:
    async with start() as house:
        await house.add("ada")
        made = await (await house.sign_in("ada")).v1.files_keys.post(name="x")
    async with start() as house:
        content = await house.service("content")
        opened = await content.v1.files_keys.open.post(access_key_id=made["access_key_id"])
        assert opened["secret_access_key"] == made["secret_access_key"]


async def test_A06_what_stands_for_an_api_token_may_do_with_files_alone(
    house: Any, refused: Any
) -> None:
    await house.add("ada", "admins")
    ada = await house.sign_in("ada")
    content = await house.service("content")
    token = await ada.v1.tokens.post(name="all")
    assert "users:write" in token["scopes"]
    opened = await content.v1.files_keys.open.post(access_key_id=token["id"])
    me = await house.client(opened["token"]).v1.auth.me.get()
    assert me["scopes"] == ["files:admin", "files:read", "files:write"]
    other = await ada.v1.tokens.post(name="none", scopes=["sessions:read"])
    await refused(content.v1.files_keys.open.post(access_key_id=other["id"]), 404)
    operator = await house.operator()
    await refused(operator.v1.files_keys.post(name="x"), 403)

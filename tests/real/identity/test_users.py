"""People: nobody makes, changes or removes somebody who holds more."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True),
]

PASSWORD = "correct horse battery"


async def test_users_are_added_listed_changed_and_removed(house: Any, refused: Any) -> None:
    operator = await house.operator()
    for name in ("grace", "Ada", "linus"):
        view = await operator.v1.users.post(name=name, password=PASSWORD)
        assert view["name"] == name
        assert not any("pass" in key for key in view)
    first = await operator.v1.users.get(limit=2)
    assert [item["name"] for item in first["items"]] == ["Ada", "grace"]
    rest = await operator.v1.users.get(limit=2, after=first["next"])
    assert [item["name"] for item in rest["items"]] == ["linus"]
    assert rest["next"] is None

    changed = await operator.v1.users["grace"].patch(groups=["admins", "navy"], disabled=False)
    assert changed["groups"] == ["admins", "navy"]
    assert "users:write" in (await (await house.sign_in("grace")).v1.auth.me.get())["scopes"]
    await operator.v1.users["linus"].delete()
    await refused(operator.v1.users["linus"].delete(), 404)
    await refused(operator.v1.users["linus"].patch(disabled=True), 404)
    await refused(house.sign_in("linus"), 401)


async def test_names_are_unique_in_any_case_and_well_formed(house: Any, refused: Any) -> None:
    await house.add("ada")
    operator = await house.operator()
    await refused(operator.v1.users.post(name="ADA", password=PASSWORD), 409)
    assert (await (await house.sign_in("Ada")).v1.auth.me.get())["name"] == "ada"
    for name in ("", "../x", "a b", "service:gateway", "x~1", "é", "x" * 129, "-x"):
        error = await refused(operator.v1.users.post(name=name, password=PASSWORD), 422)
        assert error.problem["field"] == "name"
    error = await refused(operator.v1.users.post(name="bo", password="short"), 422)
    assert error.problem["field"] == "password"
    assert "short" not in str(error.body)
    error = await refused(
        operator.v1.users.post(name="bo", password=PASSWORD, groups=["x\ny"]), 422
    )
    assert error.problem["field"] == "groups"
    await refused(operator.v1.users.post(name="bo", password=PASSWORD, scopes=["operate"]), 422)


async def test_A06_users_write_makes_no_administrator(house: Any, refused: Any) -> None:
    await house.add("root", "admins")
    await house.add("ada")
    root = await house.sign_in("root")
    made = await root.v1.tokens.post(
        name="provisioning",
        scopes=[
            *("users:write", "sessions:write", "files:write", "tokens:write"),
            *("streams:write", "streams:record"),
        ],
    )
    helper = house.client(made["token"])
    await helper.v1.users.post(name="linus", password=PASSWORD)

    users = helper.v1.users
    await refused(users.post(name="eve", password=PASSWORD, groups=["admins"]), 403)
    await refused(users["linus"].patch(groups=["admins"]), 403)
    await refused(users["root"].patch(password="mine now, thanks"), 403)
    await refused(users["root"].patch(disabled=True), 403)
    await refused(users["root"].delete(), 403)
    names = [item["name"] for item in (await helper.v1.users.get())["items"]]
    assert names == ["ada", "linus", "root"]

    ada = await house.sign_in("ada")
    await refused(ada.v1.users.get(), 403)
    await refused(ada.v1.users["ada"].patch(groups=["admins"]), 403)
    await refused(ada.v1.users.post(name="eve", password=PASSWORD), 403)
    poor = house.client((await root.v1.tokens.post(name="x", scopes=["users:write"]))["token"])
    await refused(poor.v1.users.post(name="eve", password=PASSWORD), 403)


@pytest.mark.parametrize("extra", ["is_admin", "owner", "scopes", "tenant", "subject"])
async def test_A05_extra_keys_are_refused_by_name_and_change_nothing(
    house: Any, refused: Any, extra: str
) -> None:
    await house.add("ada")
    operator = await house.operator()
    before = await operator.v1.users.get()
    error = await refused(operator.v1.users["ada"].patch(disabled=True, **{extra: True}), 422)
    assert error.problem["field"] == extra
    await refused(operator.v1.users.post(name="eve", password=PASSWORD, **{extra: True}), 422)
    assert await operator.v1.users.get() == before


async def test_the_last_administrator_stays(house: Any, refused: Any) -> None:
    await house.add("root", "admins")
    operator = await house.operator()
    await refused(operator.v1.users["root"].delete(), 409)
    await refused(operator.v1.users["root"].patch(disabled=True), 409)
    await refused(operator.v1.users["root"].patch(groups=[]), 409)
    await house.add("second", "admins")
    await operator.v1.users["root"].delete()


async def test_a_namesake_inherits_nothing(house: Any) -> None:
    operator = await house.operator()
    subjects = list[str]()
    for _ in range(3):
        await house.add("ada")
        subjects.append((await (await house.sign_in("ada")).v1.auth.me.get())["subject"])
        await operator.v1.users["ada"].delete()
    assert subjects == ["ada", "ada~1", "ada~2"]


async def test_what_rests_on_an_old_password_ends_at_once(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada, operator, gateway = (
        await house.sign_in("ada"),
        await house.operator(),
        await house.service(),
    )
    program = house.client((await ada.v1.tokens.post(name="ci"))["token"])
    seat = await gateway.v1.seat_tokens.post(
        subject="ada", tenant="main", session_id="s", seat="x", role="controller", ttl_s=600
    )
    await operator.v1.users["ada"].patch(password="another horse")
    await refused(ada.v1.auth.me.get(), 401)
    await refused(house.client(seat["token"]).v1.auth.me.get(), 401)
    assert await program.v1.auth.me.get()
    await refused(house.sign_in("ada"), 401)
    assert await house.sign_in("ada", "another horse")


@pytest.mark.parametrize("how", ["disable", "remove"])
async def test_a_person_who_goes_leaves_no_way_in(house: Any, refused: Any, how: str) -> None:
    await house.add("ada")
    ada, operator, gateway = (
        await house.sign_in("ada"),
        await house.operator(),
        await house.service(),
    )
    program = house.client((await ada.v1.tokens.post(name="ci"))["token"])
    ticket = await gateway.v1.tickets.post(use="join", subject="ada", session_id="s", ttl_s=60)
    if how == "disable":
        await operator.v1.users["ada"].patch(disabled=True)
    else:
        await operator.v1.users["ada"].delete()
    await refused(ada.v1.auth.me.get(), 401)
    await refused(program.v1.auth.me.get(), 401)
    await refused(
        gateway.v1.tickets.redeem.post(ticket=ticket["ticket"], use="join", session_id="s"), 401
    )
    await refused(house.service(act="ada"), 403)
    await refused(house.sign_in("ada"), 401)


async def test_a_lost_role_ends_the_tokens_that_had_it(house: Any, refused: Any) -> None:
    await house.add("root", "admins")
    await house.add("ada", "admins")
    ada, operator = await house.sign_in("ada"), await house.operator()
    program = house.client((await ada.v1.tokens.post(name="ci"))["token"])
    await operator.v1.users["ada"].patch(groups=["admins", "navy"])
    assert await ada.v1.auth.me.get()  # as many scopes as before: nothing ends
    await operator.v1.users["ada"].patch(groups=[])
    await refused(ada.v1.auth.me.get(), 401)
    await refused(program.v1.auth.me.get(), 401)

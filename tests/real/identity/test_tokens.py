"""Tokens and keys: who may have which, how they end, how keys age."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from downstage.auth.scopes import SCOPES
from downstage.kernel.clock import ManualClock
from downstage.services.facilities.database import open_database

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True),
]


async def test_api_tokens_are_made_listed_and_revoked_at_once(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    made = await ada.v1.tokens.post(name="ci", scopes=["sessions:read"], expires_in_s=600)
    program = house.client(made["token"])
    me = await program.v1.auth.me.get()
    assert (me["subject"], me["kind"], me["scopes"]) == ("ada", "token", ["sessions:read"])
    listed = (await ada.v1.tokens.get())["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert "token" not in listed[0]
    await ada.v1.tokens[made["id"]].delete()
    await refused(program.v1.auth.me.get(), 401)
    assert (await ada.v1.tokens.get())["items"] == []
    await refused(ada.v1.tokens[made["id"]].delete(), 404)


async def test_an_api_token_ends_in_time(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    made = await ada.v1.tokens.post(name="ci", expires_in_s=60)
    house.clock.advance(90)
    await refused(house.client(made["token"]).v1.auth.me.get(), 401)
    forever = await ada.v1.tokens.post(name="long")
    assert forever["expires_at"][:10] == str((house.clock.now() + timedelta(days=366)).date())
    assert [item["name"] for item in (await ada.v1.tokens.get())["items"]] == ["long"]


async def test_A06_an_api_token_holds_no_more_than_its_owner(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    held = set((await ada.v1.auth.me.get())["scopes"])
    for scope in SCOPES.keys() - held:
        await refused(ada.v1.tokens.post(name="x", scopes=[scope]), 403)
    error = await refused(ada.v1.tokens.post(name="x", scopes=["admin"]), 422)
    assert error.problem["field"] == "scopes"
    small = await ada.v1.tokens.post(name="small", scopes=["sessions:read", "tokens:write"])
    client = house.client(small["token"])
    await refused(client.v1.tokens.post(name="x", scopes=["sessions:write"]), 403)
    child = await client.v1.tokens.post(name="child")
    assert set(child["scopes"]) == {"sessions:read", "tokens:write"}
    reader = await ada.v1.tokens.post(name="reader", scopes=["sessions:read"])
    await refused(house.client(reader["token"]).v1.tokens.post(name="x"), 403)
    await refused(house.client(reader["token"]).v1.tokens.get(), 403)


async def test_A07_another_persons_token_is_no_such_token(house: Any, refused: Any) -> None:
    await house.add("ada")
    await house.add("eve")
    ada, eve = await house.sign_in("ada"), await house.sign_in("eve")
    made = await ada.v1.tokens.post(name="ci")
    foreign = await refused(eve.v1.tokens[made["id"]].delete(), 404)
    absent = await refused(eve.v1.tokens["t-nothing"].delete(), 404)
    assert {**foreign.problem, "request_id": ""} == {**absent.problem, "request_id": ""}
    assert (await eve.v1.tokens.get())["items"] == []
    assert await house.client(made["token"]).v1.auth.me.get()


async def test_services_need_the_hosts_secret(house: Any, refused: Any) -> None:
    post = house.client().v1.service_tokens.post
    good = {"service": "gateway", "boot_secret": house.boot_secret}
    for change in (
        {"boot_secret": ""},
        {"boot_secret": house.boot_secret + "x"},
        {"boot_secret": "é"},
        {"service": "root"},
    ):
        error = await refused(post(**(good | change)), 401)
        assert error.code == "invalid-token"
    manager = await house.service("manager")
    assert (await manager.v1.auth.me.get())["scopes"] == ["sessions:write"]


async def test_a_service_that_acts_holds_what_both_may(house: Any, refused: Any) -> None:
    await house.add("ada")
    acting = await house.service("gateway", act="ada")
    me = await acting.v1.auth.me.get()
    assert me["subject"] == "service:gateway"
    assert set(me["scopes"]) == {"instances:read", "instances:write", "tickets:write"}
    await house.service("gateway", act="operator:local")
    await refused(house.service("gateway", act="nobody"), 403)


async def test_instances_and_seats_hold_their_own_place_only(house: Any, refused: Any) -> None:
    gateway = await house.service()
    instance = await gateway.v1.instance_tokens.post(
        instance_id="i-1", session_id="s-1", tenant="main", ttl_s=600
    )
    seat = await gateway.v1.seat_tokens.post(
        subject="ada", tenant="main", session_id="s-1", seat="x", role="spectator", ttl_s=600
    )
    authenticator = house.host.authenticator
    found = await authenticator.principal(instance["token"])
    assert (found.kind, found.instance_id, found.session_id) == ("instance", "i-1", "s-1")
    assert found.scopes == frozenset()
    found = await authenticator.principal(seat["token"])
    assert (found.kind, found.subject, found.seat, found.role) == ("seat", "ada", "x", "spectator")
    for token in (instance["token"], seat["token"]):
        await refused(house.client(token).v1.auth.me.get(), 403)
        await refused(house.client(token).v1.tokens.get(), 403)


async def test_a_new_operators_token_ends_the_one_before(house: Any, refused: Any) -> None:
    first = await house.operator()
    assert len((await first.v1.auth.me.get())["scopes"]) == len(SCOPES)
    made = await first.v1.tokens.post(name="script", scopes=["users:read"])
    second = house.client(await house.identity.operator_token())
    await refused(first.v1.auth.me.get(), 401)
    assert await second.v1.users.get()
    assert await house.client(made["token"]).v1.users.get()


async def jwks(house: Any) -> list[dict[str, Any]]:
    return (await house.client().v1[".well-known"]["jwks.json"].get())["keys"]


async def test_a_rotated_key_verifies_until_its_last_token_has_expired(start: Any) -> None:
    async with start(identity__key_rotation="P1D", identity__token_ttl="PT48H") as house:
        await house.add("ada")
        old = await house.sign_in("ada")
        (first,) = await jwks(house)
        house.clock.advance(86_400)
        new = await house.sign_in("ada")
        keys = await jwks(house)
        assert [key["kid"] for key in keys][1] == first["kid"]
        assert all("d" not in key for key in keys)
        assert await old.v1.auth.me.get()
        assert await new.v1.auth.me.get()
        for _ in range(6):  # days: the operator's token lives a year, but nothing else does
            house.clock.advance(86_400)
            await house.sign_in("ada")
        kids = [key["kid"] for key in await jwks(house)]
        assert len(kids) <= 6
        assert first["kid"] in kids  # it signed the operator's token


async def test_the_private_half_of_a_retired_key_is_gone(
    start: Any, data: Any, database: str | None
) -> None:
    async with start(identity__key_rotation="P1D") as house:
        await house.add("ada")
        house.clock.advance(86_400)
        await house.sign_in("ada")
    opened = await open_database(
        data / "identity.db",
        name="identity",
        migrations="downstage.identity.migrations",
        url=SecretStr(database) if database else None,
    )
    async with opened.read() as connection:
        rows = (await connection.execute(text("SELECT retired_at, sealed FROM keys"))).all()
    await opened.close()
    assert sorted((r is None, s is not None) for r, s in rows) == [(False, False), (True, True)]


async def test_keys_that_nobody_needs_are_forgotten(start: Any) -> None:
    async with start(identity__key_rotation="P1D", identity__token_ttl="PT1H") as house:
        (first,) = await jwks(house)
        for _ in range(5):
            house.clock.advance(86_400)
            keys = await jwks(house)
        assert first["kid"] not in [key["kid"] for key in keys]
        assert len(keys) <= 3


async def test_users_keys_and_revocations_survive_a_restart(start: Any, refused: Any) -> None:
    clock = ManualClock()
    async with start(clock=clock) as house:
        await house.add("ada")
        kept = (await house.client().v1.auth.login.post(username="ada", password=PASSWORD))["token"]
        ada = house.client(kept)
        gone = await ada.v1.tokens.post(name="ci")
        await ada.v1.tokens[gone["id"]].delete()
        before = await jwks(house)
    async with start(clock=clock) as house:
        assert await jwks(house) == before
        assert (await house.client(kept).v1.auth.me.get())["subject"] == "ada"
        await refused(house.client(gone["token"]).v1.auth.me.get(), 401)
        assert await house.sign_in("ada")


PASSWORD = "correct horse battery"


async def test_A06_a_token_bounded_to_streams_makes_no_wider_one(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    cameras = [{"pattern": "camera-*", "rights": ["read", "write"]}]
    made = await ada.v1.tokens.post(
        name="cameras",
        scopes=["streams:write", "tokens:write", "sessions:read"],
        streams=cameras,
    )
    assert made["streams"] == cameras
    client = house.client(made["token"])
    assert (await client.v1.auth.me.get())["streams"] == cameras
    listed = (await ada.v1.tokens.get())["items"]
    assert [item["streams"] for item in listed] == [cameras]

    async def ask(pattern: str, *rights: str, **more: Any) -> Any:
        bounds = [{"pattern": pattern, "rights": list(rights)}]
        return await client.v1.tokens.post(name="x", streams=bounds, **more)

    for pattern, rights in (
        ("*", ["read"]),
        ("camera*", ["read"]),
        ("*camera-1", ["read"]),
        ("camera-1", ["record"]),
        ("camera-1", ["admin"]),
        ("camera-1", ["read", "record"]),
    ):
        await refused(ask(pattern, *rights), 403)
    narrower = await ask("camera-1", "read")
    assert narrower["scopes"] == ["streams:read"]  # what it needs, and nothing else
    child = await client.v1.tokens.post(name="child", scopes=["streams:read"])
    assert child["streams"] == cameras  # nobody leaves bounds by not naming any
    everything = await client.v1.tokens.post(name="same")
    assert everything["streams"] == cameras


async def test_bounds_on_streams_need_their_scopes_and_a_form(house: Any, refused: Any) -> None:
    await house.add("ada")
    ada = await house.sign_in("ada")
    reading = [{"pattern": "a", "rights": ["read"]}]
    error = await refused(
        ada.v1.tokens.post(name="x", scopes=["sessions:read"], streams=reading), 422
    )
    assert error.problem["field"] == "streams"
    await refused(ada.v1.tokens.post(name="x", streams=[{**reading[0], "rights": ["admin"]}]), 403)
    for pattern in ("", "a b", "a/b", "..", "a..b", "x" * 129, "a\n"):
        await refused(
            ada.v1.tokens.post(name="x", streams=[{"pattern": pattern, "rights": ["read"]}]), 422
        )
    for rights in ([], ["reed"]):
        await refused(
            ada.v1.tokens.post(name="x", streams=[{"pattern": "a", "rights": rights}]), 422
        )
    await refused(ada.v1.tokens.post(name="x", streams=[]), 422)
    await refused(ada.v1.files_keys.post(name="x", streams=reading), 422)
    made = await ada.v1.tokens.post(name="reader", streams=reading)
    assert made["scopes"] == ["streams:read"]
    await refused(house.client(made["token"]).v1.tokens.get(), 403)

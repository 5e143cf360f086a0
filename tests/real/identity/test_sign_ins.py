"""People who sign in at the door of another service, which says from where they come."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PASSWORD = "correct horse battery"


async def test_a_service_signs_people_in(house: Any, refused: Any) -> None:
    await house.add("ada")
    service = await house.service("content")
    answer = await service.v1.sign_ins.post(username="ada", password=PASSWORD, address="10.0.0.1")
    assert (await house.client(answer["token"]).v1.auth.me.get())["subject"] == "ada"
    for wrong in ({"username": "ada", "password": "no"}, {"username": "eve", "password": PASSWORD}):
        await refused(service.v1.sign_ins.post(**wrong, address="10.0.0.1"), 401)


async def test_only_services_do(house: Any, refused: Any) -> None:
    await house.add("ada")
    body = {"username": "ada", "password": PASSWORD, "address": "10.0.0.1"}
    await refused(house.client().v1.sign_ins.post(**body), 401)
    for caller in (await house.sign_in("ada"), await house.operator()):
        await refused(caller.v1.sign_ins.post(**body), 403)


async def test_A13_one_guesser_at_another_door_locks_out_no_other_address(
    start: Any, refused: Any
) -> None:
    async with start(identity__login_attempts=2) as house:
        await house.add("ada")
        await house.add("eve")
        service = await house.service("content")

        def post(name: str, password: str, address: str) -> Any:
            return service.v1.sign_ins.post(username=name, password=password, address=address)

        for _ in range(2):
            await refused(post("nobody", "no", "10.0.0.1"), 401)
        await refused(post("ada", PASSWORD, "10.0.0.1"), 429)
        assert await post("eve", PASSWORD, "10.0.0.2")


async def test_a_sign_in_may_be_shorter_and_never_longer(house: Any) -> None:
    await house.add("ada")
    service = await house.service("streams")
    body = {"username": "ada", "password": PASSWORD, "address": "10.0.0.1"}

    async def life(seconds: int | None) -> float:
        answer = await service.v1.sign_ins.post(**body, expires_in_s=seconds)
        expires = datetime.fromisoformat(answer["expires_at"])
        return (expires - house.clock.now()).total_seconds()

    assert await life(90) == pytest.approx(90, abs=1)
    assert await life(None) == pytest.approx(8 * 3600, abs=1)
    assert await life(86400) == pytest.approx(8 * 3600, abs=1)


async def test_A11_whose_password_is_their_name_is_let_in_by_a_demo_alone(
    house: Any, refused: Any
) -> None:
    service = await house.service("streams")
    body = {"username": "visitor", "password": "visitor", "address": "127.0.0.1", "by_name": True}
    await refused(service.v1.sign_ins.post(**body), 401)


async def test_A11_a_demo_knows_its_guests_by_the_name_they_gave(start: Any, refused: Any) -> None:
    async with start(platform__demo=True) as house:
        await house.add("ada", "admins")
        service = await house.service("streams")

        def post(name: str, password: str, address: str = "127.0.0.1", **more: Any) -> Any:
            body = {"username": name, "password": password, "address": address, "by_name": True}
            return service.v1.sign_ins.post(**(body | more))

        answer = await post("visitor <é>", "visitor <é>")
        who = await house.client(answer["token"]).v1.auth.me.get()
        assert (who["name"], who["subject"]) == ("visitor <é>", "demo")
        assert who["scopes"] == ["streams:read", "streams:record", "streams:write"]
        life = datetime.fromisoformat(answer["expires_at"]) - house.clock.now()
        assert life.total_seconds() == pytest.approx(30 * 86400, abs=1)
        await refused(post("visitor", "other"), 401)
        await refused(post("visitor", "visitor", by_name=False), 401)
        await refused(post("visitor", "visitor", "192.168.1.9"), 401)
        await refused(post("ada", "ada"), 401)  # somebody's name is not a guest's to take
        await refused(post("two\nlines", "two\nlines"), 401)


async def test_A11_a_demo_that_others_reach_takes_no_guests(start: Any, refused: Any) -> None:
    async with start(platform__demo=True, platform__host="0.0.0.0") as house:
        service = await house.service("streams")
        body = {"username": "me", "password": "me", "address": "127.0.0.1", "by_name": True}
        await refused(service.v1.sign_ins.post(**body), 401)

"""People who sign in at the door of another service, which says from where they come."""

from __future__ import annotations

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

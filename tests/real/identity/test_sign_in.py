"""Signing in: slow to guess, the same for everybody who fails."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from argon2 import PasswordHasher

from downstage.identity.passwords import Passwords
from downstage.identity.service import ALL, open_identity
from downstage.kernel.errors import Unauthenticated
from downstage.kernel.settings import load
from downstage.services import AsyncClient, BaseServiceError
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PASSWORD = "correct horse battery"


async def test_A13_guessing_ends_in_429_with_retry_after_over_http(start: Any) -> None:
    async with start(identity__login_attempts=4) as house:
        await house.add("ada")
        sock = open_port("127.0.0.1", 0)
        server = Server(house.host.public_app, [sock])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await server.wait_started()
            client = AsyncClient(f"http://127.0.0.1:{sock.getsockname()[1]}", timeout_s=20)
            answers = [await failure(client, "ada", f"guess {n}") for n in range(6)]
            server.stop()
    assert [error.status for error in answers] == [401] * 4 + [429] * 2
    for error in answers[4:]:
        assert 1 <= int(error.headers["retry-after"]) <= 301
        assert error.problem is not None
        assert error.problem["code"] == "too-many"


async def failure(client: AsyncClient, name: str, password: str) -> BaseServiceError:
    with pytest.raises(BaseServiceError) as caught:
        await client.v1.auth.login.post(username=name, password=password)
    return caught.value


async def test_A13_the_right_password_does_not_help_while_a_name_is_guessed(start: Any) -> None:
    async with start(identity__login_attempts=3) as house:
        await house.add("ada")
        service = house.identity.service
        for n in range(3):
            with pytest.raises(Unauthenticated):
                await service.sign_in("ADA", "wrong", f"192.0.2.{n}")
        assert (await failure(house.client(), "ada", PASSWORD)).status == 429


async def test_A13_an_address_that_tries_many_names_is_stopped(start: Any) -> None:
    async with start(identity__login_attempts=3) as house:
        statuses = [(await failure(house.client(), f"u{n}", "wrong")).status for n in range(5)]
    assert statuses == [401] * 3 + [429] * 2


async def test_A13_many_attempts_at_once_count_before_they_end(start: Any) -> None:
    statuses = list[int | None]()

    async def attempt() -> None:
        statuses.append((await failure(house.client(), "ada", "wrong")).status)

    async with start(identity__login_attempts=3) as house:
        await house.add("ada")
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(attempt)
    assert sorted(statuses) == [401] * 3 + [429] * 17


async def test_A13_who_signs_in_rightly_is_never_stopped(start: Any) -> None:
    async with start(identity__login_attempts=2) as house:
        await house.add("ada")
        for _ in range(3):
            assert (await failure(house.client(), "ada", "wrong")).status == 401
            await house.sign_in("ada")
            house.identity.service.guard = type(house.identity.service.guard)(2)
        for _ in range(6):
            await house.sign_in("ada")


async def test_A13_known_and_unknown_names_take_the_same_time(house: Any) -> None:
    await house.add("ada")
    await house.add("off")
    await (await house.operator()).v1.users["off"].patch(disabled=True)
    client = house.client()
    times: dict[str, list[float]] = {"ada": [], "nobody": [], "off": []}
    bodies = set[str]()
    for _ in range(15):
        for name, taken in times.items():
            begin = time.perf_counter()
            error = await failure(client, name, "wrong password")
            taken.append(time.perf_counter() - begin)
            bodies.add(str({k: v for k, v in error.problem.items() if k != "request_id"}))
    assert len(bodies) == 1
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    spread = max(q[2] - q[0] for q in (statistics.quantiles(t) for t in times.values()))
    noise = max(spread, 0.25 * medians["ada"])
    assert max(medians.values()) - min(medians.values()) < noise, medians


async def test_a_sign_in_never_holds_the_loop(house: Any, loop_watchdog: Any) -> None:
    await house.add("ada")
    await house.sign_in("ada")
    del loop_watchdog


async def test_an_outdated_hash_is_replaced_by_the_next_sign_in(data: Path) -> None:
    settings = load(environment={}, overrides={"platform.data": data})
    weak = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    strong = Passwords(PasswordHasher(time_cost=2, memory_cost=1024, parallelism=1))
    async with open_identity(settings, passwords=weak) as service:
        await service.users.add("ada", PASSWORD, (), held=ALL)
        before = await service.users.find("ada")
    async with open_identity(settings, passwords=strong) as service:
        await service.sign_in("ada", PASSWORD, "local")
        after = await service.users.find("ada")
        assert before is not None
        assert after is not None
        assert "m=8," in before.password_hash
        assert "m=1024," in after.password_hash
        await service.sign_in("ada", PASSWORD, "local")
        with pytest.raises(Unauthenticated):
            await service.sign_in("ada", PASSWORD + " ", "local")


@pytest.mark.parametrize(
    "body",
    [
        {"username": "x" * 129, "password": "x"},
        {"username": "x", "password": "x" * 1025},
        {"username": "x", "password": ["x"]},
        {"username": "x"},
        {"username": "x", "password": "x", "scope": "operate"},
    ],
)
async def test_a_malformed_sign_in_names_its_field(
    house: Any, refused: Any, body: dict[str, Any]
) -> None:
    error = await refused(house.client().v1.auth.login.post(**body), 422)
    assert error.problem["field"] in ("username", "password", "scope")
    assert "xxxx" not in str(error.body)

"""One-time tickets: spent once, by the right holder, in time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from downstage.services import BaseServiceError

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True),
]


async def minted(gateway: Any, **more: Any) -> str:
    body = {"use": "signalling", "subject": "ada", "session_id": "s-1", "ttl_s": 60} | more
    return (await gateway.v1.tickets.post(**body))["ticket"]


async def test_A08_a_ticket_tells_what_it_was_made_for_once(house: Any, refused: Any) -> None:
    gateway = await house.service()
    ticket = await minted(gateway, use="join", seat="spectator", ttl_s=900)
    body = {"ticket": ticket, "use": "join", "session_id": "s-1"}
    assert await gateway.v1.tickets.redeem.post(**body) == {
        "use": "join",
        "subject": "ada",
        "tenant": "main",
        "session_id": "s-1",
        "seat": "spectator",
    }
    error = await refused(gateway.v1.tickets.redeem.post(**body), 401)
    assert error.code == "invalid-token"


async def test_A08_used_expired_foreign_and_unknown_are_one_answer(
    house: Any, refused: Any
) -> None:
    gateway = await house.service()
    good = {"use": "signalling", "session_id": "s-1"}
    ticket = await minted(gateway)
    wrong: list[dict[str, Any]] = [
        {"ticket": ticket, "use": "media", "session_id": "s-1"},
        {"ticket": ticket, "use": "setup", "session_id": "s-1"},
        {"ticket": ticket, "use": "signalling", "session_id": "s-2"},
        {"ticket": ticket, "use": "signalling"},
        {"ticket": ticket + "x", **good},
        {"ticket": ticket.swapcase(), **good},
        {"ticket": "", **good},
    ]
    answers = [await refused(gateway.v1.tickets.redeem.post(**body), 401) for body in wrong]
    await gateway.v1.tickets.redeem.post(ticket=ticket, **good)  # foreign tries cost nothing
    answers.append(await refused(gateway.v1.tickets.redeem.post(ticket=ticket, **good), 401))
    late = await minted(gateway)
    house.clock.advance(60)
    answers.append(await refused(gateway.v1.tickets.redeem.post(ticket=late, **good), 401))
    bodies = {str({k: v for k, v in e.problem.items() if k != "request_id"}) for e in answers}
    assert len(bodies) == 1


async def test_A08_of_fifty_at_once_exactly_one_wins(house: Any) -> None:
    gateway = await house.service()
    ticket = await minted(gateway)
    statuses = list[int | None]()

    async def redeem() -> None:
        try:
            await gateway.v1.tickets.redeem.post(ticket=ticket, use="signalling", session_id="s-1")
            statuses.append(200)
        except BaseServiceError as error:
            statuses.append(error.status)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(redeem)
    assert sorted(statuses) == [200] + [401] * 49  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"use": "signalling", "ttl_s": 61}, "ttl_s"),
        ({"use": "media", "ttl_s": 61}, "ttl_s"),
        ({"use": "join", "ttl_s": 901}, "ttl_s"),
        ({"use": "join", "ttl_s": 0}, "ttl_s"),
        ({"use": "join", "session_id": None}, "session_id"),
        ({"use": "setup"}, "use"),
        ({"use": "everything"}, "use"),
    ],
)
async def test_a_ticket_has_bounds(
    house: Any, refused: Any, body: dict[str, Any], field: str
) -> None:
    gateway = await house.service()
    good = {"use": "join", "subject": "ada", "session_id": "s-1", "ttl_s": 60}
    error = await refused(gateway.v1.tickets.post(**(good | body)), 422)
    assert error.problem["field"] == field


async def test_A08_a_look_at_a_ticket_does_not_spend_it(house: Any, refused: Any) -> None:
    gateway = await house.service()
    ticket = await minted(gateway)
    good = {"ticket": ticket, "use": "signalling", "session_id": "s-1"}
    for more in ({"ticket": "x" * 32}, {"use": "media"}, {"session_id": "s-2"}):
        await refused(gateway.v1.tickets.check.post(**(good | more)), 401)
    for _ in range(2):
        await gateway.v1.tickets.check.post(**good)
    await gateway.v1.tickets.redeem.post(**good)
    await refused(gateway.v1.tickets.check.post(**good), 401)


async def test_A07_people_reach_no_internal_route(house: Any, refused: Any) -> None:
    await house.add("root", "admins")
    root = await house.sign_in("root")
    mint = {"use": "join", "subject": "ada", "session_id": "s-1", "ttl_s": 60}
    await refused(root.v1.tickets.post(**mint), 403)
    await refused(root.v1.tickets.redeem.post(ticket="x", use="join", session_id="s-1"), 403)
    await refused(root.v1.revocations.get(), 403)
    seat = {"subject": "ada", "tenant": "main", "session_id": "s", "seat": "x", "ttl_s": 60}
    await refused(root.v1.seat_tokens.post(role="controller", **seat), 403)
    await refused(
        root.v1.instance_tokens.post(instance_id="i", session_id="s", tenant="main", ttl_s=60), 403
    )
    for other in ("agent", "manager"):
        await refused((await house.service(other)).v1.tickets.post(**mint), 403)
    public = {route.path for route in routes(house.host.public_app)}
    await refused(root.v1.tickets.check.post(ticket="x", use="join", session_id="s-1"), 403)
    internal = {"/v1/tickets", "/v1/tickets/redeem", "/v1/service-tokens", "/v1/seat-tokens"}
    internal.add("/v1/tickets/check")
    assert "/v1/auth/login" in public
    assert not internal & public


def routes(app: Any) -> list[Any]:
    """Every route of *app*, also those of routers that were included whole."""
    from fastapi.routing import APIRoute

    found, pending = list[Any](), list(app.router.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            found.append(route)
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        pending += list(getattr(inner, "routes", []))
    return found

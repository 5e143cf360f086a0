"""The authenticator: keys and revocations kept fresh with few questions."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import anyio
import anyio.lowlevel
import pytest
from fastapi import Depends, FastAPI

from downstage.auth.principal import Kind, Principal
from downstage.auth.tokens import Signer, new_key
from downstage.bus import MemoryBus
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import InvalidToken, Unavailable
from downstage.services import AsyncClient, BaseServiceError, ServiceUnavailableError
from downstage.services.facilities.principal import (
    REVOKED,
    Authenticator,
    ServiceTokens,
    require,
)
from downstage.services.problems import install

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HOUR = timedelta(hours=1)


class Source:
    """Identity, as an authenticator sees it: a key set and a list, and how often each was asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = MemoryBus()
        self.keys = [new_key()]
        self.revision = 0
        self.revoked: list[str] = []
        self.asked = {"keys": 0, "revocations": 0}
        self.is_up = True

    async def jwks(self) -> dict[str, Any]:
        self.asked["keys"] += 1
        await anyio.lowlevel.checkpoint()
        if not self.is_up:
            raise ServiceUnavailableError("down")
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    async def revocations(self) -> dict[str, Any]:
        self.asked["revocations"] += 1
        if not self.is_up:
            raise ServiceUnavailableError("down")
        return {"revision": self.revision, "ids": list(self.revoked)}

    def authenticator(self) -> Authenticator:
        return Authenticator(
            jwks=self.jwks, revocations=self.revocations, bus=self.bus, clock=self.clock
        )

    def token(self, kind: Kind = "user", *scopes: str) -> str:
        principal = Principal("ada", "ada", kind, scopes=frozenset(scopes))
        return Signer(self.keys[-1], self.clock).sign(principal, HOUR, token_id=f"t-{kind}").token


@pytest.fixture
def source() -> Source:
    return Source()


async def test_many_callers_cost_one_question(source: Source) -> None:
    authenticator, token = source.authenticator(), source.token()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(authenticator.principal, token)
    assert source.asked["keys"] == 1
    await authenticator.principal(token)
    assert source.asked["keys"] == 1


async def test_a_new_key_is_found_and_an_unknown_one_asks_rarely(source: Source) -> None:
    authenticator = source.authenticator()
    await authenticator.principal(source.token())
    source.keys.append(new_key())
    fresh = source.token()
    with pytest.raises(InvalidToken):
        await authenticator.principal(fresh)
    source.clock.advance(5)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(authenticator.principal, fresh)
    assert source.asked["keys"] == 2
    stranger = Signer(new_key(), source.clock).sign(Principal("x", "x", "user"), HOUR).token
    for _ in range(10):
        with pytest.raises(InvalidToken):
            await authenticator.principal(stranger)
    assert source.asked["keys"] == 2


async def test_nobody_is_let_in_before_identity_answers(source: Source) -> None:
    source.is_up = False
    authenticator, token = source.authenticator(), source.token()
    with pytest.raises(Unavailable):
        await authenticator.principal(token)
    source.is_up = True
    assert (await authenticator.principal(token)).subject == "ada"


async def test_a_token_revoked_before_we_started_is_refused(source: Source) -> None:
    source.revoked, source.revision = ["t-user"], 1
    with pytest.raises(InvalidToken):
        await source.authenticator().principal(source.token())


async def test_a_service_needs_no_list_to_ask_for_the_list(source: Source) -> None:
    await source.authenticator().principal(source.token("service"))
    assert source.asked["revocations"] == 0


async def test_a_hint_counts_before_the_list_knows(source: Source) -> None:
    authenticator, token = source.authenticator(), source.token()
    await authenticator.principal(token)
    authenticator.revoke(1, ["t-user"])
    await authenticator.refresh()  # the list is still that of revision 0
    with pytest.raises(InvalidToken):
        await authenticator.principal(token)
    source.revision = 1  # the list of revision 1 is the truth: it does not name the token
    await authenticator.refresh()
    assert await authenticator.principal(token)


async def test_hints_come_by_the_bus(source: Source) -> None:
    authenticator, token = source.authenticator(), source.token()
    await authenticator.principal(token)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(authenticator.run)
        await anyio.wait_all_tasks_blocked()
        source.revoked, source.revision = ["t-user"], 1
        source.bus.publish(REVOKED, {"revision": 1, "ids": ["t-user"]})
        source.bus.publish(REVOKED, {"revision": "rubbish", "ids": 7})
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(InvalidToken):
            await authenticator.principal(token)
        assert source.asked["revocations"] >= 2
        source.is_up = False  # a list that cannot be read ends nothing
        source.bus.publish(REVOKED, {"revision": 2, "ids": []})
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


async def test_a_services_token_is_renewed_a_minute_early() -> None:
    clock, count = ManualClock(), 0

    async def fetch() -> tuple[str, str]:
        nonlocal count
        count += 1
        await anyio.lowlevel.checkpoint()
        return f"token-{count}", (clock.now() + timedelta(minutes=10)).isoformat()

    tokens = ServiceTokens(fetch, clock=clock)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(tokens.token)
    assert await tokens.token() == "token-1"
    clock.advance(539)
    assert await tokens.token() == "token-1"
    clock.advance(1)
    assert await tokens.token() == "token-2"


@pytest.fixture
def client(source: Source) -> AsyncClient:
    app = FastAPI()
    install(app)
    app.state.authenticator = source.authenticator()

    @app.get("/any")
    async def any_(caller: Annotated[Principal, Depends(require())]) -> str:
        return caller.subject

    @app.get("/write")
    async def write(caller: Annotated[Principal, Depends(require("sessions:write"))]) -> str:
        return caller.subject

    @app.get("/instance")
    async def instance(
        caller: Annotated[Principal, Depends(require(kinds=("instance",)))],
    ) -> str:
        return caller.subject

    return AsyncClient("local://test", app=app)


async def answer(client: AsyncClient, path: str, authorization: str | None) -> int | None:
    headers = {} if authorization is None else {"authorization": authorization}
    try:
        await client[path].get(__headers__=headers)
    except BaseServiceError as error:
        told = error.headers.get("www-authenticate") == "Bearer"
        return error.status if told == (error.status == 401) else None
    return 200


async def test_routes_ask_for_scopes_and_kinds(source: Source, client: AsyncClient) -> None:
    reader = f"Bearer {source.token('user', 'sessions:read')}"
    writer = f"bearer {source.token('token', 'sessions:write')}"
    assert await answer(client, "any", reader) == 200
    assert await answer(client, "write", reader) == 403
    assert await answer(client, "write", writer) == 200
    for kind in ("instance", "seat"):
        assert await answer(client, "any", f"Bearer {source.token(kind)}") == 403
    assert await answer(client, "instance", f"Bearer {source.token('instance')}") == 200
    assert await answer(client, "instance", writer) == 403


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer x", "Bearer a.b.c"]
)
async def test_routes_refuse_who_proves_nothing(
    client: AsyncClient, authorization: str | None
) -> None:
    assert await answer(client, "any", authorization) == 401


@pytest.mark.usefixtures("leaping_clock")
async def test_an_application_that_is_not_wired_yet_says_so(source: Source) -> None:
    app = FastAPI()
    install(app)

    @app.get("/any")
    async def any_(caller: Annotated[Principal, Depends(require())]) -> str:
        return caller.subject

    client = AsyncClient("local://test", app=app)
    assert await answer(client, "any", f"Bearer {source.token()}") == 503


async def test_the_lock_stands_in_openapi() -> None:
    app = FastAPI()

    @app.get("/any")
    async def any_(caller: Annotated[Principal, Depends(require())]) -> str:
        return caller.subject

    schema = app.openapi()
    assert schema["paths"]["/any"]["get"]["security"] == [{"bearer": []}]
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"

"""Client credentials against a token endpoint that checks what it is given, over real sockets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote_plus

import anyio
import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from downstage.auth.principal import Principal
from downstage.auth.tokens import Signer, new_key
from downstage.bus import MemoryBus
from downstage.kernel.clock import ManualClock, SystemClock
from downstage.services import (
    ApiKey,
    AsyncClient,
    BaseServiceError,
    Client,
    OidcClientCredentials,
    ServiceUnavailableError,
)
from downstage.services.facilities.principal import Authenticator, require
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port
from downstage.services.transports.http import close_pool

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SECRET = "p:ss wörd+"
ROBOT = Principal(subject="robot", name="Robot", kind="user", scopes=frozenset({"sessions:read"}))
KEY = new_key()


class Issuer:
    """An authorisation server: one client, signed tokens, a list of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.refused: list[str] = []
        self.expires_in: Any = 300
        self.endpoint = "{base}/token"
        self.base = ""
        self.valid: set[str] = set()
        self.number = 0

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        async def configuration() -> Any:
            return {"issuer": self.base, "token_endpoint": self.endpoint.format(base=self.base)}

        @app.post("/token")
        async def token(request: Request) -> JSONResponse:
            form = {k: v[0] for k, v in parse_qs((await request.body()).decode()).items()}
            scheme, _, pair = request.headers.get("authorization", "").partition(" ")
            name, _, secret = base64.b64decode(pair).decode().partition(":")
            good = (
                scheme == "Basic"
                and (unquote_plus(name), unquote_plus(secret)) == ("robot", SECRET)
                and form.get("grant_type") == "client_credentials"
                and request.headers["content-type"] == "application/x-www-form-urlencoded"
            )
            if not good:
                self.refused.append(name)
                return JSONResponse({"error": "invalid_client"}, 401)
            self.asked.append(form)
            await anyio.sleep(0.02)
            self.number += 1
            signed = Signer(KEY, SystemClock()).sign(
                ROBOT, timedelta(minutes=5, seconds=self.number)
            )
            self.valid = {signed.token}
            body = {"access_token": signed.token, "token_type": "bearer",
                    "expires_in": self.expires_in}  # fmt: skip
            return JSONResponse(body)

        return app


async def key_set() -> dict[str, Any]:
    return {"keys": [KEY.as_dict(private=False)]}


async def no_revocations() -> dict[str, Any]:
    return {"revision": 1, "ids": []}


def service(issuer: Issuer) -> FastAPI:
    app = create_app("Protected")
    app.state.authenticator = Authenticator(
        jwks=key_set, revocations=no_revocations, bus=MemoryBus()
    )

    @app.get("/v1/me")
    async def me(caller: Annotated[Principal, Depends(require("sessions:read"))]) -> str:
        return caller.subject

    @app.post("/v1/latest")
    async def latest(request: Request) -> JSONResponse:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        ok = token in issuer.valid
        return JSONResponse("yes" if ok else {"detail": "old"}, 200 if ok else 401)

    @app.get("/v1/key")
    async def key(request: Request) -> str:
        return request.headers.get("x-api-key", "")

    return app


@pytest.fixture
async def issuer(
    anyio_backend: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Issuer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data))
    issuer = Issuer()
    sock = open_port("127.0.0.1", 0)
    issuer.base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    server = Server(issuer.app(), [sock])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield issuer
        finally:
            await close_pool()
            server.stop()


def credentials(house: Issuer, **more: Any) -> OidcClientCredentials:
    given = {"issuer": house.base, "client_id": "robot", "client_secret": SECRET, **more}
    return OidcClientCredentials(**given)


async def test_a_token_is_fetched_once_and_lets_us_in(issuer: Issuer) -> None:
    auth = credentials(issuer, scope="sessions:read x", audience="downstage")
    client = AsyncClient("local://", service(issuer), auth=auth)
    got: list[str] = []

    async def call() -> None:
        got.append(await client.v1.me.get())

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(call)
    assert got == ["robot"] * 20
    assert issuer.asked == [
        {"grant_type": "client_credentials", "scope": "sessions:read x", "audience": "downstage"}
    ]


async def test_it_is_renewed_before_it_expires(issuer: Issuer) -> None:
    clock = ManualClock()
    auth = credentials(issuer, clock=clock.monotonic, early_s=30)
    client = AsyncClient("local://", service(issuer), auth=auth)
    await client.v1.me.get()
    clock.advance(269)
    await client.v1.me.get()
    assert len(issuer.asked) == 1
    clock.advance(2)
    await client.v1.me.get()
    assert len(issuer.asked) == 2


@pytest.mark.parametrize("lasts", [10, "300", None, "soon", -1, 10**400])
async def test_odd_lives_of_tokens(issuer: Issuer, lasts: Any) -> None:
    issuer.expires_in = lasts
    client = AsyncClient("local://", service(issuer), auth=credentials(issuer))
    await client.v1.me.get()
    await client.v1.me.get()
    assert len(issuer.asked) == 1


async def test_a_refused_token_is_renewed_once(issuer: Issuer) -> None:
    client = AsyncClient("local://", service(issuer), auth=credentials(issuer), retries=0)
    assert await client.v1.latest.post(x=1) == "yes"
    issuer.valid = set()
    assert await client.v1.latest.post(x=1) == "yes"
    assert len(issuer.asked) == 2
    issuer.valid = set()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(client.v1.latest.post)
    assert len(issuer.asked) == 3
    issuer.valid = set()
    with pytest.raises(BaseServiceError) as caught:
        await client.v1.latest.post(__headers__={"authorization": "Bearer mine"})
    assert caught.value.status == 401
    assert len(issuer.asked) == 3


async def test_a_wrong_secret_is_refused_and_shown_nowhere(issuer: Issuer) -> None:
    auth = credentials(issuer, client_secret="wr0ng-secret")
    client = AsyncClient("local://", service(issuer), auth=auth)
    with pytest.raises(BaseServiceError, match="invalid_client") as caught:
        await client.v1.me.get()
    assert caught.value.status == 401
    for text in (str(caught.value), repr(caught.value), repr(auth), repr(client), str(vars(auth))):
        assert "wr0ng-secret" not in text
    assert len(issuer.refused) == 1


@pytest.mark.parametrize(
    "endpoint", ["ftp://h/token", "file:///etc/passwd", "", "local://identity", "https://[h/t"]
)
async def test_the_secret_goes_to_no_strange_address(issuer: Issuer, endpoint: str) -> None:
    issuer.endpoint = endpoint
    client = AsyncClient("local://", service(issuer), auth=credentials(issuer))
    with pytest.raises(ServiceUnavailableError, match="token endpoint"):
        await client.v1.me.get()


async def test_the_endpoint_may_be_given(issuer: Issuer) -> None:
    auth = credentials(issuer, issuer=None, token_url=f"{issuer.base}/token")
    assert await AsyncClient("local://", service(issuer), auth=auth).v1.me.get() == "robot"
    with pytest.raises(ValueError, match="either"):
        OidcClientCredentials(client_id="a", client_secret="b")
    with pytest.raises(ValueError, match="either"):
        AsyncClient("local://", token="t", auth=auth)


async def test_one_object_serves_several_loops(issuer: Issuer) -> None:
    auth = credentials(issuer)
    app = service(issuer)

    def blocking() -> str:
        with Client("local://", app, auth=auth) as client:
            return client.v1.latest.post(x=1)

    assert await AsyncClient("local://", app, auth=auth).v1.latest.post(x=1) == "yes"
    assert await anyio.to_thread.run_sync(blocking) == "yes"
    assert len(issuer.asked) == 1


async def test_an_api_key(issuer: Issuer) -> None:
    app = service(issuer)
    auth = ApiKey("k3y")
    client = AsyncClient("local://", app, auth=auth)
    assert await client.v1.key.get() == "k3y"
    assert await client.v1.key.get(__headers__={"x-api-key": "mine"}) == "mine"
    assert "k3y" not in repr(auth)
    assert "k3y" not in client.v1.key.get.curl()

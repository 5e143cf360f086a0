"""Forged tokens at every route of every service, by HTTP: one answer for all of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from downstage.auth.tokens import SKEW_S, new_key
from downstage.kernel.clock import ManualClock
from downstage.kernel.settings import load
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.operator import operator_app
from downstage.services.server import Server, open_port

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(120)]

SERVICES = ("identity", "content", "streams", "manager", "agent", "gateway")
Claims = dict[str, Any]


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Forger:
    """Makes tokens of a real one and identity's public key: all that a stranger can have."""

    def __init__(self, genuine: str, published: dict[str, Any]) -> None:
        self.genuine = genuine
        head, body, self.signature = genuine.split(".")
        self.kid = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]
        self.claims: Claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        self.public = ECKey.import_key(next(k for k in published["keys"] if k["kid"] == self.kid))
        self.own = new_key()

    def signed(self, *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """As identity makes them, but by a key of our own."""
        head = {"alg": "ES256", "kid": self.kid, **(header or {})}
        claims = {k: v for k, v in {**self.claims, **changes}.items() if v is not ...}
        return jwt.encode(head, claims, self.own, algorithms=["ES256"])

    def unsigned(self, algorithm: str = "none", signature: str = "") -> str:
        head = encoded({"alg": algorithm, "kid": self.kid})
        return f"{head}.{encoded(self.claims)}.{signature}"

    def by_public_key(self, secret: bytes) -> str:
        text = f"{encoded({'alg': 'HS256', 'kid': self.kid})}.{encoded(self.claims)}"
        return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"

    def changed(self, **changes: Any) -> str:
        """The genuine signature under other claims."""
        head = self.genuine.split(".", maxsplit=1)[0]
        return f"{head}.{encoded({**self.claims, **changes})}.{self.signature}"


def forgeries(forger: Forger) -> dict[str, str]:
    now = forger.claims["iat"]
    ec = {name: forger.public.as_dict(private=False)[name] for name in ("crv", "kty", "x", "y")}
    return {
        "alg none": forger.unsigned(),
        "alg None, signed": forger.unsigned("None", forger.signature),
        "HS256 with the PEM": forger.by_public_key(forger.public.as_pem(private=False)),
        "HS256 with the JWK": forger.by_public_key(json.dumps(ec).encode()),
        "another key": forger.signed(),
        "unknown kid": forger.signed(header={"kid": "k-unknown"}),
        "kid is a path": forger.signed(header={"kid": "../../dev/null"}),
        "HS256, empty, kid is a path": jwt.encode(
            {"alg": "ES256", "kid": "../../dev/null"}, forger.claims, forger.own,
            algorithms=["ES256"],
        ),
        "key in the header": forger.signed(header={"jwk": forger.own.as_dict(private=False)}),
        "expired": forger.changed(exp=now - SKEW_S - 1),
        "not yet": forger.changed(nbf=now + 10 * SKEW_S),
        "wrong audience": forger.changed(aud="elsewhere"),
        "another person": forger.changed(sub="root"),
        "more scopes": forger.changed(scope="operate users:write"),
        "garbage": "garbage",
        "two parts": forger.genuine.rpartition(".")[0],
        "cut signature": forger.genuine[:-6],
    }  # fmt: skip


@asynccontextmanager
async def house(data: Path) -> AsyncGenerator[tuple[ServiceHost, dict[str, str]]]:
    urls = PlatformUrls("http://127.0.0.1:1", f"unix://{data}/link.sock")
    overrides: dict[str, object] = {"platform.data": data, "manager.isolation": "none"}
    host = ServiceHost(load(environment={}, overrides=overrides), urls, services=SERVICES)
    async with host.run(), anyio.create_task_group() as tasks:
        apps = {name: host.app(name) for name in SERVICES}
        apps |= {"public": host.public_app, "operator": operator_app(host)}
        found: dict[str, str] = {}
        for name, app in apps.items():
            sock = open_port("127.0.0.1", 0)
            server = Server(app, [sock])
            tasks.start_soon(server.run)
            await server.wait_started()
            found[name] = f"http://127.0.0.1:{sock.getsockname()[1]}"
        yield host, found
        tasks.cancel_scope.cancel()


async def real_token(host: ServiceHost) -> str:
    return await host.extension("identity").operator_token()  # type: ignore[attr-defined]


def locked(app: Any) -> list[tuple[str, str]]:
    """Method and path of every operation that needs a caller; parameters filled in."""
    found: list[tuple[str, str]] = []
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            if operation.get("security"):
                found.append((method.upper(), re.sub(r"\{[^}]+\}", "some-id", path)))
    return found


async def test_A10_no_route_of_any_service_takes_a_forged_token(data: Path) -> None:
    async with house(data) as (host, urls), aiohttp.ClientSession() as session:
        published = await AsyncClient("local://identity").v1[".well-known"]["jwks.json"].get()
        genuine = await real_token(host)
        forger = Forger(genuine, published)
        made = forgeries(forger)
        apps: dict[str, Any] = {name: host.app(name) for name in SERVICES}
        apps |= {"public": host.public_app, "operator": operator_app(host)}
        answers = set[str]()
        count = 0

        async def ask(url: str, method: str, path: str, token: str) -> tuple[int, str]:
            headers = {"authorization": f"Bearer {token}", "x-request-id": "same"}
            # A body that fits nothing: who is not known must not learn what would fit.
            async with session.request(
                method, url + path, headers=headers, json=_body(method, path)
            ) as answer:
                return answer.status, await answer.text()

        for name, app in apps.items():
            operations = locked(app)
            assert operations or name == "operator"
            for number, (method, path) in enumerate(operations):
                # Every forgery on one route of each service, some of them on every route.
                chosen = list(made) if number == 0 else list(made)[number % 3 :: 3]
                for kind in chosen:
                    status, text = await ask(urls[name], method, path, made[kind])
                    assert status == 401, (name, method, path, kind, text)
                    if method != "HEAD":  # whose answers have no body
                        answers.add(text)
                    count += 1
        assert count > 300
        status, _ = await ask(urls["identity"], "GET", "/v1/auth/me", genuine)
        assert status == 200  # the one that all were forged from does count
    # The data server's API has errors of one field, which its clients read; the words are ours.
    answers.discard('{"detail":"The token is not valid."}')
    # The Anbox dialect's clients read its envelope.
    answers.discard(
        '{"type":"error","status":"failed","status_code":401,"error":"The token is not valid.",'
        '"metadata":{"code":"invalid-token","request_id":"same"}}'
    )
    answers.discard(
        '{"type":"error","error":"The token is not valid.","error_code":401,'
        '"metadata":{"code":"invalid-token","request_id":"same"}}'
    )
    assert len(answers) == 1
    body = json.loads(answers.pop())
    assert (body["code"], body["detail"]) == ("invalid-token", "The token is not valid.")


async def test_A10_a_genuine_token_counts_within_its_time_alone(data: Path) -> None:
    clock = ManualClock()
    urls = PlatformUrls("http://127.0.0.1:1", f"unix://{data}/link.sock")
    settings = load(environment={}, overrides={"platform.data": data})
    host = ServiceHost(settings, urls, services=("identity",), clock=clock)
    async with host.run(), anyio.create_task_group() as tasks:
        sock = open_port("127.0.0.1", 0)
        server = Server(host.app("identity"), [sock])
        tasks.start_soon(server.run)
        await server.wait_started()
        headers = {"authorization": f"Bearer {await real_token(host)}", "x-request-id": "same"}
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1/users"
        async with aiohttp.ClientSession(headers=headers) as session:

            async def ask() -> tuple[int, str]:
                async with session.get(url) as answer:
                    body = await answer.json()
                    return answer.status, body.get("detail", "")

            clock.jump(-SKEW_S - 60)  # it is not yet valid, beyond what clocks may differ
            assert await ask() == (401, "The token is not valid.")
            clock.jump(SKEW_S + 60)
            assert (await ask())[0] == 200
            clock.advance(20 * 365 * 24 * 3600)
            assert await ask() == (401, "The token is not valid.")
        tasks.cancel_scope.cancel()


def _body(method: str, path: str) -> dict[str, Any] | None:
    fits: Callable[[str], bool] = path.endswith
    if method not in ("POST", "PATCH", "PUT"):
        return None
    if fits("/session-service/session"):
        return {"url": "", "access_token": "a", "username": "u", "spec": {"image": "i"}}
    return next((body for end, body in BODIES.items() if fits(end)), {})


BODIES: dict[str, dict[str, Any]] = {
    "/seat": {},
    "/tickets": {"use": "signalling"},
}

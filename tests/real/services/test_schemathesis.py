"""Every operation that a service describes, called with what fits its description and what not.

Nothing may answer 5xx but with Retry-After, with a status or a content type that is not
described, or with a body out of its schema.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import httpx
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks as plain_checks
from schemathesis.specs.openapi import checks as described_checks

from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.settings import load
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.operator import operator_app
from downstage.services.server import Server, open_port

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.timeout(240),
    # The services run in this process and draw numbers of their own meanwhile.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
"""Of each operation, fitting and not fitting each; more by hand, in a soak."""
MAX_TOLD = 2000
checks, described = cast("Any", plain_checks), cast("Any", described_checks)
CHECKS = [
    checks.not_a_server_error,
    described.status_code_conformance,
    described.content_type_conformance,
    described.response_schema_conformance,
]
SERVICES = ("identity", "content", "streams", "manager", "agent", "gateway")
WITH_CARE = {
    ("public", "DELETE", "/v1/users/{name}"): "as in identity, on the same rows",
    ("public", "POST", "/v1/users"): "as in identity; each takes 50 ms of hashing",
    ("public", "PATCH", "/v1/users/{name}"): "as in identity, on the same rows",
    ("public", "POST", "/v1/auth/login"): "as in identity; its limit is one for both",
    ("content", "GET", "/v1/files-events"): "does not end; its own test reads it",
    ("streams", "GET", "/v1/streams-events"): "does not end; its own test reads it",
    ("streams", "GET", "/mjpeg/{stream_id}"): "does not end; its own tests read it",
    ("streams", "GET", "/ping/error"): "answers 500: that is what it is for",
}
"""Not called a second time, with the reason. Nothing here ends what others need: ids are random,
and the operator's own token is no row that a caller can name."""

ELSEWHERE = ("files", "streams", "data server", "recordings", "video")
"""Beginnings of tags whose operations are tried where they are at home."""
Operation = Any


@dataclass(frozen=True)
class Face:
    """One application on its own port."""

    name: str
    app: FastAPI
    url: str


@dataclass(frozen=True)
class House:
    """All services, and the strongest tokens for them."""

    faces: dict[str, Face]
    operator: str
    service: str

    def token(self, tags: list[str]) -> str:
        return self.service if "identity (internal)" in tags else self.operator


@asynccontextmanager
async def open_house(data: Path) -> AsyncGenerator[House]:
    overrides: dict[str, object] = {
        "platform.data": data,
        "manager.isolation": "none",
        "identity.login_attempts": 1_000_000,
    }
    urls = PlatformUrls("http://127.0.0.1:1", f"unix://{data}/link.sock")
    host = ServiceHost(load(environment={}, overrides=overrides), urls, services=SERVICES)
    async with host.run(), anyio.create_task_group() as tasks:
        apps = {name: host.app(name) for name in SERVICES}
        apps |= {"public": host.public_app, "operator": operator_app(host)}
        faces: dict[str, Face] = {}
        for name, app in apps.items():
            sock = open_port("127.0.0.1", 0)
            server = Server(app, [sock])
            tasks.start_soon(server.run)
            await server.wait_started()
            faces[name] = Face(name, app, f"http://127.0.0.1:{sock.getsockname()[1]}")
        identity = cast("IdentityExtension", host.extension("identity"))
        signed = await AsyncClient("local://identity").v1.service_tokens.post(
            service="gateway", boot_secret=identity.context.boot_secret, act=None
        )
        yield House(faces, await identity.operator_token(), signed["token"])
        tasks.cancel_scope.cancel()


def operations(face: Face) -> Iterator[Operation]:
    schema: Any = schemathesis.openapi.from_dict(face.app.openapi())
    for found in schema.get_all_operations():
        operation: Operation = found.ok()
        if (face.name, operation.method.upper(), operation.path) in WITH_CARE:
            continue
        tags = operation.definition.raw.get("tags", [])
        if face.name == "public" and any(tag.startswith(ELSEWHERE) for tag in tags):
            continue  # as in content and streams, by the same handlers
        yield operation


@schemathesis.serializer("application/offset+octet-stream")
def raw_bytes(_context: Any, value: Any) -> Any:
    """What resumable uploads send."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def send(case: Any, url: str, token: str, client: httpx.Client) -> httpx.Response:
    """Call by httpx: Schemathesis's own way looks into urllib3, of which there are two kinds."""
    wanted: Any = requests.Request(**case.as_transport_kwargs(base_url=url)).prepare()
    headers = {**wanted.headers, "Authorization": f"Bearer {token}"}
    return client.request(wanted.method, wanted.url, headers=headers, content=wanted.body)


def try_out(face: Face, operation: Operation, token: str, client: httpx.Client) -> list[str]:
    """What is wrong with *operation*: empty where nothing is."""
    wrong: list[str] = []

    def call(case: Any) -> None:
        try:
            response = send(case, face.url, token, client)
        except httpx.InvalidURL:
            return  # so long that no client sends it
        if response.status_code == 503 and "retry-after" in response.headers:
            return  # a part of the platform that does not run here, told as it should be
        case.validate_response(response, checks=CHECKS)

    for mode in schemathesis.GenerationMode:
        chosen = settings(
            max_examples=EXAMPLES,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        try:
            test: Callable[[], None] = chosen(given(operation.as_strategy(mode))(call))
            test()
        except Unsatisfiable:
            continue  # it takes nothing: nothing can be wrong about it
        except BaseExceptionGroup as group:
            told = "\n".join(str(error) for error in group.exceptions)
            wrong.append(f"{face.name} {operation.label} ({mode}): {told}"[:MAX_TOLD])
    return wrong


@pytest.mark.parametrize("name", [*SERVICES, "public", "operator"])
async def test_every_operation_answers_as_described(name: str, data: Path) -> None:
    async with open_house(data) as house:
        face = house.faces[name]

        def run() -> tuple[int, list[str]]:
            wrong, count = list[str](), 0
            with httpx.Client(trust_env=False, timeout=20) as client:
                for operation in operations(face):
                    count += 1
                    tags = operation.definition.raw.get("tags", [])
                    wrong += try_out(face, operation, house.token(tags), client)
            return count, wrong

        count, wrong = await anyio.to_thread.run_sync(run)
    assert count > 0
    assert not wrong, "\n\n".join(wrong)

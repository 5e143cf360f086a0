"""Stubs of a service that runs: written by the command, read by a type checker and by Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pytest
from fastapi import Body, FastAPI, Header, Request, Response
from pydantic import BaseModel

from downstage.services import AsyncClient
from downstage.services.description import Step
from downstage.services.description.document import NOWHERE, fetch, fetch_document
from downstage.services.description.stubs import write_stub
from downstage.services.registry import create_app
from downstage.services.server import Server, open_port, open_unix
from downstage.services.transports import create
from downstage.services.transports.http import close_pool

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CALLS = Path(__file__).parents[2] / "typing"
TOKEN = "the-token-of-this-test"


class Kind(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class NewSession(BaseModel):
    application: str
    kind: Kind = Kind.FAST


class Session(BaseModel):
    """A person's use of an application."""

    id: str
    next: str | None = None


class Page(BaseModel):
    items: list[Session]


@pytest.fixture
def app() -> FastAPI:
    app = create_app("Typed")

    @app.post("/v1/sessions")
    async def post(new: NewSession) -> Session:
        return Session(id=new.application)

    @app.get("/v1/sessions")
    async def get(
        limit: int = 10, since: datetime | None = None, x_mark: Annotated[str, Header()] = ""
    ) -> Page:
        return Page(items=[Session(id=f"{limit}{x_mark}")])

    @app.get("/v1/sessions/{session_id}")
    async def get_one(session_id: str) -> Session:
        return Session(id=session_id)

    @app.delete("/v1/sessions/{session_id}", status_code=204)
    async def delete(session_id: str) -> None: ...

    @app.post("/v1/sessions/{session_id}/stop-now", status_code=204)
    async def stop_now(session_id: str) -> None: ...

    @app.put("/v1/sessions/{session_id}/files/{number}", status_code=204)
    async def put(
        session_id: str,
        number: int,
        data: Annotated[bytes, Body(media_type="application/octet-stream")],
    ) -> None: ...

    @app.post("/post/ping")
    async def ping() -> str:
        return "pong"

    @app.get("/import")
    async def get_import() -> dict[str, int]:
        return {"a": 1}

    @app.get("/private/openapi.json", include_in_schema=False)
    async def private(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response(status_code=401)
        return Response(json.dumps(app.openapi()), media_type="application/json")

    return app


@asynccontextmanager
async def serving(app: FastAPI, folder: Path) -> AsyncGenerator[tuple[str, str]]:
    """The application on a port and on a unix socket: their addresses."""
    port = open_port("127.0.0.1", 0)
    path = folder / "s"
    server = Server(app, [port, open_unix(path)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield f"http://127.0.0.1:{port.getsockname()[1]}", f"unix://{path}"
        finally:
            await close_pool()
            server.stop()


async def command(
    folder: Path, *arguments: str, token: str | None = None
) -> subprocess.CompletedProcess[str]:
    """``downstage stubs`` with *arguments*, in *folder*."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "downstage", "stubs", *arguments],
            cwd=folder,
            input=token,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    return await anyio.to_thread.run_sync(run)


def checked(folder: Path, *files: str) -> dict[tuple[str, int], str]:
    """What pyright finds, in its strict mode: (file, line) → message."""
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "-p", str(folder), *files],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in found
        if one["severity"] == "error"
    }


async def test_a_type_checker_takes_right_calls_and_refuses_wrong_ones(
    app: FastAPI, tmp_path: Path
) -> None:
    async with serving(app, tmp_path) as (url, _):
        done = await command(tmp_path, url, "-o", "client.pyi")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Wrote client.pyi and client.py" in done.stderr
    for name in ("correct_calls.py", "mistaken_calls.py"):
        (tmp_path / name).write_text((CALLS / name).read_text())
    source = (CALLS / "mistaken_calls.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(source, 1) if "# error" in line}
    found = await anyio.to_thread.run_sync(
        checked, tmp_path, "client.pyi", "correct_calls.py", "mistaken_calls.py"
    )
    assert {k: v for k, v in found.items() if k[0] != "mistaken_calls.py"} == {}
    assert {line for _, line in found} == wrong


async def test_the_module_beside_the_stub_is_the_client_itself(
    app: FastAPI, tmp_path: Path
) -> None:
    (tmp_path / "openapi.json").write_text(json.dumps(app.openapi()))
    done = await command(tmp_path, "openapi.json", "--name", "Farm", "-o", "farm.pyi")
    assert done.returncode == 0, done.stderr
    source = (tmp_path / "farm.py").read_text()
    names: dict[str, object] = {}
    exec(compile(source, "farm.py", "exec", dont_inherit=True), names)
    assert names["AsyncFarm"] is AsyncClient
    assert {"class AsyncFarm(AsyncBase):", "class Farm(Base):"} <= set(
        (tmp_path / "farm.pyi").read_text().splitlines()
    )
    (tmp_path / "farm.py").write_text("mine")
    await command(tmp_path, "openapi.json", "-o", "farm.pyi")
    assert (tmp_path / "farm.py").read_text() == "mine"


async def test_every_way_to_a_description_gives_the_same_stub(app: FastAPI, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(app.openapi()))
    async with serving(app, tmp_path) as (url, unix):
        results = [
            await command(tmp_path, url),
            await command(tmp_path, unix),
            await command(tmp_path, "d.json"),
            await command(
                tmp_path, f"{url}/private/openapi.json", "--token-file", "-", token=f"{TOKEN}\n"
            ),
        ]
        refused = await command(tmp_path, f"{url}/private/openapi.json")
    assert [done.returncode for done in results] == [0] * 4, [done.stderr for done in results]
    assert len({done.stdout for done in results}) == 1
    assert "class AsyncClient(AsyncBase):" in results[0].stdout
    assert refused.returncode == 2
    assert "answered with 401" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "No platform runs"),
        (("none.json",), "cannot be read"),
        (("http://127.0.0.1:9/",), "127.0.0.1"),
        (("gopher://x",), "No transport for gopher"),
        (("http://user:secret@127.0.0.1:9", "--token-env", "NO_SUCH"), "NO_SUCH is not set"),
        (("bad.json",), "no JSON object"),
        (("good.json", "-o", "no/such/folder.pyi"), "cannot be written"),
        (("good.json", "--name", "no name"), "cannot be the name of a class"),
    ],
)
async def test_what_goes_wrong_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    (tmp_path / "bad.json").write_text("[]")
    (tmp_path / "good.json").write_text("{}")
    done = await command(tmp_path, *arguments)
    assert done.returncode in (1, 2)
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""


async def test_the_same_description_near_and_far(app: FastAPI, tmp_path: Path) -> None:
    found = list[tuple[str, list[str]]]()
    async with serving(app, tmp_path) as (url, unix):
        for uri in (url, unix, "local://"):
            transport = create(uri, app)
            description = await fetch(transport, base=uri, cache=tmp_path / "cache")
            assert description is not None
            match = description.find([Step("v1", False), Step("sessions", False)], "get", {})
            assert match is not None
            assert match.operation is not None
            found.append((str(match.operation.signature()), description.children([])))
            again = await fetch(transport, base=uri, cache=tmp_path / "cache")
            assert again is not None
            assert again.children([]) == description.children([])
    assert found == [found[0]] * 3
    signature = (
        "(*, limit: int = 10, since: datetime | str | None = None, x_mark: str = '') -> Page"
    )
    assert found[0][0] == signature
    assert {"post", "v1"} <= set(found[0][1])


async def test_A17_a_redirect_is_not_followed(tmp_path: Path) -> None:
    reached = list[str]()
    evil, lure = create_app("Evil"), FastAPI(openapi_url=None)

    @evil.get("/{name}")
    async def take(name: str, request: Request) -> dict[str, object]:
        reached.append(request.headers.get("authorization", ""))
        return {}

    async with serving(evil, tmp_path) as (url, _):
        (tmp_path / "other").mkdir()

        @lure.get("/openapi.json")
        async def move() -> Response:
            return Response(status_code=307, headers={"location": f"{url}/openapi.json"})

        async with serving(lure, tmp_path / "other") as (lured, _):
            headers = {"authorization": f"Bearer {TOKEN}"}
            transport = create(lured)
            assert await fetch(transport, base=lured, headers=headers, cache=NOWHERE) is None
            with pytest.raises(ValueError, match="307"):
                await fetch_document(transport, headers=headers)
    assert reached == []


async def test_the_guide_s_service_and_its_caller(tmp_path: Path) -> None:
    guide = (CALLS.parents[1] / "docs" / "guides" / "typed-clients.md").read_text()
    service, caller = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, Any] = {"__name__": "bakery"}
    exec(compile(service, "bakery.py", "exec", dont_inherit=True), names)
    (tmp_path / "client.pyi").write_text(write_stub(names["app"].openapi()))
    (tmp_path / "client.py").write_text("from downstage.services import AsyncClient, Client\n")
    wrong = 'await client.v1.orders.post(loaves="two")'
    (tmp_path / "caller.py").write_text(caller)
    (tmp_path / "wrong.py").write_text(caller.replace("await client.v1.orders.post(order)", wrong))
    (tmp_path / "hostile.pyi").write_text(write_stub(hostile()))
    found = await anyio.to_thread.run_sync(
        checked, tmp_path, "client.pyi", "caller.py", "wrong.py", "hostile.pyi"
    )
    assert {name for name, _ in found} == {"wrong.py"}
    called: dict[str, Any] = {"AsyncClient": AsyncClient}
    runnable = caller.replace("from client import AsyncClient, Order", "Order = dict")
    exec(compile(runnable, "caller.py", "exec", dont_inherit=True), called)
    assert await called["buy"](names["app"]) == "2 x order 7"


def test_the_reference_s_examples() -> None:
    page = (CALLS.parents[1] / "docs" / "reference" / "description.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "description.md", "exec", dont_inherit=True), {})


def hostile() -> dict[str, Any]:
    """Names that mean something to Python, to stubs or to clients, everywhere."""
    words = [
        "ws",
        "stop",
        "stop_async",
        "Literal",
        "overload",
        "Client",
        "Options",
        "type",
        "str",
        "get",
        "post",
    ]
    paths = [f"/{one}/{two}" for one in words for two in ("get", "ws", "stream", "{self}/{list}")]
    paths += ["/a_b", "/a-b", "/x/{Any}-{b}", "/mro/__class__", *(f"/{word}" for word in words)]

    def content(name: str) -> dict[str, Any]:
        schema = {"$ref": f"#/components/schemas/{name}"}
        return {"content": {"application/json": {"schema": schema}}}

    operation = {
        "summary": '"""\nimport os',
        "parameters": [{"name": n, "in": "query"} for n in ("options", "__headers__", "str")],
        "responses": {"200": content("Tree"), "201": content("E"), "2XX": content("node")},
    }
    node = {"$ref": "#/components/schemas/Node"}
    tree = {"$ref": "#/components/schemas/Tree"}
    fields = {"next": node, "list": {"type": "array", "items": tree}, "items": {}, "": {}}
    return {
        "info": {"title": '"""\nimport os'},
        "paths": {
            path: {"get": operation, "post": {**operation, "requestBody": content("Node")}}
            for path in paths
        },
        "components": {
            "schemas": {
                "Node": {"properties": fields},
                "node": {"properties": {"__x": {}, "Node": node, "Literal": tree}},
                "Tree": {"anyOf": [{"type": "array", "items": tree}, node]},
                "E": {"enum": ["a", '"""', None, -1, True]},
            }
        },
    }


def test_ten_thousand_paths() -> None:
    paths = {f"/v1/r{i}/{{id}}": {"get": {"summary": "Read it"}} for i in range(10_000)}
    started = time.process_time()
    text = write_stub({"paths": paths})
    classes = re.findall(r"^class (\w+)", text, re.MULTILINE)
    assert len(classes) == len(set(classes)) > 80_000
    assert time.process_time() - started < 30  # 4 s by itself

"""Clients of the constant server: each as its own documentation says, and kept open."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from measuring.constant import BARE, DOCUMENT, NAME, PATH
from measuring.rounds import Subject

__all__ = ["in_process", "over_http", "over_nats"]

Headers = list[tuple[bytes, bytes]]
DIRECT = "ASGI call by hand"
PLAIN: Headers = [(b"host", b"local"), (b"accept", b"*/*")]


async def over_http(stack: AsyncExitStack, address: str, folder: Path) -> list[Subject]:
    """Every client over HTTP; the first is what they are compared with."""
    import aiohttp
    import httpx
    import niquests

    from downstage.services import AsyncClient
    from downstage.services.transports.pool import close_pool

    session = await stack.enter_async_context(aiohttp.ClientSession())
    plain = await stack.enter_async_context(httpx.AsyncClient())
    quest = await stack.enter_async_context(niquests.AsyncSession())
    stack.push_async_callback(close_pool)
    described = AsyncClient(address, description=DOCUMENT)
    undescribed = AsyncClient(address, description=None)
    url = address + PATH

    async def by_aiohttp() -> Any:
        async with session.get(url, params={"limit": "10"}) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def by_aiohttp_msgspec() -> Any:
        async with session.get(url, params={"limit": "10"}) as answer:
            answer.raise_for_status()
            return msgspec.json.decode(await answer.read())

    async def by_httpx() -> Any:
        return (await plain.get(url, params={"limit": 10})).raise_for_status().json()

    async def by_niquests() -> Any:
        return (await quest.get(url, params={"limit": 10})).raise_for_status().json()

    return [
        Subject("raw aiohttp", by_aiohttp),
        Subject("raw aiohttp with msgspec", by_aiohttp_msgspec),
        Subject("AsyncClient, with description", lambda: described.v1.items.get("seven", limit=10)),
        Subject("AsyncClient, without", lambda: undescribed.v1.items.get("seven", limit=10)),
        Subject("raw httpx", by_httpx),
        Subject("raw niquests", by_niquests),
        _generated(address, folder),
        await _by_aiopenapi3(address),
        await _by_aiopenapi3(address, stack),
    ]


def _generated(address: str, folder: Path) -> Subject:
    """openapi-python-client's code for the description, made now."""
    (folder / "openapi.json").write_text(json.dumps(DOCUMENT))
    (folder / "config.yml").write_text("post_hooks: []\npackage_name_override: constant_client\n")
    subprocess.run(
        [
            Path(sys.executable).with_name("openapi-python-client"),
            *("generate", "--path", folder / "openapi.json", "--meta", "none"),
            *("--config", folder / "config.yml", "--output-path", folder / "constant_client"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    sys.path.insert(0, str(folder))
    try:
        package = importlib.import_module("constant_client")
        get_item = importlib.import_module("constant_client.api.items.get_item")
    finally:
        sys.path.remove(str(folder))
    client = package.Client(base_url=address)
    return Subject(
        "openapi-python-client",
        lambda: get_item.asyncio("seven", client=client, limit=10),
        lambda answer: answer.to_dict(),
    )


async def _by_aiopenapi3(address: str, stack: AsyncExitStack | None = None) -> Subject:
    """aiopenapi3: as it is, or, given *stack*, with one HTTP client for all calls."""
    import httpx2
    from aiopenapi3 import OpenAPI

    options: dict[str, Any] = {}
    if stack is not None:

        class Kept(httpx2.AsyncClient):
            async def aclose(self) -> None:
                """Each call would close it."""

        kept = Kept()
        stack.push_async_callback(httpx2.AsyncClient.aclose, kept)

        def factory(*_: Any, **__: Any) -> Any:
            return kept

        factory.__annotations__["return"] = httpx2.AsyncClient
        options["session_factory"] = factory
    document = {**DOCUMENT, "servers": [{"url": address}]}
    api = OpenAPI(address, document, use_operation_tags=False, **options)
    parameters = {"item_id": "seven", "limit": 10}
    return Subject(
        "aiopenapi3, one HTTP client" if stack else "aiopenapi3",
        lambda: api._.get_item(parameters=parameters),
        lambda answer: answer.model_dump(),
    )


async def in_process(app: Any, of: str) -> list[Subject]:
    """Calls of *app* without a network; the first is what they are compared with."""
    import httpx

    from downstage.services import AsyncClient
    from downstage.services.transports import Call, create

    seen: list[Headers] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope.get("headers", []))
        await app(scope, receive, send)

    described = AsyncClient("local://", app, description=DOCUMENT)
    undescribed = AsyncClient("local://", app, description=None)
    await AsyncClient("local://", watched, description=None).v1.items.get("seven", limit=10)
    transport = create("local://", app)
    over_asgi = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://local")
    call = Call("GET", PATH, (("limit", "10"),))
    direct = f"{DIRECT}, {of}"

    async def by_hand(headers: Headers = PLAIN) -> Any:
        parts = list[bytes]()

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                parts.append(message["body"])

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"limit=10",
            "root_path": "",
            "headers": [*headers],
            "client": ("local", 0),
            "server": ("local", None),
            "state": {},
        }
        await app(scope, receive, send)
        return msgspec.json.decode(b"".join(parts))

    async def by_transport() -> Any:
        return msgspec.json.decode((await transport.request(call)).body)

    async def by_httpx() -> Any:
        return (await over_asgi.get(PATH, params={"limit": 10})).json()

    sent = seen[-1]
    return [
        Subject(direct, by_hand, base=direct),
        Subject(f"{DIRECT} with the client's headers, {of}", lambda: by_hand(sent), base=direct),
        Subject(f"local:// transport alone, {of}", by_transport, base=direct),
        Subject(
            f"AsyncClient, with description, {of}",
            lambda: described.v1.items.get("seven", limit=10),
            base=direct,
        ),
        Subject(
            f"AsyncClient, without, {of}",
            lambda: undescribed.v1.items.get("seven", limit=10),
            base=direct,
        ),
        Subject(f"httpx ASGITransport, {of}", by_httpx, base=direct),
    ]


async def over_nats(stack: AsyncExitStack, url: str) -> list[Subject]:
    """Calls over one NATS server; the first is what they are compared with."""
    import nats

    from downstage.bus.nats_pool import close_connections
    from downstage.services import AsyncClient
    from downstage.services.transports import Call, create

    bare = await nats.connect(url)
    stack.push_async_callback(bare.close)
    stack.push_async_callback(close_connections)
    address = f"{url}/{NAME}"
    described = AsyncClient(address, description=DOCUMENT)
    undescribed = AsyncClient(address, description=None)
    transport = create(address)
    call = Call("GET", PATH, (("limit", "10"),))
    question = b'{"method": "GET", "path": "/v1/items/seven", "query": {"limit": 10}}'

    async def by_bare_request() -> Any:
        return msgspec.json.decode((await bare.request(BARE, question, timeout=5)).data)

    async def by_transport() -> Any:
        return msgspec.json.decode((await transport.request(call)).body)

    return [
        Subject("bare NATS request", by_bare_request),
        Subject("nats:// transport alone", by_transport),
        Subject("AsyncClient, with description", lambda: described.v1.items.get("seven", limit=10)),
        Subject("AsyncClient, without", lambda: undescribed.v1.items.get("seven", limit=10)),
    ]

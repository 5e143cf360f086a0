"""The edge of every application: ids, forged headers, bodies in codings, health, descriptions."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
import structlog
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.kernel.limits import MAX_BODY
from downstage.services.forwarded import VETTED, Forwarded, is_forged
from downstage.services.registry import (
    create_app,
    register_encoder,
    register_endpoint,
    register_router,
    set_ready,
)
from downstage.services.routers import ServiceAPIRouter

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Headers = list[tuple[str, str]]


@pytest.fixture
def app() -> FastAPI:
    app = create_app("Test")

    async def seen(request: Request) -> dict[str, Any]:
        return {
            "headers": sorted(request.headers.keys()),
            "id": request.headers.get("x-request-id"),
            "bound": structlog.contextvars.get_contextvars(),
            "client": list(request.client or ()),
            "scheme": request.url.scheme,
        }

    async def size(request: Request) -> int:
        return sum([len(part) async for part in request.stream()])

    async def parsed(body: dict[str, Any]) -> dict[str, Any]:
        return body

    register_endpoint("get", "/seen", seen, app=app)
    register_endpoint("post", "/size", size, app=app)
    register_endpoint("post", "/parsed", parsed, app=app)
    return app


async def ask(
    app: ASGIApp,
    path: str,
    headers: Headers | None = None,
    body: list[bytes] | None = None,
    client: tuple[str, int] | None = ("192.0.2.9", 1),
) -> tuple[int, dict[str, str], Any]:
    sent: list[dict[str, Any]] = []
    waiting = list(body or [b""])

    async def receive() -> dict[str, Any]:
        if not waiting:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
        "method": "GET" if body is None else "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "scheme": "http", "server": ("h", 80),
        "client": client, "headers": [(k.encode(), v.encode()) for k, v in headers or []],
    }  # fmt: skip
    with anyio.fail_after(10):
        await app(scope, receive, send)
    fields = {k.decode().lower(): v.decode() for k, v in sent[0]["headers"]}
    content = b"".join(m.get("body", b"") for m in sent[1:])
    return sent[0]["status"], fields, json.loads(content) if content else None


async def test_handler_answer_and_log_have_one_id(app: FastAPI) -> None:
    for given in ([("x-request-id", "abc-1")], []):
        _, headers, seen = await ask(app, "/seen", given)
        assert headers["x-request-id"] == seen["id"] == seen["bound"]["request_id"]
        assert (seen["id"] == "abc-1") is bool(given)
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("bad", ["a b", "x" * 65, "", "a\nb", "a;b"])
async def test_an_id_out_of_form_is_replaced_for_the_handler_too(app: FastAPI, bad: str) -> None:
    _, headers, seen = await ask(app, "/seen", [("x-request-id", bad), ("x-request-id", "2")])
    assert bad in ("", seen["id"]) or seen["id"] == headers["x-request-id"] != bad
    assert seen["headers"].count("x-request-id") == 1


async def test_the_id_s_header_may_have_another_name() -> None:
    app = create_app("Other", request_id_header="X-Correlation-ID")

    async def seen(request: Request) -> str | None:
        return request.headers.get("x-correlation-id")

    async def crash() -> None:
        raise RuntimeError("a defect")

    register_endpoint("get", "/seen", seen, app=app)
    register_endpoint("get", "/crash", crash, app=app)
    _, headers, found = await ask(app, "/seen", [("x-correlation-id", "c-1")])
    assert (headers["x-correlation-id"], found) == ("c-1", "c-1")
    assert "x-request-id" not in headers


async def test_a_trace_is_bound_to_the_log(app: FastAPI) -> None:
    _, _, seen = await ask(app, "/seen", [("traceparent", TRACE)])
    assert seen["bound"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert seen["bound"]["parent_span_id"] == "b7ad6b7169203331"
    _, _, seen = await ask(app, "/seen", [("traceparent", TRACE + "x\n")])
    assert set(seen["bound"]) == {"request_id"}


FORGED = [
    "x-forwarded-user", "x_forwarded_user", "x-forwarded_user", "x-forwarded-for",
    "x_forwarded_for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-email",
    "x-forwarded-groups", "x-forwarded-access-token", "forwarded", "x-real-ip", "x_real_ip",
    "remote-user", "x-remote-user", "x_remote_user", "x-auth-request-user", "x-webauth-user",
    "true-client-ip", "cf-connecting-ip", "x-original-url", "x-rewrite-url",
    "x-client-cert", "x-ssl-client-verify", "x-authenticated-user", "x-envoy-external-address",
]  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_A15_who_asks_is_not_taken_from_the_one_who_asks(app: FastAPI, name: str) -> None:
    for client in (("192.0.2.9", 1), ("local", 0), None):  # a network, this process, a unix socket
        _, _, seen = await ask(app, "/seen", [(name, "root"), ("x-mine", "kept")], client=client)
        assert name not in seen["headers"]
        assert "x-mine" in seen["headers"]
        assert seen["client"] == list(client or ())
        assert seen["scheme"] == "http"


async def test_A15_a_caller_cannot_say_that_it_was_vetted(app: FastAPI) -> None:
    headers = [(VETTED, "yes"), ("x-forwarded-user", "root")]
    assert "x-forwarded-user" not in (await ask(app, "/seen", headers))[2]["headers"]


@pytest.mark.parametrize(
    ("peer", "hops", "client"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "root, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7:99", "203.0.113.7"),
        ("10.0.0.1", "[2001:db8::1]:99", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "garbage", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("fd00::5", "203.0.113.7", "203.0.113.7"),
        ("11.0.0.1", "203.0.113.7", "11.0.0.1"),
    ],
)
async def test_A15_a_proxy_of_ours_is_believed_and_nobody_else(
    app: FastAPI, peer: str, hops: str, client: str
) -> None:
    served = Forwarded(app, ["10.0.0.0/8", "fd00::/8"])
    headers = [("x-forwarded-for", hops), ("x-forwarded-proto", "https")]
    _, _, seen = await ask(served, "/seen", headers, client=(peer, 4))
    trusted = not peer.startswith("11.")
    assert (seen["client"][0], seen["scheme"]) == (client, "https" if trusted else "http")
    assert ("x-forwarded-for" in seen["headers"]) is trusted


async def test_A15_underscores_pass_no_proxy_and_a_unix_socket_is_no_proxy(app: FastAPI) -> None:
    served = Forwarded(app, ["10.0.0.0/8"])
    headers = [("x_forwarded_user", "root"), ("x-forwarded-user", "ada"), ("x_own_thing", "1")]
    _, _, seen = await ask(served, "/seen", headers, client=("10.0.0.1", 4))
    assert "x-forwarded-user" in seen["headers"]
    assert "x_own_thing" in seen["headers"]
    assert "x_forwarded_user" not in seen["headers"]
    _, _, seen = await ask(served, "/seen", headers, client=None)
    assert "x-forwarded-user" not in seen["headers"]


async def test_A15_sockets_are_stripped_alike() -> None:
    found: list[Scope] = []

    async def end(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)

    from downstage.services.correlation import RequestId

    forged = [(b"x-forwarded-user", b"root"), (b"x_forwarded_for", b"::1"), (b"origin", b"o")]
    scope: Scope = {"type": "websocket", "headers": forged, "client": ("192.0.2.9", 1)}
    await Forwarded(RequestId(end), ["10.0.0.0/8"])(scope, _never, _swallow)
    assert [name for name, _ in found[0]["headers"]] == [b"origin", b"x-request-id"]
    secure: Scope = {
        "type": "websocket", "scheme": "ws", "client": ("10.0.0.1", 1),
        "headers": [(b"x-forwarded-proto", b"https")],
    }  # fmt: skip
    await Forwarded(end, ["10.0.0.0/8"])(secure, _never, _swallow)
    assert secure["scheme"] == "wss"


async def _never() -> Any:
    raise AssertionError


async def _swallow(message: Any) -> None:
    del message


def test_honest_headers_are_left_alone() -> None:
    for name in (b"host", b"origin", b"x-api-key", b"authorization", b"x-request-id", b"cookie"):
        assert not is_forged(name)


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "GZIP": gzip.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 900_000])
async def test_a_compressed_body_is_read_like_any_other(
    app: FastAPI, coding: str, size: int
) -> None:
    packed = CODINGS[coding](bytes(size))
    for cut in (1, 11, max(0, len(packed) - 8), len(packed)):
        parts = [packed[:cut], packed[cut : cut + 7], packed[cut + 7 :]]
        status, _, found = await ask(app, "/size", [("content-encoding", coding)], parts)
        assert (status, found) == (200, size)


async def test_a_handler_is_not_told_of_a_coding_that_is_gone(app: FastAPI) -> None:
    async def named(request: Request) -> list[str]:
        await request.body()
        return sorted(request.headers.keys())

    register_endpoint("post", "/named", named, app=app)
    packed = gzip.compress(b"abc")
    headers = [("content-encoding", "gzip"), ("content-length", str(len(packed)))]
    assert (await ask(app, "/named", headers, [packed]))[2] == ["x-request-id"]


async def test_a_compressed_body_is_parsed(app: FastAPI) -> None:
    headers = [("content-encoding", "gzip"), ("content-type", "application/json")]
    packed = gzip.compress(b'{"a": 1}')
    headers.append(("content-length", str(len(packed))))
    assert await ask(app, "/parsed", headers, [packed])
    assert (await ask(app, "/parsed", headers, [packed]))[2] == {"a": 1}


async def test_T04_a_compression_bomb_is_refused_with_flat_memory(app: FastAPI) -> None:
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(64)) + squeeze.flush()
    assert len(bomb) * 900 < 64 << 20  # about 1 to 1000
    tracemalloc.start()
    for path in ("/size", "/parsed"):
        headers = [("content-encoding", "gzip"), ("content-type", "application/json")]
        status, _, body = await ask(app, path, headers, [bomb])
        assert (status, body["code"]) == (413, "too-large")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * MAX_BODY


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (b"no gzip at all", 400),
        (gzip.compress(b"abc")[:-9], 400),
        (gzip.compress(b"abc") + b"more", 400),
        (gzip.compress(b"abc") * 2, 400),
    ],
    ids=["none", "cut", "more", "twice"],  # what is packed names the second it was packed in
)
async def test_a_broken_compressed_body_is_400(app: FastAPI, packed: bytes, status: int) -> None:
    for parts in ([packed], [packed[:5], packed[5:]]):
        found, _, body = await ask(app, "/size", [("content-encoding", "gzip")], parts)
        assert (found, body["code"]) == (status, "invalid-input")


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "zstd", "gzip;q=1"])
async def test_an_unknown_coding_is_415(app: FastAPI, coding: str) -> None:
    status, headers, body = await ask(app, "/size", [("content-encoding", coding)], [b"x"])
    assert (status, body["code"]) == (415, "unsupported-media")
    assert "gzip" in body["detail"]
    assert headers["x-request-id"]


class Reversed:
    """A coding of somebody's own."""

    def compress(self, data: bytes) -> bytes:
        return data[::-1]

    def decompress(self, data: bytes) -> bytes:
        if data == b"bad":
            raise ValueError("no")
        if data == b"worse":
            raise LookupError("an error of its own, as most such libraries have one")
        return data[::-1] * (1 if len(data) < 100 else 1_000_000)


@pytest.mark.parametrize(
    ("length", "status"), [("9" * 5000, 413), ("0" * 5000 + "1", 200), ("1", 200)]
)
async def test_T04_a_length_of_any_length_is_read(app: FastAPI, length: str, status: int) -> None:
    assert (await ask(app, "/size", [("content-length", length)], [b"x"]))[0] == status


async def test_an_encoder_of_one_s_own(app: FastAPI) -> None:
    register_encoder("Rev", Reversed(), app=app)
    headers = [("content-encoding", "rev"), ("content-type", "application/json")]
    assert (await ask(app, "/parsed", headers, [b'}1 :"', b'a"{']))[2] == {"a": 1}
    for bad in (b"bad", b"worse"):
        assert (await ask(app, "/size", headers, [bad]))[0] == 400
    assert (await ask(app, "/size", headers, [b"x" * 100]))[0] == 413
    assert (await ask(app, "/size", headers, [b"x" * (MAX_BODY + 1)]))[0] == 413


async def test_a_streamed_answer_to_a_compressed_body_ends(app: FastAPI) -> None:
    """Whoever listens for the caller's going must not be told the body's end for ever."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            await anyio.sleep(0)
            yield b"1"

    async def streamed(request: Request) -> StreamingResponse:
        await request.body()
        return StreamingResponse(pieces())

    register_endpoint("post", "/streamed", streamed, app=app)
    headers = [("content-encoding", "gzip")]
    assert (await ask(app, "/streamed", headers, [gzip.compress(b"abc")]))[2] == 111


@pytest.mark.parametrize("limit", [10, None])
async def test_the_limit_is_the_application_s_own(limit: int | None) -> None:
    app = create_app("Test", max_body=limit)

    async def size(request: Request) -> int:
        return len(await request.body())

    register_endpoint("post", "/size", size, app=app)
    assert (await ask(app, "/size", None, [b"x" * 10]))[2] == 10
    large = [b"x" * MAX_BODY, b"x" * MAX_BODY]
    assert (await ask(app, "/size", None, large))[0] == (200 if limit is None else 413)


async def test_health_follows_the_start() -> None:
    app = create_app("Test")
    paths = ("/status", "/health", "/healthcheck", "/ready", "/startup")

    async def statuses() -> list[int]:
        return [(await ask(app, path))[0] for path in paths]

    assert await statuses() == [200] * 5  # without a host there is nothing to wait for
    set_ready(app, False)
    assert await statuses() == [200, 200, 503, 503, 503]
    assert (await ask(app, "/ready"))[1]["retry-after"] == "1"
    set_ready(app, True)
    assert await statuses() == [200] * 5
    assert (await ask(app, "/healthcheck"))[2] == {"ok": True}
    assert (await ask(app, "/status"))[2] == "OK"
    set_ready(app, False)  # it ends: started it has
    assert await statuses() == [200, 200, 503, 503, 200]


async def test_a_service_s_own_health_takes_the_place_of_ours(app: FastAPI) -> None:
    async def own() -> dict[str, str]:
        return {"mine": "yes"}

    router = ServiceAPIRouter()
    router.add_api_route("/healthcheck", own)
    register_router(router, app=app)
    assert (await ask(app, "/healthcheck"))[2] == {"mine": "yes"}
    assert list(app.openapi()["paths"]) == ["/seen", "/size", "/parsed", "/healthcheck"]

"""What others of the same API learn of a caller's work, and what they cannot take from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request

from downstage.auth.principal import Principal
from downstage.kernel.errors import InvalidField
from downstage.manager.dialects.ams import operations as operations_module
from downstage.manager.dialects.ams import service
from downstage.manager.dialects.ams.applications import MAX_JSON, read_json
from downstage.manager.dialects.ams.envelope import AmsRoute
from downstage.manager.dialects.ams.events import EventHub, Kind
from downstage.manager.dialects.ams.operations import Operation, Operations, accepted
from downstage.manager.dialects.ams.store import Certificate

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

KINDS: tuple[Kind, ...] = ("operation", "lifecycle")


def begin_exec(operations: Operations) -> Operation:
    """A program of the tenant ``ours``, whose streams a secret opens."""
    begun = Operation("ours", "u-1", "Executing", {}, "websocket", metadata={"fds": {"0": "key"}})

    async def nothing(_: Operation) -> None:
        return

    return operations.begin(begun, nothing)


def request_of(path: str = "/") -> Request:
    return Request({"type": "http", "path": path, "headers": [], "method": "POST"})


async def test_A07_events_of_another_tenant_are_not_told() -> None:
    events = EventHub()
    operations = Operations(events, lambda *_, **__: None)
    async with events.listen("theirs", KINDS) as stranger, events.listen("ours", KINDS) as owner:
        begin_exec(operations)
        with anyio.fail_after(5):
            assert (await owner.next() or {})["type"] == "operation"
        assert not stranger.waiting
    async with events.listen("theirs", KINDS, since=0) as late:
        assert not late.waiting, "nor afterwards"


async def test_A16_what_opens_the_streams_of_a_program_is_told_to_who_began_it_alone() -> None:
    events = EventHub()
    operations = Operations(events, lambda *_, **__: None)
    async with events.listen("ours", KINDS) as colleague:
        begun = begin_exec(operations)
        with anyio.fail_after(5):
            told = await colleague.next()
    reader = Principal("u-2", "reader", "user", tenant="ours")
    shown = [told, operations.get(begun.id, reader).view(), operations.list(reader)[0].view()]
    assert "key" not in repr(shown)
    assert b"key" in accepted(request_of(), begun).body


async def test_what_is_over_keeps_nobody_from_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations_module, "MOST", 3)
    operations = Operations(EventHub(), lambda *_, **__: None)
    for _ in range(10):
        operations.cancel(begun := begin_exec(operations))
        begun.status, begun.over_at = "cancelled", anyio.current_time()


async def test_T02_a_body_without_end_is_refused_before_it_is_kept() -> None:
    """Archives may come in here, so the server lets gigabytes pass; JSON has its own bound."""
    pieces = 0

    async def receive() -> dict[str, Any]:
        nonlocal pieces
        pieces += 1
        assert pieces <= 2 + MAX_JSON // 65536, "it is still being read"
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    scope: dict[str, Any] = {"type": "http", "path": "/", "headers": [], "method": "DELETE"}
    with pytest.raises(InvalidField, match="at most"):
        await read_json(Request(scope, receive))


class Trust:
    """A store of one certificate, of the tenant ``ours``."""

    def __init__(self) -> None:
        self.item = Certificate("f" * 64, "pem", "client", "u-1", "ours", (), "t-1", "", "")

    @property
    def trusted(self) -> list[Certificate]:
        return [self.item] if self.item.pem else []

    def find(self, fingerprint: str) -> Certificate | None:
        return self.item if fingerprint == self.item.fingerprint else None

    async def trust(self, certificate: Certificate) -> None:
        raise AssertionError("another's certificate is taken over")

    async def distrust(self, fingerprint: str) -> bool:
        raise AssertionError("another's certificate is removed")


@pytest.fixture
async def stranger(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """An operator of the tenant ``theirs``."""

    async def need(_request: Request, _scope: str) -> Principal:
        return Principal("u-9", "stranger", "user", tenant="theirs")

    monkeypatch.setattr(service, "_read_certificate", lambda _text: ("pem", b"der"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(service, "_check_authority", lambda _pem: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(service, "fingerprint_of", lambda _der: "f" * 64)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    parts = SimpleNamespace(callers=SimpleNamespace(need=need), store=Trust())
    app = FastAPI()
    app.router.route_class = AmsRoute
    service._add_trust(app.router, cast("Any", parts))  # pyright: ignore[reportPrivateUsage]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


async def test_A07_certificates_of_another_tenant_stay_as_they_are(
    stranger: httpx.AsyncClient,
) -> None:
    path = f"/certificates/{'f' * 64}"
    removed, absent = await stranger.delete(path), await stranger.delete("/certificates/none")
    assert removed.status_code == absent.status_code == 404
    assert removed.json()["error"] == absent.json()["error"]
    taken = await stranger.post("/certificates", json={"certificate": "x"})
    assert taken.status_code == 409

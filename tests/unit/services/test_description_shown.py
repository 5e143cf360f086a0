"""What a person at a prompt sees: completion and documentation, from the description alone."""

from __future__ import annotations

import inspect
import rlcompleter
from collections.abc import Iterator
from typing import Any

import pytest

from downstage.services import AsyncClient, register
from downstage.services.transports import Call, unregister

pytestmark = pytest.mark.unit

DOCUMENT: dict[str, Any] = {
    "paths": {
        "/v1/sessions": {
            "get": {
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": "integer"}}]
            },
            "post": {"summary": "Start a session"},
        },
        "/v1/sessions/{id}/stop-now": {"post": {}},
        "/v1/session-log": {"get": {}},
    }
}


class Silent:
    """A transport that no request may reach."""

    def __init__(self, uri: str, app: Any = None) -> None:
        del uri, app

    async def request(self, call: Call) -> Any:
        raise AssertionError(f"{call.method} {call.path} was sent")


@pytest.fixture
def client() -> Iterator[AsyncClient]:
    register("silent", Silent)
    yield AsyncClient("silent://x", description=DOCUMENT)
    unregister("silent")


def completed(client: AsyncClient, text: str) -> list[str]:
    completer = rlcompleter.Completer({"client": client})
    found = [completer.complete(text, state) for state in range(50)]
    return [one.removesuffix("(").removesuffix("()") for one in found if one]


def test_tab_completes_what_is_described(client: AsyncClient) -> None:
    assert completed(client, "client.v") == ["client.v1"]
    assert completed(client, "client.v1.se") == ["client.v1.session_log", "client.v1.sessions"]
    assert {"client.v1.sessions.get", "client.v1.sessions.post"} <= set(
        completed(client, "client.v1.sessions.")
    )


def test_help_shows_signature_and_documentation(client: AsyncClient) -> None:
    assert str(inspect.signature(client.v1.sessions.get)) == "(*, limit: int = None) -> Any"
    doc = inspect.getdoc(client.v1.sessions.post)
    assert doc is not None
    assert doc.startswith("Start a session\n\nPOST /v1/sessions")
    assert "stop_now" in dir(client.v1.sessions["x"])

"""A platform with one session, called as the Anbox SDK calls it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from downstage.testing.anbox import AnboxClient
from downstage.testing.platform import PlatformProcess

PAGE = "https://page.example"
CAPACITY = 2
SCREEN = {"width": 1280, "height": 720, "fps": 10}


@pytest.fixture(scope="session")
def platform() -> Iterator[PlatformProcess]:
    """A platform with two places, a page of somebody's that it lists, and a TURN server."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    secret = folder / "secret"
    secret.write_text("a secret of a test, long enough")
    environment = {
        "DOWNSTAGE_PLATFORM__ORIGINS": json.dumps([PAGE]),
        "DOWNSTAGE_MANAGER__CAPACITY": str(CAPACITY),
        "DOWNSTAGE_MEDIA__ICE_SERVERS": json.dumps([{"urls": "stun:127.0.0.1:3478"}]),
        "DOWNSTAGE_TURN__URLS": json.dumps(["turn:127.0.0.1:3478", "turns:127.0.0.1:5349"]),
        "DOWNSTAGE_TURN__SECRET_FILE": str(secret),
        # Nobody ever comes for its picture: the session stays however long a module takes.
        "DOWNSTAGE_GATEWAY__CONNECT_LEASE": "PT15M",
    }
    try:
        with PlatformProcess(folder / "data", environment=environment) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def session_id(platform: PlatformProcess) -> Iterator[str]:
    """A joinable session that shows its picture, and draws for nobody once its module is over."""
    body = {"app": "test-card", "joinable": True, "extra_data": {"level": 3}}
    made = platform.call("POST", "/1.0/sessions", {**body, "screen": SCREEN})
    assert made.status == 201, made.body
    found = str(made.body["metadata"]["id"])
    platform.wait_state(found, "ready")
    yield found
    platform.call("DELETE", f"/v1/sessions/{found}")
    platform.wait_state(found, "ended")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as found:
        yield found


@pytest.fixture
def somebody(
    platform: PlatformProcess, http: aiohttp.ClientSession
) -> Callable[[str | None], AnboxClient]:
    """Makes clients by their token."""
    return lambda token: AnboxClient(http, platform.url, token)


@pytest.fixture
def client(platform: PlatformProcess, somebody: Callable[[str | None], AnboxClient]) -> AnboxClient:
    """The operator as a client."""
    return somebody(str(platform.facts["token"]))

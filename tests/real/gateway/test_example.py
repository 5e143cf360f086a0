"""The example on the streaming API, near and far from a real gateway, with a token and without."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage.services import (
    AsyncClient,
    BaseServiceError,
    ServiceAPIRouter,
    ServiceNotFoundError,
    deregister_router,
    register_router,
)

pytestmark = [pytest.mark.real, pytest.mark.anyio]

EXAMPLES = Path(__file__).parents[3] / "examples"
FOLDER = EXAMPLES / "omniverse-streaming" / "exts" / "omni.services.streaming.application.example"


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What loads and serves an example's extension."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("serving")
    del sys.modules["serving"]


@pytest.mark.parametrize("far", ["local", "http"])
@pytest.mark.parametrize("near", ["local", "http"])
async def test_the_samples_run(start: Any, serving: Any, near: str, far: str) -> None:
    """*near* is how the example is called, *far* how it calls the platform.

    A demo is open to callers on its own address alone: within the process a token is shown.
    """
    async with start(platform__demo=True) as house:
        settings = {"api": house.url, "username": "demo"}
        if far == "local":
            token = await house.token("anna")
            settings = {"api": "local://gateway", "username": "anna", "token": token}
        async with serving.extension(FOLDER, settings) as address:
            api = AsyncClient("local://" if near == "local" else address)
            assert await api.healthcheck_of_streams.get() == {"ok": True}
            created = await api.create_stream.post()
            assert created["redirect"].startswith(f"{house.url}/webclient/index.html?")
            assert set(created) == {"redirect", "session_id", "session_routes"}
            for listing in (api.list_streams, api.list_my_streams):
                (item,) = (await listing.get())["results"]
                assert item["session_record"]["session_id"] == created["session_id"]
                assert item["session_record"]["username"] == settings["username"]
            assert await getattr(api, created["session_id"]).delete() == "OK"
            with pytest.raises(BaseServiceError) as gone:
                await api["no such session"].delete()
            assert gone.value.status >= 400
        with pytest.raises(ServiceNotFoundError):
            await AsyncClient("local://").list_streams.get()


async def test_with_a_token_outside_a_demo(house: Any, serving: Any) -> None:
    settings = {
        "api": house.url,
        "image": "registry.example/app:1",
        "username": "anna",
        "token": await house.token(),
    }
    async with serving.extension(FOLDER, settings):
        api = AsyncClient("local://")
        created = await api.create_stream.post()
        assert await getattr(api, created["session_id"]).delete() == "OK"


async def test_the_printed_route_at_the_root_hides_nobody(serving: Any) -> None:
    """`DELETE /{session_id}` is there first; a later literal route is reached all the same."""
    later = ServiceAPIRouter()

    @later.delete("/everything")
    async def everything() -> str:
        return "literal"

    async with serving.extension(FOLDER):
        register_router(later)
        try:
            api = AsyncClient("local://")
            assert await api.everything.delete() == "literal"
            assert await api.status.get() == "OK"
        finally:
            deregister_router(later)

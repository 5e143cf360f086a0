"""The example on the streaming API runs as its page says, against a real platform."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage.services import AsyncClient, BaseServiceError, get_app

pytestmark = [pytest.mark.real, pytest.mark.anyio]

FOLDER = Path(__file__).parents[3] / "examples" / "omniverse-streaming"


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example's extension, started; stopped and forgotten afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("streaming_example")
    found = module.StreamingApplicationExampleExtension()
    found.on_startup("streaming_example-1.0.0")
    yield found
    found.on_shutdown()
    for name in [name for name in sys.modules if name.startswith("streaming_example")]:
        del sys.modules[name]


async def test_the_four_samples_run(
    start: Any, extension: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(platform__demo=True) as house:
        monkeypatch.setenv("STREAMING_API", house.url)
        monkeypatch.setenv("STREAMING_IMAGE", "test-card")
        api = AsyncClient("local://", app=get_app())
        assert await api.streaming.healthcheck.get() == {"ok": True}
        created = await api.streaming.create_stream.post()
        assert created["redirect"].startswith(f"{house.url}/webclient/index.html?")
        for listing in (api.streaming.list_streams, api.streaming.list_my_streams):
            (item,) = (await listing.get())["results"]
            assert item["session_record"]["session_id"] == created["session_id"]
            assert item["session_record"]["username"] == "demo"
        assert await getattr(api.streaming, created["session_id"]).delete() == "OK"
    extension.on_shutdown()
    with pytest.raises(BaseServiceError) as gone:
        await api.streaming.list_streams.get()
    assert gone.value.status == 404
    extension.on_startup("again")


async def test_with_a_token_outside_a_demo(
    house: Any, extension: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMING_API", house.url)
    monkeypatch.setenv("STREAMING_IMAGE", "registry.example/app:1")
    monkeypatch.setenv("STREAMING_USER", "anna")
    monkeypatch.setenv("STREAMING_TOKEN", await house.token())
    api = AsyncClient("local://", app=get_app())
    created = await api.streaming.create_stream.post()
    assert await getattr(api.streaming, created["session_id"]).delete() == "OK"

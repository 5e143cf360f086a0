"""A call with headers of its own: the queue tells its settings to who has the key."""

from __future__ import annotations

from typing import Any

import pytest

from downstage.services import AsyncClient, BaseServiceError, registry

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.usefixtures("alias")]

FOLDER = "farm-queue"
KEY = "a key of the test"
SETTINGS = {"task_types": ["render"], "retention_days": 30}


@pytest.mark.parametrize("scheme", ["local", "http"])
async def test_the_sample_runs(scheme: str, example: Any) -> None:
    serving, caller = example(FOLDER, "serving"), example(FOLDER, "caller")
    farm = example(FOLDER, "farm").create_farm(KEY)
    registry.put_app("farm", farm)
    try:
        async with serving.served(farm) as address:
            uri = "local://farm" if scheme == "local" else address
            assert await caller.get_farm_queue_settings(uri, KEY) == SETTINGS
            assert await caller.get_farm_queue_settings(uri, "another") == {}
            with pytest.raises(BaseServiceError) as refused:
                await AsyncClient(uri).queue.settings.get()
            assert refused.value.status == 401
    finally:
        registry.remove_app("farm")


async def test_nobody_there_is_no_settings(example: Any) -> None:
    caller = example(FOLDER, "caller")
    assert await caller.get_farm_queue_settings("local://no-farm", KEY) == {}

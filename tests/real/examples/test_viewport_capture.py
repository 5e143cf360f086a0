"""The capture service and its callers: the same answers in the process and over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from downstage.services import AsyncClient, BaseServiceError, ServiceNotFoundError

pytestmark = [pytest.mark.real, pytest.mark.anyio]

FOLDER = "viewport-capture"
NAME = "omni.services.example.viewport.capture"
UNDRAWN = {
    "success": False,
    "captured_image_path": None,
    "error_message": "This service draws nothing yet.",
}


@pytest.mark.parametrize("scheme", ["local", "http"])
async def test_the_samples_run(scheme: str, example: Any) -> None:
    serving = example(FOLDER, "serving")
    folder = example(FOLDER, "run").HERE / "exts" / NAME
    async with serving.extension(folder) as address:
        caller = example(FOLDER, "caller")
        uri = "local://" if scheme == "local" else address
        assert await caller.capture(uri) == UNDRAWN
        assert await caller.capture_with_the_model(uri) == UNDRAWN
        assert await caller.capture_application(uri) == {
            "success": False,
            "image_format": "jpeg",
            "error_message": "This service has no window.",
        }
        client = AsyncClient(uri)
        with pytest.raises(BaseServiceError) as refused:
            await client.capture.post(stage="x")
        assert refused.value.status == 422
    with pytest.raises(ServiceNotFoundError):
        await AsyncClient("local://").capture_application_screenshot.get()


async def test_it_says_in_the_log_what_it_was_asked(example: Any) -> None:
    serving = example(FOLDER, "serving")
    folder = example(FOLDER, "run").HERE / "exts" / NAME
    async with serving.extension(folder):
        with structlog.testing.capture_logs() as lines:
            await example(FOLDER, "caller").capture()
    (line,) = [line for line in lines if line["event"] == "extension.logged"]
    assert line["source"] == f"{NAME}.services.capture"
    assert "omniverse://path/to/usd/stage.usd" in line["text"]

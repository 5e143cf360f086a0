"""The calls: by `local://` in the service's own process, and by `http://` from anywhere."""

from typing import Any

from omni.services.client import AsyncClient
from omni.services.core import main
from omni.services.example.viewport.capture.services.capture import ViewportCaptureRequestModel

STAGE = "omniverse://path/to/usd/stage.usd"


async def capture(uri: str = "local://") -> dict[str, Any]:
    """Ask for a picture of a stage."""
    client = AsyncClient(uri=uri, app=main.get_app())
    request = ViewportCaptureRequestModel(usd_stage_path=STAGE)
    return await client.capture.post(**request.model_dump())


async def capture_with_the_model(uri: str = "local://") -> dict[str, Any]:
    """The same: our client takes the model itself."""
    client = AsyncClient(uri=uri, app=main.get_app())
    return await client.capture.post(ViewportCaptureRequestModel(usd_stage_path=STAGE))


async def capture_application(uri: str = "local://") -> dict[str, Any]:
    """Dashes of a path are underscores in Python."""
    client = AsyncClient(uri=uri, app=main.get_app())
    return await client.capture_application_screenshot.get(image_format="jpeg")

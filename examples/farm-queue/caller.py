"""A call with headers of its own."""

from typing import Any

import carb
from omni.services.client import AsyncClient
from omni.services.transport.client.base.exceptions import BaseServiceError


async def get_farm_queue_settings(farm_queue_server_url: str, secret: str) -> dict[str, Any]:
    """The settings of a farm's queue; empty where it does not tell them."""
    try:
        client = AsyncClient(uri=farm_queue_server_url)
        settings_response = await client.queue.settings.get(__headers__=await _get_headers(secret))
        return settings_response["settings"]
    except BaseServiceError as error:
        carb.log_warn(f"The queue did not tell its settings: {error}")
        return {}


async def _get_headers(secret: str) -> dict[str, str]:
    return {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Authorization": f"Bearer {secret}",
    }

"""The routes: each makes one call to the streaming API."""

from typing import Any

import carb.settings
from omni.services.client import AsyncClient
from omni.services.core import routers

from .models.streaming import (
    CreateStreamRequest,
    ErrorMessage,
    OrderBy,
    SortBy,
    StreamingMode,
    StreamRequestSpec,
)

router = routers.ServiceAPIRouter()


def setting(key: str) -> str:
    """One of this extension's settings."""
    path = f"/exts/omni.services.streaming.application.example/{key}"
    return carb.settings.get_settings().get_as_string(path)


def connect() -> AsyncClient:
    """A client of the streaming API; outside a demo it needs a token."""
    return AsyncClient(uri=setting("api"), token=setting("token") or None)


@router.get(
    path="/healthcheck-of-streams",
    summary="Whether sessions can be started.",
    description="Asks the streaming API before anything is started there.",
)
async def healthcheck() -> dict[str, Any]:
    client = connect()
    return await client.healthcheck.get()


@router.get(
    path="/list-streams",
    summary="The sessions that run.",
    description="All sessions that the caller may see.",
)
async def list_streams() -> dict[str, Any]:
    client = connect()
    return await client.session_service.session.get()


@router.get(
    path="/list-my-streams",
    summary="The ten newest sessions of one user.",
    description="The same call with every parameter of the list.",
)
async def list_my_streams() -> dict[str, Any]:
    client = connect()
    return await client.session_service.session.get(
        limit=10,
        offset=0,
        username=setting("username"),
        sortBy=SortBy.created_time.value,
        orderBy=OrderBy.desc.value,
    )


@router.post(
    path="/create-stream",
    summary="Start a session.",
    description="The answer's `redirect` opens it in a browser, once.",
)
async def create_stream() -> dict[str, Any]:
    client = connect()
    create_stream_options = CreateStreamRequest(
        url=setting("stage"),
        access_token=setting("stage_token"),
        username=setting("username"),
        spec=StreamRequestSpec(
            kit_args=[],
            kit_env={},
            streaming_mode=StreamingMode.secure,
            image=setting("image"),
            user_ports=[],
            user_labels={},
            node_labels={},
        ),
    )
    return await client.session_service.session.post(
        **create_stream_options.model_dump(mode="json")
    )


@router.delete(
    path="/{session_id}",
    summary="End a session.",
    description="End the session with this id.",
    responses={
        404: {"model": ErrorMessage},
    },
)
async def delete_stream(session_id: str) -> str:
    client = connect()
    return await getattr(client.session_service.session, session_id).delete()

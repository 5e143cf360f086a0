"""The sample's routes: each makes one call to the streaming API."""

from __future__ import annotations

import os
from typing import Any

from downstage.services import AsyncClient, ServiceAPIRouter
from streaming_example.models.streaming import (
    CreateStreamRequest,
    ErrorMessage,
    OrderBy,
    SortBy,
    StreamingMode,
    StreamRequestSpec,
)

__all__ = ["router"]

router = ServiceAPIRouter()


def connect() -> AsyncClient:
    """A client of the platform that the environment names."""
    return AsyncClient(
        uri=os.environ.get("STREAMING_API", "http://127.0.0.1:8600"),
        token=os.environ.get("STREAMING_TOKEN") or None,
    )


def user() -> str:
    """On whose behalf this service calls."""
    return os.environ.get("STREAMING_USER", "demo")


@router.get("/healthcheck", summary="Whether sessions can be started.")
async def healthcheck() -> dict[str, Any]:
    """Ask before starting: a platform without room or without a manager says so."""
    return await connect().healthcheck.get()


@router.get("/list-streams", summary="The sessions that run.")
async def list_streams() -> dict[str, Any]:
    """All sessions that the caller may see."""
    return await connect().session_service.session.get()


@router.get("/list-my-streams", summary="The ten newest sessions of one user.")
async def list_my_streams() -> dict[str, Any]:
    """The same with every parameter of the list."""
    return await connect().session_service.session.get(
        limit=10,
        offset=0,
        username=user(),
        sortBy=SortBy.created_time.value,
        orderBy=OrderBy.desc.value,
    )


@router.post("/create-stream", summary="Start a session.")
async def create_stream() -> dict[str, Any]:
    """Start an application; the answer's ``redirect`` opens it in a browser."""
    request = CreateStreamRequest(
        url=os.environ.get("STREAMING_STAGE", "omniverse://localhost"),
        access_token=os.environ.get("STAGE_TOKEN", "none"),
        username=user(),
        spec=StreamRequestSpec(
            image=os.environ.get("STREAMING_IMAGE", "usd-viewer"),
            streaming_mode=StreamingMode.secure,
        ),
    )
    return await connect().session_service.session.post(request)


@router.delete("/{session_id}", summary="End a session.", responses={404: {"model": ErrorMessage}})
async def delete_stream(session_id: str) -> str:
    """End the session with this id; the answer is the text ``OK``."""
    return await getattr(connect().session_service.session, session_id).delete()

"""A small farm queue, so that there is something to call."""

import secrets
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException


def create_farm(secret: str) -> FastAPI:
    """A queue that tells its settings to those who know *secret*."""
    app = FastAPI(title="Farm queue")

    @app.get("/queue/settings")
    async def settings(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        if not secrets.compare_digest(authorization.encode(), f"Bearer {secret}".encode()):
            raise HTTPException(401, "This needs the queue's key.", {"WWW-Authenticate": "Bearer"})
        return {"settings": {"task_types": ["render"], "retention_days": 30}}

    return app

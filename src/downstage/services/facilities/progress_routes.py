"""Progress over HTTP: the list, one task, its cancelling, its changes as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from downstage.auth.principal import Principal
from downstage.services.facilities.principal import principal_or_none
from downstage.services.facilities.progress import State, Task
from downstage.services.openapi import refusals, secured
from downstage.services.routers import ServiceAPIRouter

if TYPE_CHECKING:
    from downstage.services.facilities.progress import ProgressFacility

__all__ = ["TaskPage", "TaskView", "progress_router"]

HEARTBEAT_S = 15
Viewer = Annotated[Principal | None, Depends(principal_or_none)]


class TaskView(BaseModel):
    """One task, as it is told."""

    id: str
    name: str
    state: State
    done: float
    total: float | None
    message: str
    error: str | None
    started_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, task: Task) -> TaskView:
        """What *task* is now."""
        return cls.model_validate({name: getattr(task, name) for name in cls.model_fields})


class TaskPage(BaseModel):
    """What runs and what has ended lately."""

    items: list[TaskView]


def progress_router(progress: ProgressFacility) -> ServiceAPIRouter:
    """The routes of *progress*."""
    router = ServiceAPIRouter(prefix="/progress", tags=["progress"])
    # Who names nobody is let in; a token that does not count is not.
    words: dict[str, Any] = {"openapi_extra": secured(optional=True)}
    anyone: dict[str, Any] = {"responses": refusals(401, 403, 503), **words}
    one: dict[str, Any] = {"responses": refusals(401, 403, 404, 503), **words}

    @router.get("", **anyone)
    async def list_tasks(viewer: Viewer) -> TaskPage:  # pyright: ignore[reportUnusedFunction]
        """The tasks that the caller may see, in order of start."""
        return TaskPage(items=[TaskView.of(task) for task in progress.tasks(viewer)])

    @router.get("/{task_id}", **one)
    async def get_task(task_id: str, viewer: Viewer) -> TaskView:  # pyright: ignore[reportUnusedFunction]
        """One task."""
        return TaskView.of(progress.get(task_id, viewer))

    @router.delete("/{task_id}", status_code=202, **one)
    async def cancel_task(task_id: str, viewer: Viewer) -> TaskView:  # pyright: ignore[reportUnusedFunction]
        """Ask for its end; repeating it changes nothing."""
        task = progress.get(task_id, viewer)
        task.cancel()
        return TaskView.of(task)

    @router.get("/{task_id}/events", **one, response_class=EventSourceResponse)
    async def watch_task(task_id: str, viewer: Viewer) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Server-sent events: the task now and after each change, until it has ended."""
        task = progress.get(task_id, viewer)
        return EventSourceResponse(
            _events(task), ping=HEARTBEAT_S, headers={"cache-control": "no-store"}
        )

    return router


async def _events(task: Task) -> AsyncGenerator[ServerSentEvent]:
    async for now in task.changes():
        yield ServerSentEvent(data=TaskView.of(now).model_dump_json(), event="progress")

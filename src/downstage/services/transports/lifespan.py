"""Start-up and shut-down of applications that are called in this process: once, not per call."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import suppress
from contextvars import Context
from typing import Any

from starlette.types import ASGIApp

from downstage.kernel.logging import get_logger
from downstage.services.errors import ServiceUnavailableError

__all__ = ["Lifespan"]

START_S = 30.0
STOP_S = 5.0
log = get_logger(__name__)


class Lifespan:
    """One application's life in one loop; an application that knows no lifespan just lives."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self.app = app
        self.name = name
        self.state: dict[str, Any] = {}
        self.is_up = False
        self._up: asyncio.Future[None] = loop.create_future()
        self._stopping: asyncio.Future[None] = loop.create_future()
        self._asked = False
        # Not the context of whoever calls first: it would live on in everything that starts here.
        self._task = asyncio.Task(self._run(), loop=loop, name="lifespan", context=Context())

    async def wait_up(self) -> None:
        """Return once the application has started.

        Raises:
            ServiceUnavailableError: it did not.
        """
        await asyncio.wait({self._up}, timeout=START_S)
        if not self._up.done():
            self._task.cancel()
            raise ServiceUnavailableError("the application did not start in time")
        self._up.result()

    async def stop(self) -> None:
        """Let the application shut down; it is cancelled when it takes too long."""
        self.is_up = False
        if not self._stopping.done():
            self._stopping.set_result(None)
        done, _ = await asyncio.wait({self._task}, timeout=STOP_S)
        if not done:
            self._task.cancel()
            log.warning("local_app.stop_timed_out", app=self.name)

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self.app(scope, self._receive, self._send)
        except Exception as error:
            if self._up.done():
                log.exception("local_app.lifespan_failed", app=self.name)
            else:  # before it has said anything: it knows no lifespan
                log.debug("local_app.without_lifespan", app=self.name, error=type(error).__name__)
        except asyncio.CancelledError:
            self._began("the application did not start in time")  # to all who wait for it
            raise
        finally:
            self._began(None)

    def _began(self, failure: str | None) -> None:
        if self._up.done():
            return
        if failure is None:
            self.is_up = True
            self._up.set_result(None)
        else:
            self._up.set_exception(ServiceUnavailableError(failure))
            self._up.exception()  # told to whoever waits; nobody need

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        with suppress(asyncio.CancelledError):
            # A loop that ends cancels its tasks: that is the moment to shut down, in order.
            await asyncio.wait({self._stopping})
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete":
            self._began(None)
        elif kind == "lifespan.startup.failed":
            # Its message is a traceback with paths and values: for the log, not for callers.
            log.error("local_app.start_failed", app=self.name, reason=message.get("message", ""))
            self._began("the application did not start; the log has the reason")
        elif kind == "lifespan.shutdown.failed":
            log.error("local_app.stop_failed", app=self.name, reason=message.get("message", ""))

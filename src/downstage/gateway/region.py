"""The region that this gateway serves: its agent's paths as methods, its errors as ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from downstage.contracts.manager import (
    ApplicationPage,
    InstanceCreate,
    InstanceView,
)
from downstage.kernel.errors import (
    Forbidden,
    InvalidField,
    NoCapacity,
    NotFound,
    PlatformError,
    Unavailable,
)
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError, ServiceNotFoundError

__all__ = ["HEALTH_S", "AgentClients", "Region", "is_refusal"]

HEALTH_S = 2.0
"""How long a health check waits for the manager behind the agent."""

AgentClients = Callable[[str | None], AsyncClient]
"""Subject of the person to act for, or None → client of the agent."""


class Region:
    """Calls one agent.

    Args:
        name: of the region, as callers give it.
        clients: makes clients of its agent: with our own token, or in a person's name (``act``).
    """

    def __init__(self, name: str, clients: AgentClients) -> None:
        self.name = name
        self._clients = clients
        self._client = clients(None)

    async def applications(self) -> ApplicationPage:
        """What can be started here."""
        return ApplicationPage.model_validate(await _ask(self._client.v1.applications.get()))

    async def create(self, wanted: InstanceCreate, *, act: str | None = None) -> InstanceView:
        """Start an instance in the name of *act*, who asks; it is ``starting`` when this returns.

        Raises:
            NotFound, InvalidField, NoCapacity: refused, nothing was started (`is_refusal`).
            Forbidden: that person may start none; nothing was started.
            Unavailable: no clear answer; it may have been started.
        """
        client = self._clients(act)
        answer = await _ask(client.v1.instances.post(wanted))
        return InstanceView.model_validate(answer)

    async def instance(self, instance_id: str) -> InstanceView | None:
        """The instance as it stands; None where the manager knows none of that id."""
        try:
            answer = await self._client.v1.instances[instance_id].get()
        except ServiceNotFoundError:
            return None
        except BaseServiceError as error:
            raise _translate(error) from error
        return InstanceView.model_validate(answer)

    async def stop(self, instance_id: str) -> InstanceView | None:
        """Ask for its end; safe to repeat."""
        try:
            answer = await self._client.v1.instances[instance_id].delete()
        except ServiceNotFoundError:
            return None
        except BaseServiceError as error:
            raise _translate(error) from error
        return InstanceView.model_validate(answer)

    async def check_health(self) -> None:
        """Return if the manager answers in time.

        Raises:
            Unavailable: it does not; the detail says why.
        """
        try:
            with anyio.fail_after(HEALTH_S):
                await _ask(self._client.v1.health.get())
        except TimeoutError as error:
            raise Unavailable(f"The manager did not answer within {HEALTH_S:g} s.") from error


def is_refusal(error: PlatformError) -> bool:
    """Whether *error* says for certain that nothing was started."""
    return isinstance(error, NoCapacity) or 400 <= error.status < 500  # noqa: PLR2004 - HTTP


async def _ask(call: Any) -> Any:
    try:
        return await call
    except BaseServiceError as error:
        raise _translate(error) from error


def _translate(error: BaseServiceError) -> PlatformError:
    match error.status:
        case 403:
            return Forbidden(error.detail)
        case 404:
            return NotFound(error.detail)
        case 422:
            field = (error.problem or {}).get("field")
            return InvalidField(str(field or "body"), error.detail)
        case 503 if error.code == NoCapacity.code:
            return NoCapacity(error.detail, retry_after_s=error.retry_after or 5)
        case _:
            return Unavailable(
                f"The manager of this region does not answer: {error.detail}",
                retry_after_s=error.retry_after or 2,
            )

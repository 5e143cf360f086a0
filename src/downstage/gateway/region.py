"""The way to one region: its agent's paths as methods, its errors as ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import anyio

from downstage.contracts.agent import Announcement
from downstage.contracts.manager import (
    ApplicationPage,
    InstanceCreate,
    InstanceState,
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
from downstage.kernel.logging import get_logger
from downstage.services.client import AsyncClient
from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceTimeoutError,
)

__all__ = ["HEALTH_S", "AgentClients", "Counted", "Region", "ask", "is_refusal"]

HEALTH_S = 2.0
"""How long a health check waits for the manager behind the agent."""
LAUNCH_S = 12.0
"""How long a launch without a clear answer is asked for again."""
LAUNCH_TRY_S = 6.0
"""How long one of these waits; a peer on the bus counts as silent after 5 s."""
FIRST_PAUSE_S = 0.2
PAGE = 200
"""Instances that are asked for together."""
log = get_logger(__name__)

AgentClients = Callable[[str | None], AsyncClient]
"""Subject of the person to act for, or None → client of the agent."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An instance in a census, as far as its session says the same."""

    id: str
    session_id: str | None
    state: InstanceState
    stage: str | None = None
    application: str | None = None
    isolated: bool = True
    ports: tuple[dict[str, Any], ...] = ()


class Region:
    """Calls one agent.

    Args:
        name: of the region, as callers give it.
        clients: makes clients of its agent: with our own token, or in a person's name (``act``).
    """

    def __init__(self, name: str, clients: AgentClients) -> None:
        self.name = name
        self.clients = self._clients = clients
        self._client = clients(None)

    async def applications(self) -> ApplicationPage:
        """What can be started here."""
        return ApplicationPage.model_validate(await self._ask(self._client.v1.applications.get()))

    async def create(self, wanted: InstanceCreate, *, act: str | None = None) -> InstanceView:
        """Start an instance in the name of *act*, who asks; it is ``starting`` when this returns.

        An answer may be lost on its way: the same instance is asked for again, by the same ids,
        and there is never a second one.

        Raises:
            NotFound, InvalidField, NoCapacity: refused, nothing was started (`is_refusal`).
            Forbidden: that person may start none; nothing was started.
            Unavailable: no clear answer; it may have been started.
        """
        client = self._clients(act)
        until = anyio.current_time() + LAUNCH_S
        pause = FIRST_PAUSE_S
        while True:
            try:
                answer = await self._ask(client.v1.instances.post(wanted, __timeout__=LAUNCH_TRY_S))
            except PlatformError as error:
                if not isinstance(error, _Silent) or anyio.current_time() + pause > until:
                    raise
                log.info("region.launch_repeated", region=self.name, why=error.detail)
            else:
                return InstanceView.model_validate(answer)
            await anyio.sleep(pause)
            pause *= 2

    async def instance(self, instance_id: str) -> InstanceView | None:
        """The instance as it stands; None where the manager knows none of that id."""
        return await self._find(self._client.v1.instances[instance_id].get())

    async def stop(self, instance_id: str) -> InstanceView | None:
        """Ask for its end; safe to repeat."""
        return await self._find(self._client.v1.instances[instance_id].delete())

    async def census(self) -> list[Counted]:
        """All that have not ended, read page by page: there may be thousands.

        One that is there all the time is among them; what comes or goes meanwhile may be.
        """
        found, after = list[Counted](), None
        while True:
            call = self._client.v1.instances.get(living=True, limit=PAGE, after=after)
            page = await self._ask(call)
            try:
                found += [_counted(item) for item in page["items"]]
                after = page.get("next")
            except (KeyError, TypeError) as error:
                raise Unavailable(f"The list of the region {self.name} is out of form.") from error
            if after is None:
                return found

    async def check_health(self) -> None:
        """Return if the manager answers in time.

        Raises:
            Unavailable: it does not; the detail says why.
        """
        await self._health()

    async def look(self, agent: str, interval_s: float) -> Announcement:
        """What the region would tell of itself, had its agent announced it.

        Args:
            agent: name to give it.
            interval_s: how often it is asked.

        Raises:
            Unavailable: it does not answer in time.
        """
        health = await self._health()
        capacity = int(health.get("capacity", 0))
        free = int(health.get("free", capacity - int(health.get("running", 0))))
        told = {key: health.get(key) for key in ("latitude", "longitude", "probe")}
        return Announcement.model_validate(
            {
                "agent": agent,
                "region": self.name,
                "capacity": capacity,
                "free": max(free, 0),
                "interval_s": interval_s,
                "at": datetime.now(UTC),
                **told,
            }
        )

    async def _health(self) -> dict[str, Any]:
        try:
            with anyio.fail_after(HEALTH_S):
                return dict(await self._ask(self._client.v1.health.get()))
        except TimeoutError as error:
            raise Unavailable(
                f"The agent of the region {self.name} did not answer within {HEALTH_S:g} s."
            ) from error

    async def _find(self, call: Any) -> InstanceView | None:
        try:
            return InstanceView.model_validate(await self._ask(call))
        except NotFound:
            return None

    async def _ask(self, call: Any) -> Any:
        return await ask(call, self.name)


def _counted(item: dict[str, Any]) -> Counted:
    return Counted(
        item["id"],
        item["session_id"],
        item["state"],
        item.get("stage"),
        item.get("application"),
        item.get("isolated", True),
        tuple(item.get("ports", ())),
    )


async def ask(call: Any, region: str) -> Any:
    """What *call* of an agent's client answers; its errors as ours."""
    try:
        return await call
    except BaseServiceError as error:
        raise _translate(error, region) from error


class _Silent(Unavailable):
    """Somebody on the way did not answer: the same call may be made again."""


def is_refusal(error: PlatformError) -> bool:
    """Whether *error* says for certain that nothing was started."""
    return isinstance(error, NoCapacity) or 400 <= error.status < 500  # noqa: PLR2004 - HTTP


def _translate(error: BaseServiceError, region: str) -> PlatformError:
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
        case None | 503 | 504:
            return _Silent(_silence(error, region), retry_after_s=error.retry_after or 2)
        case status:
            return Unavailable(
                f"The region {region} failed with {status}: {error.detail}",
                retry_after_s=error.retry_after or 2,
            )


def _silence(error: BaseServiceError, region: str) -> str:
    """Which side did not answer."""
    if error.status is not None:
        return f"The agent of the region {region} answers, its manager does not: {error.detail}"
    if isinstance(error, ServiceNotFoundError):
        return f"No agent of the region {region} is there: {error.detail}"
    if isinstance(error, ServiceTimeoutError):
        return f"The agent of the region {region} did not answer in time: {error.detail}"
    return f"The agent of the region {region} cannot be reached: {error.detail}"

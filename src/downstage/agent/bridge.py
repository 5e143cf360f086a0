"""Pass calls on to the manager as they are, and repeat its hints under the region's name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, cast

import anyio

from downstage.bus import Bus
from downstage.contracts.agent import instance_changed
from downstage.contracts.manager import INSTANCE_CHANGED, InstanceCreate
from downstage.kernel.errors import Unavailable
from downstage.kernel.ids import new_id
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError

__all__ = ["HEALTH_S", "OK", "Bridge", "ManagerClients", "Reply", "Site", "carry"]

HEALTH_S = 1.9
"""How long the manager may take to say that it is well: less than a gateway waits for us."""
OK = 200
LAUNCH_S = 10.0
"""How long the manager may take to take an instance on."""

ManagerClients = Callable[[str | None], AsyncClient]
"""Subject of the person to act for, or None → client of the manager."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The manager's answer: body, status and what of its headers concerns the caller."""

    status: int
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a region is, as its settings say."""

    region: str
    latitude: float | None = None
    longitude: float | None = None
    probe: str | None = None


class Bridge:
    """One region's way to its manager.

    Args:
        site: the region.
        managers: makes clients with the agent's own token, or in a person's name (``act``).
        bus: where hints come from and go to.

    Attributes:
        agent: name of this very agent, made anew at each start.
    """

    def __init__(self, site: Site, managers: ManagerClients, bus: Bus) -> None:
        self.site = site
        self.region = site.region
        self.agent = new_id("a")
        self._managers = managers
        self._manager = managers(None)
        self._bus = bus

    async def applications(self) -> Reply:
        """All applications."""
        return await carry(self._manager.v1.applications.get)

    async def application(self, name: str) -> Reply:
        """One application."""
        return await carry(self._manager.v1.applications[name].get)

    async def instances(self, **query: Any) -> Reply:
        """A page of instances, as *query* has it."""
        return await carry(self._manager.v1.instances.get, **query)

    async def create(self, wanted: InstanceCreate, act: str | None) -> Reply:
        """Start one, in the name of the person for whom the caller calls, if there is one.

        What was begun is finished, whether the caller waits for it or has gone: a manager that
        is cut off half-way might have an instance that nobody heard of.
        """
        with anyio.CancelScope(shield=True), anyio.move_on_after(LAUNCH_S):
            return await carry(self._managers(act).v1.instances.post, wanted, status=201)
        raise Unavailable(f"The manager did not answer within {LAUNCH_S:g} s.")

    async def instance(self, instance_id: str) -> Reply:
        """One instance."""
        return await carry(self._manager.v1.instances[instance_id].get)

    async def stop(self, instance_id: str) -> Reply:
        """Ask for its end."""
        return await carry(self._manager.v1.instances[instance_id].delete)

    async def health(self) -> Reply:
        """The manager's own words, or 503 where they do not come in time."""
        try:
            with anyio.fail_after(HEALTH_S):
                reply = await carry(self._manager.v1.health.get)
        except TimeoutError as error:
            raise Unavailable(f"The manager did not answer within {HEALTH_S:g} s.") from error
        if reply.status != OK:
            return reply
        body: object = reply.body
        if not isinstance(body, dict):
            raise Unavailable("The manager's word on its health was not understood.")
        told = {**cast("dict[str, Any]", body), **asdict(self.site), "agent": self.agent}
        return Reply(reply.status, told, reply.headers)

    async def relay_hints(self) -> None:
        """Repeat the manager's hints until cancelled; what was lost on the way is said."""
        async with self._bus.subscribe(INSTANCE_CHANGED) as hints:
            async for hint in hints:
                payload = dict(hint.payload)
                if hint.gap:
                    payload["gap"] = True
                self._bus.publish(instance_changed(self.region), payload)


async def carry(
    call: Callable[..., Awaitable[Any]],
    *arguments: object,
    status: int = 200,
    who: str = "The manager",
    **options: Any,
) -> Reply:
    """Make the call; an error answer is an answer, no answer is our 503.

    Raises:
        Unavailable: *who* is called does not answer.
    """
    try:
        return Reply(status, await call(*arguments, **options), {})
    except BaseServiceError as error:
        if error.status is None or error.problem is None:
            raise Unavailable(
                f"{who} does not answer: {error.detail}", retry_after_s=error.retry_after or 2
            ) from error
        kept = {"retry-after": str(error.retry_after)} if error.retry_after is not None else {}
        return Reply(error.status, error.problem, kept)

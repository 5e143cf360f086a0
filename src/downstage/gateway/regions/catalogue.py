"""A region's catalogue of applications, read and changed through its agent."""

from __future__ import annotations

from typing import Any

from downstage.contracts.applications import ApplicationDetail, ApplicationDetails
from downstage.gateway.region import AgentClients, ask

__all__ = ["RegionCatalogue"]


class RegionCatalogue:
    """Calls one agent.

    Args:
        region: its name, for messages.
        clients: makes clients of its agent in a person's name.
    """

    def __init__(self, region: str, clients: AgentClients) -> None:
        self._region, self._clients = region, clients

    async def applications(self, act: str | None) -> list[ApplicationDetail]:
        """All, by name, as *act* may see them."""
        call = self._clients(act).v1.catalogue.applications.get()
        return ApplicationDetails.model_validate(await self._ask(call)).items

    async def application(self, key: str, act: str | None) -> ApplicationDetail:
        """One, by name or id.

        Raises:
            NotFound: there is none.
        """
        call = self._clients(act).v1.catalogue.applications[key].get()
        return ApplicationDetail.model_validate(await self._ask(call))

    async def publish(self, archive: bytes, digest: str, act: str | None) -> None:
        """Publish *archive*, a zip with an ``application.toml``.

        Raises:
            InvalidField: something in it is not acceptable.
        """
        headers = {"Downstage-Digest": digest}
        post = self._clients(act).v1.catalogue.applications.post
        await self._ask(post(archive, __headers__=headers))

    async def change(self, key: str, asked: dict[str, Any], act: str | None) -> ApplicationDetail:
        """Change title, description or tags."""
        call = self._clients(act).v1.catalogue.applications[key].patch(asked)
        return ApplicationDetail.model_validate(await self._ask(call))

    async def remove(self, key: str, act: str | None) -> None:
        """Take an application out of the catalogue."""
        await self._ask(self._clients(act).v1.catalogue.applications[key].delete())

    async def _ask(self, call: Any) -> Any:
        return await ask(call, self._region)

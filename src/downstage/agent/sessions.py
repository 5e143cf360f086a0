"""Sessions for instances that the manager begins with: asked of a gateway for a person."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from downstage.agent.bridge import Reply, carry
from downstage.contracts.agent import SessionFor, StreamedInstance
from downstage.kernel.errors import Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.client import AsyncClient

__all__ = ["GatewayClients", "SessionDoor"]

TRY_S = 20.0
"""How long a gateway may take: it asks us in turn to start the instance."""
TRIES = 3
PAUSE_S = 0.3
log = get_logger(__name__)

GatewayClients = Callable[[str], AsyncClient]
"""Subject of the person to act for → client of a gateway."""


class SessionDoor:
    """Asks gateways for sessions of one region.

    Args:
        region: of this agent.
        gateways: makes clients in a person's name.
    """

    def __init__(self, region: str, gateways: GatewayClients) -> None:
        self._region = region
        self._gateways = gateways

    async def create(self, wanted: StreamedInstance, person: str) -> Reply:
        """The session, or the gateway's refusal.

        An answer that is lost is asked for again: the instance's id makes it the same session.

        Raises:
            Unavailable: no gateway answers.
        """
        fields = {name: getattr(wanted, name) for name in StreamedInstance.model_fields}
        asked = SessionFor(**fields, region=self._region)
        gateway = self._gateways(person)
        for attempt in range(TRIES):
            try:
                return await carry(
                    gateway.v1.internal.sessions.post,
                    asked,
                    status=201,
                    who="The gateway",
                    __timeout__=TRY_S,
                )
            except Unavailable as error:
                if attempt == TRIES - 1:
                    raise
                log.info("agent.session_asked_again", region=self._region, why=error.detail)
            await anyio.sleep(PAUSE_S)
        raise AssertionError

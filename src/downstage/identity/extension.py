"""Identity as an extension of the service host; the first to start."""

from __future__ import annotations

from contextlib import AsyncExitStack

from downstage.identity.internal import internal_router
from downstage.identity.routes import public_router
from downstage.identity.service import DEMO_USER, IdentityService, open_identity
from downstage.services.extension import IExt

__all__ = ["Extension"]


class Extension(IExt):
    """Opens identity on the data folder and serves it.

    Attributes:
        service: the running service, for the command line in the same process.
    """

    service: IdentityService

    def __init__(self) -> None:
        self._resources = AsyncExitStack()

    async def on_startup(self, ext_id: str) -> None:
        """Open the database, make the first key, serve."""
        del ext_id
        context = self.context
        self.service = await self._resources.enter_async_context(
            open_identity(
                context.settings,
                bus=context.bus,
                clock=context.clock,
                boot_secret=context.boot_secret,
                on_revoked=context.app.state.authenticator.revoke,
            )
        )
        if context.settings.platform.demo:
            await self.service.demo_password()  # makes the demo user, where there is none
        context.public(public_router(self.service))
        context.internal(internal_router(self.service))
        context.start(self.service.keys.run, name="key-rotation")

    async def on_shutdown(self) -> None:
        """Close the database."""
        await self._resources.aclose()

    async def operator_token(self) -> str:
        """A token for whoever owns the data folder; the one before stops to count."""
        return (await self.service.issue.for_operator()).token

    async def demo_credentials(self) -> tuple[str, str]:
        """Name and password of the demo user."""
        return DEMO_USER, await self.service.demo_password()

    async def setup_code(self) -> str | None:
        """The one-time code that makes the first administrator, where there is none."""
        return await self.service.setup_code()

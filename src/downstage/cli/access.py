"""How a command reaches the platform: the one that runs on the data folder, or identity alone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from downstage.cli.facts import Facts, find_platform
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services import AsyncClient

if TYPE_CHECKING:
    from downstage.cli.platform import RunningPlatform

__all__ = [
    "Facts",
    "find_platform",
    "identity_client",
    "leave_operator_token",
    "platform_client",
]


def _write_operator_token(data: Path, token: str) -> None:
    """Leave the operator's token where only this user's commands can read it."""
    path = data.absolute() / "run" / "operator.token"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(token, encoding="ascii")


async def leave_operator_token(platform: RunningPlatform, settings: Settings) -> str | None:
    """Where identity runs here: its operator's token, left for this user's commands."""
    if "identity" not in dict(platform.host.running()):
        return None
    from downstage.identity.extension import Extension as IdentityExtension

    identity = platform.host.extension("identity")
    assert isinstance(identity, IdentityExtension)  # noqa: S101 - by its name
    token = await identity.operator_token()
    _write_operator_token(settings.platform.data, token)
    return token


@asynccontextmanager
async def platform_client(settings: Settings) -> AsyncGenerator[tuple[AsyncClient, Facts]]:
    """A client of the running platform, as its operator.

    Raises:
        SetupError: none runs on this data folder.
    """
    from downstage.services.transports.http import close_pool

    facts = find_platform(settings.platform.data)
    if facts is None:
        raise SetupError(
            f"No platform runs on {settings.platform.data.absolute()}. "
            "Start one with: downstage up   (or name its folder with --data)."
        )
    try:
        yield AsyncClient(facts.url, token=facts.token, timeout_s=30), facts
    finally:
        await close_pool()


@asynccontextmanager
async def identity_client(settings: Settings) -> AsyncGenerator[AsyncClient]:
    """A client of identity: the running platform's, else started here for this command."""
    if find_platform(settings.platform.data) is not None:
        async with platform_client(settings) as (client, _):
            yield client
        return
    from downstage.identity.extension import Extension as IdentityExtension
    from downstage.services.context import PlatformUrls
    from downstage.services.host import ServiceHost

    urls = PlatformUrls("http://localhost", "unix:///nowhere")
    host = ServiceHost(settings, urls, services=("identity",))
    async with host.run():
        extension = host.extension("identity")
        assert isinstance(extension, IdentityExtension)  # noqa: S101 - by its name
        yield AsyncClient("local://identity", token=await extension.operator_token())

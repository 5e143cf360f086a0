"""The server that a command means: one that is named, with a token, or the one that runs here."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from downstage.cli.options import Common
from downstage.cli.running import quiet
from downstage.kernel.errors import SetupError
from downstage.services import AsyncClient

__all__ = ["At", "Json", "address", "server", "token_of_caller"]

TIMEOUT_S = 60
SIGN_IN = "Say who you are with DOWNSTAGE_TOKEN or DOWNSTAGE_TOKEN_FILE."

Json = Annotated[bool, Parameter(name="--json", negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class At(Common):
    """Which server."""

    server: str | None = None
    """Address of the server [default: the platform that runs on the data folder]."""


def address(at: At | None) -> tuple[str, str]:
    """Address and token of the server that is meant.

    Raises:
        SetupError: as `server` does.
    """
    from downstage.cli.facts import find_platform

    if at is not None and at.server is not None:
        return at.server.rstrip("/"), token_of_caller()
    data = quiet(at).platform.data
    facts = find_platform(data)
    if facts is None:
        raise SetupError(
            f"No platform runs on {data.absolute()}. Start one with: downstage up   (or name a "
            "server with --server, or the data folder with --data)."
        )
    return facts.url, facts.token


@asynccontextmanager
async def server(at: At | None) -> AsyncGenerator[AsyncClient]:
    """A client of the server that is meant.

    Raises:
        SetupError: none is named and none runs, or one is named without a token.
    """
    from downstage.cli.access import platform_client
    from downstage.services.transports.http import close_pool

    settings = quiet(at)
    if at is None or at.server is None:
        async with platform_client(settings) as (client, _):
            yield client
        return
    try:
        yield AsyncClient(at.server.rstrip("/"), token=token_of_caller(), timeout_s=TIMEOUT_S)
    finally:
        await close_pool()


def token_of_caller() -> str:
    """What the environment says who asks.

    Raises:
        SetupError: it says nothing.
    """
    if found := os.environ.get("DOWNSTAGE_TOKEN"):
        return found
    if path := os.environ.get("DOWNSTAGE_TOKEN_FILE"):
        try:
            return Path(path).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"DOWNSTAGE_TOKEN_FILE: {path} cannot be read.") from error
    raise SetupError(SIGN_IN)

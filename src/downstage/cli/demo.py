"""The demo's world: a writable folder with a stage in it, in the content service."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from typing import cast
from urllib.parse import urlsplit

import anyio.to_thread

from downstage.cli.platform import RunningPlatform
from downstage.content.extension import Extension as ContentExtension
from downstage.content.model import Condition
from downstage.kernel.errors import VersionMismatch

__all__ = ["STAGE", "furnish"]

STAGE = "/Projects/theatre.usdc"
"""Where the demo's stage lies."""


async def furnish(platform: RunningPlatform, token: str) -> str:
    """Put the stage where it is not yet, as whoever *token* stands for; its address.

    A stage that is there already stays as people left it.
    """
    content = cast("ContentExtension", platform.host.extension("content"))
    caller = await content.callers.of(await platform.host.authenticator.principal(token))
    body = await anyio.to_thread.run_sync(_stage)
    with suppress(VersionMismatch):
        await content.content.write(
            caller,
            STAGE,
            body,
            condition=Condition(if_none_match_any=True),
            message="As it came with Downstage",
        )
    return f"omniverse://{urlsplit(platform.urls.public).netloc}{STAGE}"


def _stage() -> bytes:
    return files("downstage.apps.usd_viewer").joinpath("demo/theatre.usdc").read_bytes()

"""How commands run: in one event loop, with a log that stays out of their way."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from downstage.cli.options import Common, common_settings

if TYPE_CHECKING:
    from downstage.kernel.settings import Settings

__all__ = ["quiet", "run"]

MOST_DESCRIPTORS = 65_536
"""Each connection is one; above this, programs that close all there may be take too long."""


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* in a new loop."""
    import anyio

    async def body() -> Any:
        return await work

    _take_descriptors()
    return anyio.run(body, backend_options={"use_uvloop": True})


def _take_descriptors() -> None:
    """As many as this machine lets us have: shells hand on 1024, for programs of another age."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def quiet(common: Common | None) -> Settings:
    """Settings for a short command; its log is for what went wrong."""
    from downstage.kernel import logging
    from downstage.kernel.settings import Log

    settings = common_settings(common)
    logging.configure(Log(level="error", json_lines=settings.log.json_lines))
    return settings

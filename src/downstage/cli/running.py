"""How commands run: in one event loop, with a log that stays out of their way."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from downstage.cli.options import Common, common_settings

if TYPE_CHECKING:
    from downstage.kernel.settings import Settings

__all__ = ["quiet", "run"]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run *work* in a new loop."""
    import anyio

    async def body() -> Any:
        return await work

    return anyio.run(body, backend_options={"use_uvloop": True})


def quiet(common: Common | None) -> Settings:
    """Settings for a short command; its log is for what went wrong."""
    from downstage.kernel import logging
    from downstage.kernel.settings import Log

    settings = common_settings(common)
    logging.configure(Log(level="error", json_lines=settings.log.json_lines))
    return settings
